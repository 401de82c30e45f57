//! Packages of another Debian suite or architecture than the host's. They are unpacked, never installed.

use std::path::PathBuf;

use anyhow::Result;

use super::apt::Apt;

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
