//! What is measured on dm-multipath maps, by the names that its rows have here and in the machine.

/// How many paths each map has. A row whose load is one is about a path by itself.
pub const PATHS: u32 = 4;

/// A command of a guest's, as a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// PERSISTENT RESERVE IN, READ KEYS.
    ReadKeys,
    /// REGISTER of a first key.
    Register,
    /// REGISTER AND IGNORE EXISTING KEY with the key that is registered.
    RegisterAgain,
    /// RESERVE, Write Exclusive, registrants only.
    Reserve,
    /// RELEASE.
    Release,
    /// PREEMPT of the own key, which holds the reservation.
    PreemptOwn,
    /// REGISTER with key zero.
    Unregister,
}

impl Command {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::ReadKeys,
        Self::Register,
        Self::RegisterAgain,
        Self::Reserve,
        Self::Release,
        Self::PreemptOwn,
        Self::Unregister,
    ];

    /// The row of what a guest waits for, in microseconds.
    pub const fn row(self) -> &'static str {
        match self {
            Self::ReadKeys => "READ KEYS",
            Self::Register => "REGISTER",
            Self::RegisterAgain => "REGISTER AND IGNORE EXISTING KEY, the same key",
            Self::Reserve => "RESERVE",
            Self::Release => "RELEASE",
            Self::PreemptOwn => "PREEMPT of the own key",
            Self::Unregister => "REGISTER with key zero",
        }
    }
}

/// The row of the processor time that all of a helper's processes take for one of each of the commands, in microseconds.
pub const PROCESSOR: &str = "processor time for one of each command";
/// The row of REGISTER beside other device-mapper devices; the load is how many there are.
pub const DEVICES: &str = "REGISTER on a host with so many device-mapper devices";
/// The row of a guest on each of so many maps that registers for the first time, all at once: until all are answered.
pub const FIRST: &str = "a guest on each map registers, all at once";
/// The same when each registers again.
pub const AGAIN: &str = "a guest on each map registers again, all at once";
/// The memory of a helper's processes that its maps have in common, when a key is registered on so many.
pub const MEMORY: &str = "memory of all processes, a key on each map (PSS)";
/// Memory of its own that a map's process has, the mean of them.
pub const MEMORY_EACH: &str = "private memory for each map";
