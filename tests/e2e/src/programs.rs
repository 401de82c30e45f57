//! The programs that are tried in a machine, and the one that tries them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use pr_dev::workspace::{cargo, run, target};

use crate::c_helper;

/// Debian's own helper, against which a bed shows that it is right itself.
pub const REFERENCE: &str = "/usr/bin/qemu-pr-helper";

/// This project's programs.
pub const HELPER: &str = "qemu-pr-helper";
pub const CTL: &str = "qemu-pr-ctl";
pub const DRIVER: &str = "bed-inside";

/// Whether a helper is QEMU's own, of which is known that not every check holds.
pub fn is_reference(helper: &Path) -> bool {
    helper == Path::new(REFERENCE) || fs::canonicalize(c_helper::place()).is_ok_and(|place| place == helper)
}

/// The programs that go into a machine.
pub struct Programs {
    pub driver: PathBuf,
    pub ctl: PathBuf,
    pub helper: PathBuf,
}

/// The program inside.
pub fn build_driver() -> Result<PathBuf> {
    build(env!("CARGO_PKG_NAME"), DRIVER)
}

/// Builds a program as it would be shipped.
pub fn build(package: &str, program: &str) -> Result<PathBuf> {
    run(cargo().args(["build", "--quiet", "--release", "--package", package, "--bin", program]))?;
    Ok(target().join("release").join(program))
}

/// The word that tells the program inside which helper it has.
pub fn whose(reference: bool) -> &'static str {
    if reference { "reference" } else { "ours" }
}

/// This project's helper, built as it would be shipped.
pub fn our_helper() -> Result<PathBuf> {
    build(HELPER, HELPER)
}
