//! The virtual machine tests. A bed is a virtual machine with a real SCSI stack, booted only to try one helper in it: User
//! Mode Linux, or an emulated machine.
//!
//! The library builds the machine's root image, boots it, and listens: [`run`], which `cargo xtask bed` calls as well as
//! the tests in `tests/it`. What happens in the machine is this package's program, `bed-inside`, in `inside/`.
//!
//! [`page`] and [`session`] are how the manual is followed: in a machine, and by the manual's own tests.
#![forbid(unsafe_code)]

mod bench;
mod boot;
pub mod c_helper;
mod cluster;
mod distribution;
pub mod foreign;
mod host;
mod image;
mod kernel;
mod kind;
mod machine;
mod options;
pub mod page;
mod programs;
mod random;
mod rounds;
pub mod session;
mod start;
mod uml;
mod vm;

use std::path::Path;

use anyhow::Result;

pub use bench::{Maps, measure, measure_on_maps};
pub use kernel::Version;
pub use kind::{Amount, Kind};
pub use machine::Machine;
pub use options::Options;
pub use programs::{REFERENCE, our_helper};
pub use random::{Random, Release};
pub use vm::Tally;

/// Boots the bed with a helper in it and shows every check as it is made.
///
/// # Errors
/// Whatever keeps the bed from being built or booted. A check that fails is not an error: it is in the tally.
pub fn run(kind: Kind, helper: Option<&Path>, options: &Options) -> Result<Tally> {
    if kind == Kind::MultipathRandom {
        return rounds::run(helper, options);
    }
    boot::boot(kind, helper, options).map(|heard| heard.tally)
}
