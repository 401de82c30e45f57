//! Packages of another Debian suite or architecture than the host's. They are unpacked, never installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::apt::Apt;

/// The host's architecture, as Debian calls it.
pub const HOST: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

/// Unpacks packages of a suite (`forky`, `sid`) for an architecture in `packages` of a directory below the target
/// directory, once, and returns that path. The name of an empty kernel package (`linux-image-arm64`) stands for the
/// packages of the kernel that it leads to, and `libllvm22+` for that package and all that it depends on. Dependencies are
/// not followed otherwise.
///
/// # Errors
/// The mirror does not have them, or they cannot be unpacked.
pub fn unpack(directory: &str, suite: &str, architecture: &str, names: &[&str]) -> Result<PathBuf> {
    super::unpack(|| Apt::suite(suite, architecture), directory, names)
}

/// The same for programs that are to run here although their libraries are newer than the host's: with all packages that
/// they depend on.
///
/// # Errors
/// As for [`unpack`].
pub fn unpack_programs(directory: &str, suite: &str, names: &[&str]) -> Result<PathBuf> {
    let names: Vec<String> = names.iter().map(|name| format!("{name}+")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    unpack(directory, suite, HOST, &names)
}

/// The words that run a program below such a directory, by its own loader and with its own libraries.
///
/// # Errors
/// There is no loader among the packages.
pub fn words(unpacked: &Path, program: &str) -> Result<[PathBuf; 4]> {
    let libraries =
        unpacked.join(if HOST == "arm64" { "usr/lib/aarch64-linux-gnu" } else { "usr/lib/x86_64-linux-gnu" });
    let files = fs::read_dir(&libraries).with_context(|| format!("{} cannot be read", libraries.display()))?;
    let mut paths = files.filter_map(|file| Some(file.ok()?.path()));
    let is_loader =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ld-linux-"));
    let loader = paths.find(is_loader).with_context(|| format!("{} has no loader", libraries.display()))?;
    Ok([loader, "--library-path".into(), libraries, unpacked.join(program)])
}
