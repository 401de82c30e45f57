//! A Rust that compiles for other architectures.
//!
//! rustup's standard libraries are not packages of any registry. Debian's are, for every architecture, and so is the
//! compiler that they belong to. It is newer than Debian 12 and needs a newer C library than it has; so it runs with the
//! loader and the libraries of its own suite, unpacked beside it, and nothing is installed. Cargo is the machine's.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::Name;
use crate::packages::suite;
use crate::workspace::target;

/// A suite whose compiler is new enough for this workspace, and that has all architectures.
const SUITE: &str = "forky";

/// The compiler, and the standard library with everything that it loads (the compiler is part of it).
const COMPILER: &[&str] = &["rustc", "libstd-rust-dev+"];

/// The compiler, ready for an architecture.
///
/// # Errors
/// The packages cannot be had, or do not belong together.
pub fn compiler(name: Name) -> Result<PathBuf> {
    let host = Name::host()?;
    let rust = suite::unpack("arch/rust", SUITE, host.debian(), COMPILER)?.join("usr");
    let library = fs::canonicalize(library(name)?.join("usr/lib/rustlib").join(name.target()))?;
    let inside = rust.join("lib/rustlib").join(name.target());
    // A link to what was there before is not followed to its end.
    if fs::read_link(&inside).is_ok_and(|old| old != library) {
        fs::remove_file(&inside)?;
    }
    if !fs::exists(&inside)? {
        symlink(library, &inside).with_context(|| format!("{} cannot be made", inside.display()))?;
    }
    let script = wrapper(&rust)?;
    belong_together(&script, name)?;
    Ok(script)
}

/// The directory in which an architecture's standard library is unpacked.
pub fn library(name: Name) -> Result<PathBuf> {
    suite::unpack(&format!("arch/std-{}", name.debian()), SUITE, name.debian(), &["libstd-rust-dev"])
}

/// A script that starts the compiler with the loader of its suite. The linker that it starts has the host's.
fn wrapper(rust: &Path) -> Result<PathBuf> {
    let rust = fs::canonicalize(rust)?;
    let libraries = rust.join("lib").join(Name::host()?.gnu());
    let loader = fs::read_dir(&libraries)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ld-linux")))
        .or_else(|| Some(libraries.join("ld64.so.2")).filter(|path| path.exists()))
        .with_context(|| format!("{} has no loader", libraries.display()))?;
    let (loader, libraries, rust) = (loader.display(), libraries.display(), rust.display());
    let text = format!(
        "#!/bin/sh\nexec '{loader}' --library-path '{libraries}' '{rust}/bin/rustc' --sysroot '{rust}' \"$@\"\n"
    );
    let script = target().join("arch/rustc");
    // Cargo builds all anew when the compiler is a new file.
    if fs::read_to_string(&script).ok().as_deref() != Some(&text) {
        fs::write(&script, text)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    }
    Ok(fs::canonicalize(script)?)
}

/// The suite goes on: a library that was fetched later than the compiler may be another release's.
fn belong_together(compiler: &Path, name: Name) -> Result<()> {
    // The compiler puts a new file in place of the one that it is to write: a real one, which nobody else needs.
    let scratch = tempfile::tempdir()?;
    let empty = Command::new(compiler)
        .args(["--target", name.target(), "--crate-type", "lib", "--emit", "metadata", "--out-dir"])
        .arg(scratch.path())
        .arg("-")
        .stdin(Stdio::null())
        .output()
        .context("the unpacked rustc cannot be started")?;
    if !empty.status.success() {
        let complaint = String::from_utf8_lossy(&empty.stderr);
        bail!(
            "the compiler of {SUITE} does not take the standard library for {}; remove {} to fetch both anew\n{}",
            name.target(),
            target().join("arch").display(),
            complaint.trim_end()
        );
    }
    Ok(())
}
