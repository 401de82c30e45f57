//! Faults of a disk or a helper, for tests of programs that have to detect them.
//!
//! The simulated disk itself has none: the commands that it gets, or its answers, are changed outside of it.

use std::fmt::Write as _;

use clap::ValueEnum;
use pr_sim::{LogicalUnit, Medium, Nexus};
use qemu_pr_protocol::{MAX_DATA, Reply};
use scsi_persistent_reservations::{
    BasicParameters, Cdb, Command, InAction, OutAction, PersistentReserveOut, PrOut, ReservationKey, ReservationType,
    Sense, SenseCode, Status,
};

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

/// The answer without a fault.
pub fn without_fault(unit: &mut LogicalUnit, nexus: Nexus, cdb: &Cdb, list: &[u8]) -> Reply {
    let mut buffer = [0; MAX_DATA];
    let completion = unit.execute(nexus, cdb, list, &mut buffer);
    Reply { status: completion.status, sense: completion.sense.clone(), data: completion.data.to_vec() }
}

/// Carries out an access to the medium, with a fault if there is one.
pub fn access(unit: &mut LogicalUnit, nexus: Nexus, medium: Medium, fault: Option<Fault>) -> Reply {
    let completion = unit.access(nexus, medium);
    let reply = Reply { status: completion.status, sense: completion.sense, data: Vec::new() };
    let Some(held) = unit.reservation().filter(|_| reply.status != Status::CHECK_CONDITION) else { return reply };
    let is_holder = held.holder.is_none_or(|holder| holder == nexus);
    let is_registered = unit.registrations().any(|(other, _)| other == nexus);
    match fault {
        Some(Fault::NoEnforcement) => status(Status::GOOD),
        Some(Fault::Type8) if held.kind == ReservationType::ExclusiveAccessAllRegistrants => status(Status::GOOD),
        Some(Fault::NoReaders) if !is_registered => status(Status::RESERVATION_CONFLICT),
        Some(Fault::NoRegistrants)
            if is_registered && !is_holder && (medium == Medium::Write || held.kind.excludes_readers()) =>
        {
            status(Status::RESERVATION_CONFLICT)
        }
        _ => reply,
    }
}

/// Carries out a command with a fault.
pub fn execute(unit: &mut LogicalUnit, nexus: Nexus, cdb: &Cdb, list: &[u8], fault: Fault) -> Reply {
    match cdb.command() {
        Command::In(command) => {
            let mut reply = without_fault(unit, nexus, cdb, list);
            if reply.status == Status::GOOD
                && let Some(action) = command.action()
            {
                distort(&mut reply.data, action, usize::from(command.allocation_length), fault);
            }
            reply
        }
        Command::Out(command) => {
            change(unit, nexus, command.action(), list, fault).unwrap_or_else(|| after(unit, nexus, cdb, list, fault))
        }
    }
}

/// Changes the data of a PERSISTENT RESERVE IN.
fn distort(data: &mut Vec<u8>, action: InAction, allocation_length: usize, fault: Fault) {
    match (fault, action) {
        (Fault::Keys, InAction::ReadKeys) if data.len() > 16 => {
            data.truncate(16);
            data[4..8].copy_from_slice(&8u32.to_be_bytes());
        }
        (Fault::Type, InAction::ReadReservation) if data.len() >= 24 => {
            data[21] = if data[21] == 1 { 3 } else { 1 };
        }
        (Fault::Holder, InAction::ReadReservation) if data.len() >= 24 => data[15] ^= 0xff,
        (Fault::Generation, InAction::ReadKeys | InAction::ReadReservation | InAction::ReadFullStatus) => {
            data.iter_mut().take(4).for_each(|byte| *byte = 0);
        }
        // No more than the protocol allows: that would be another fault.
        (Fault::TooMuchData, _) => data.resize((allocation_length + 8).min(MAX_DATA), 0),
        _ => {}
    }
}

/// An answer without any effect; `None` if the command is to be carried out.
fn change(unit: &LogicalUnit, nexus: Nexus, action: Option<OutAction>, list: &[u8], fault: Fault) -> Option<Reply> {
    let reserved_by = unit.reservation().map(|held| held.holder == Some(nexus) || held.holder.is_none());
    let proven = BasicParameters::parse(list)
        .is_ok_and(|parameters| unit.registrations().any(|(n, r)| n == nexus && r.key == parameters.key));
    match (fault, action?) {
        (Fault::Busy, _) => Some(status(Status::BUSY)),
        (Fault::RepeatedReserve, OutAction::Reserve) if reserved_by == Some(true) => {
            Some(status(Status::RESERVATION_CONFLICT))
        }
        (Fault::SharedReserve, OutAction::Reserve) if reserved_by == Some(false) => Some(status(Status::GOOD)),
        (Fault::Clear, OutAction::Clear) | (Fault::Preempt, OutAction::Preempt | OutAction::PreemptAndAbort)
            if proven =>
        {
            Some(status(Status::GOOD))
        }
        (Fault::NoAbort, OutAction::PreemptAndAbort) => {
            Some(Reply { sense: Sense::fixed(SenseCode::INVALID_FIELD_IN_CDB), ..status(Status::CHECK_CONDITION) })
        }
        _ => None,
    }
}

/// Carries out a command and changes its effect.
fn after(unit: &mut LogicalUnit, nexus: Nexus, cdb: &Cdb, list: &[u8], fault: Fault) -> Reply {
    let action = match cdb.command() {
        Command::Out(command) => command.action(),
        Command::In(_) => None,
    };
    let ignoring = PersistentReserveOut::new(OutAction::RegisterAndIgnoreExistingKey, None, 24).cdb();
    let cdb = if fault == Fault::WrongKey && action == Some(OutAction::Register) { &ignoring } else { cdb };
    let before: Vec<Nexus> = unit.registrations().map(|(nexus, _)| nexus).collect();
    let mut reply = without_fault(unit, nexus, cdb, list);
    if reply.status != Status::GOOD {
        return reply;
    }
    let unregisters = BasicParameters::parse(list).is_ok_and(|list| list.service_action_key == ReservationKey::ZERO);
    match (fault, action) {
        (Fault::PreemptLoses, Some(OutAction::Preempt | OutAction::PreemptAndAbort))
        | (Fault::Release, Some(OutAction::Release)) => release(unit),
        (Fault::Unregister, Some(OutAction::Register | OutAction::RegisterAndIgnoreExistingKey)) if unregisters => {
            release(unit);
        }
        (Fault::Attention, _) => before.into_iter().filter(|n| *n != nexus).for_each(|n| unit.forget(n)),
        (Fault::DataAfterOut, _) => reply.data = vec![0; 8],
        _ => {}
    }
    reply
}

/// Releases the reservation as its holder.
fn release(unit: &mut LogicalUnit) {
    let Some(held) = unit.reservation() else { return };
    let Some((nexus, registration)) = unit.registrations().find(|(n, _)| held.holder.is_none_or(|h| h == *n)) else {
        return;
    };
    let release = PrOut::release(registration.key, held.kind);
    let (cdb, list) = (release.cdb(), release.list());
    // The unit attentions of the holder come first; one of the tries carries the command out.
    for _ in 0..8 {
        if without_fault(unit, nexus, &cdb, &list).status == Status::GOOD {
            return;
        }
    }
}

fn status(status: Status) -> Reply {
    Reply { status, sense: Sense::NONE, data: Vec::new() }
}
