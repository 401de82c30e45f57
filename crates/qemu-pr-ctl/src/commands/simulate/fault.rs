//! Faults of a disk or a helper, for tests of programs that have to detect them.

use std::fmt::Write as _;

use clap::ValueEnum;

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// RESERVE by the holder returns RESERVATION CONFLICT
    RepeatedReserve,
    /// RESERVE while another initiator holds it returns GOOD
    SharedReserve,
    /// CLEAR returns GOOD and does nothing
    Clear,
    /// PREEMPT returns GOOD and does nothing
    Preempt,
    /// PREEMPT removes the reservation instead of taking it over
    PreemptLoses,
    /// PREEMPT AND ABORT returns INVALID FIELD IN CDB
    NoAbort,
    /// RELEASE by any registrant removes the reservation
    Release,
    /// Any unregistration removes the reservation
    Unregister,
    /// REGISTER accepts any key
    WrongKey,
    /// READ KEYS returns the first key only
    Keys,
    /// READ RESERVATION returns another type
    Type,
    /// READ RESERVATION returns another key
    Holder,
    /// PRGENERATION does not change
    Generation,
    /// PRGENERATION changes with every command
    ReadsCount,
    /// RESERVE by the holder with another type returns GOOD
    ReserveType,
    /// RESERVE does not check the key
    ReserveKey,
    /// RESERVE by an initiator that is not registered returns GOOD
    ReserveUnknown,
    /// RESERVE of a held all-registrants type conflicts
    AllReserve,
    /// READ RESERVATION returns a key for the all-registrants types
    AllHolder,
    /// RELEASE by the holder returns GOOD and does nothing
    ReleaseNothing,
    /// RELEASE with another type removes the reservation
    ReleaseType,
    /// CLEAR leaves the reservation
    ClearKeeps,
    /// PREEMPT takes the reservation and leaves the registration
    PreemptKeeps,
    /// PREEMPT of the holder's own key removes its registration
    SelfPreempt,
    /// PREEMPT of a key that is not registered returns GOOD
    PreemptUnknown,
    /// PREEMPT of a key that holds nothing changes the type
    PreemptType,
    /// The last unregistration leaves the reservation
    LastUnregister,
    /// The holder's unregistration leaves the reservation
    HolderLeaves,
    /// A change of the holder's key removes the reservation
    KeyChange,
    /// REGISTER of a key that another initiator has conflicts
    SharedKey,
    /// Unit attentions are not reported
    Attention,
    /// Every change returns BUSY
    Busy,
    /// Reads and writes are never refused
    NoEnforcement,
    /// Type 8 is recorded, and its reads and writes are not refused
    #[value(name = "type-8")]
    Type8,
    /// Types that exclude writers exclude readers too
    NoReaders,
    /// Registrants that do not hold the reservation are excluded
    NoRegistrants,
    /// The helper sends data with the reply to a change
    DataAfterOut,
    /// The helper sends more data than was requested
    TooMuchData,
}

/// The faults, for the help.
pub fn table() -> String {
    Fault::value_variants().iter().filter_map(ValueEnum::to_possible_value).fold(
        "Faults:\n".to_owned(),
        |mut text, value| {
            let help = value.get_help().map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(text, "  {:<16}  {help}", value.get_name());
            text
        },
    )
}
