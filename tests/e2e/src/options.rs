//! What a run is asked for.

use crate::kernel::Version;
use crate::kind::Amount;
use crate::machine::Machine;
use crate::random::Random;
use crate::suite::Suite;

/// How a run is shown and what it leaves behind.
#[derive(Clone, Default)]
pub struct Options {
    /// Keep the root image and the console log.
    pub keep: bool,
    /// Print the story for a reader, and of the checks only those that fail.
    pub story: bool,
    /// Try debug builds, which are there already where tests have run; what is shipped takes minutes to build.
    pub debug: bool,
    /// How often it does what is repeated in it.
    pub amount: Amount,
    /// The kind of machine [default: User Mode Linux where it can do the work and starts, otherwise an emulated one].
    pub machine: Option<Machine>,
    /// The kernel of an emulated machine [default: Debian 12's].
    pub kernel: Option<Version>,
    /// The release of Debian of the beds that can have another than Debian 12.
    pub suite: Suite,
    /// What the bed `multipath-random` does.
    pub random: Random,
}
