//! The virtual machines as tests. Each boots a machine, in which every check has to hold, as `cargo xtask bed` does: with
//! debug builds, and as often as every change has time for. A machine takes minutes, so that all of them are ignored
//! unless they are asked for:
//!
//!     cargo nextest run -p e2e --run-ignored only
#![expect(clippy::missing_panics_doc, reason = "a test is there to panic")]

mod disk;
mod host;
mod map;

use std::path::Path;

use clap::ValueEnum as _;
use e2e::{Kind, Options, Version, run};
use pr_dev::packages;

/// Boots a machine with this project's helper in it.
fn holds(kind: Kind) {
    holds_with(kind, None, Options::default());
}

/// Boots an emulated machine with this kernel.
fn holds_on(kind: Kind, kernel: Version) {
    holds_with(kind, None, Options { kernel: Some(kernel), ..Options::default() });
}

/// Boots a machine with that helper in it, or with this project's.
fn holds_with(kind: Kind, helper: Option<&Path>, options: Options) {
    packages::install_missing(&[packages::FOR_BEDS]).expect("what machines are made of");
    let tally = run(kind, helper, &Options { debug: true, ..options }).expect("a machine");
    assert!(tally.succeeded(), "{tally}");
}

#[test]
fn each_kind_of_machine_is_booted_by_a_test() {
    let sources = [include_str!("disk.rs"), include_str!("host.rs"), include_str!("map.rs")].concat();
    for kind in Kind::value_variants() {
        assert!(sources.contains(&format!("(Kind::{kind:?}")), "no test boots {kind:?}");
    }
}

#[test]
fn no_machine_is_booted_that_nobody_asked_for() {
    for source in [include_str!("disk.rs"), include_str!("host.rs"), include_str!("map.rs")] {
        let (tests, ignored) =
            (source.matches("#[test]\n"), source.matches("#[test]\n#[ignore = \"boots a virtual machine"));
        assert_eq!(tests.count(), ignored.count());
    }
}
