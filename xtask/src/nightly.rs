//! A nightly toolchain, and the source of a standard library that it compiles: what instruments the standard library too.
//!
//! rustup has the source as a component. A machine without it takes Debian's package, if that is of the same release.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use pr_dev::packages::{self, suite};
use pr_dev::workspace::{output, root};

/// Where a toolchain has the source, below its directory.
const COMPONENT: &str = "lib/rustlib/src/rust/library";

/// What there is.
pub enum Nightly {
    /// A toolchain by its name for rustup, and where the source is unless it is the toolchain's own.
    Usable(String, Option<PathBuf>),
    /// What is missing, and how to get it.
    Missing(String),
}

impl Nightly {
    /// Looks for both.
    pub fn find() -> Result<Self> {
        let Ok(list) = output(Command::new("rustup").args(["toolchain", "list"])) else {
            return Ok(Self::Missing("rustup is missing, and with it a nightly toolchain".to_owned()));
        };
        let installed = list.lines().find(|line| line.starts_with("nightly")).and_then(|line| line.split(' ').next());
        let Some(toolchain) = installed else {
            let install = "rustup toolchain install nightly --component rust-src";
            return Ok(Self::Missing(format!("a nightly toolchain is missing: {install}")));
        };
        let rustc = |option: &[&str]| output(Command::new("rustup").args(["run", toolchain, "rustc"]).args(option));
        if Path::new(rustc(&["--print", "sysroot"])?.trim_end()).join(COMPONENT).exists() {
            return Ok(Self::Usable(toolchain.to_owned(), None));
        }
        let version = rustc(&["-vV"])?;
        let release = version.lines().find_map(|line| line.strip_prefix("release: "));
        let release = release.context("rustc -vV does not say which release it is")?;
        // Cargo compares paths by their words.
        let unpacked = suite::unpack("nightly", packages::NEWEST, suite::HOST, &["rust-src"])?.canonicalize()?;
        let (source, of) = debians(&unpacked)?;
        if series(release) != series(&of) {
            return Ok(Self::Missing(format!(
                "the source of the standard library of {release} is missing (Debian has that of {of}): rustup component \
                 add rust-src --toolchain {toolchain}"
            )));
        }
        Ok(Self::Usable(toolchain.to_owned(), Some(source)))
    }

    /// Cargo of such a toolchain, which builds the standard library as well; it has to be given a target.
    pub fn cargo(toolchain: &str, source: Option<&Path>) -> Command {
        let mut command = Command::new("rustup");
        command.current_dir(root()).args(["run", toolchain, "cargo"]);
        if let Some(source) = source {
            // Cargo has no other way to be told where the source is, and only a nightly reads this.
            command.env("__CARGO_TESTS_ONLY_SRC_ROOT", source);
        }
        command
    }
}

/// Where Debian's package has the library, and of which release it is.
fn debians(unpacked: &Path) -> Result<(PathBuf, String)> {
    let sources = unpacked.join("usr/src");
    for entry in fs::read_dir(&sources).with_context(|| format!("{} cannot be read", sources.display()))? {
        let entry = entry?;
        if let Some(release) = entry.file_name().to_str().and_then(|name| name.strip_prefix("rustc-")) {
            return Ok((entry.path().join("library"), release.to_owned()));
        }
    }
    anyhow::bail!("{} has no source of Rust's standard library", sources.display())
}

/// The release without what distinguishes a nightly, a beta and the patches of a release: the library of one compiles
/// with the compiler of another.
fn series(release: &str) -> Option<(&str, &str)> {
    let mut numbers = release.split('.');
    Some((numbers.next()?, numbers.next()?))
}
