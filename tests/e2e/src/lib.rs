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
mod kubevirt;
mod machine;
mod options;
pub mod page;
mod programs;
mod random;
mod rounds;
mod selinux;
pub mod session;
mod start;
mod suite;
mod systemd;
mod uml;
mod vm;

use std::path::Path;

use anyhow::{Result, ensure};

pub use bench::{Maps, measure, measure_on_maps};
pub use kernel::Version;
pub use kind::{Amount, Kind};
pub use machine::Machine;
pub use options::Options;
pub use programs::{REFERENCE, our_helper};
pub use random::Random;
pub use suite::Suite;
pub use vm::Tally;

/// Boots the bed with a helper in it and shows every check as it is made.
///
/// # Errors
/// Whatever keeps the bed from being built or booted. A check that fails is not an error: it is in the tally.
pub fn run(kind: Kind, helper: Option<&Path>, options: &Options) -> Result<Tally> {
    ensure!(
        options.suite == Suite::default() || kind.has_suites(),
        "the bed {} has the programs of one release of Debian; omit --suite",
        kind.word()
    );
    let mut tally = Tally::default();
    for suite in options.suite.each() {
        let options = Options { suite: *suite, ..options.clone() };
        let one = match kind {
            Kind::MultipathRandom => rounds::run(helper, &options)?,
            _ => boot::boot(kind, helper, &options)?.tally,
        };
        tally.passed += one.passed;
        tally.failed += one.failed;
    }
    Ok(tally)
}
