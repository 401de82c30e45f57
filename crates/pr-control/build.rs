//! Tells the programs which revision of the source they are built from, if that can be known. No network, no clock: the
//! same source gives the same answer.

use std::env;
use std::path::Path;
use std::process::Command;

/// What stands in parentheses after the version, as QEMU's own programs have it. A packager may choose it; empty is none.
const CHOSEN: &str = "QEMU_PR_PKGVERSION";

fn main() {
    let folder = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let found = revision(Path::new(&folder), "crates/pr-control/");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={CHOSEN}");
    if let Some((_, log)) = &found {
        println!("cargo:rerun-if-changed={log}");
    }
    let chosen = env::var(CHOSEN).ok().or(found.map(|(revision, _)| revision)).unwrap_or_default();
    let chosen = chosen.trim();
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let full = if chosen.is_empty() { version } else { format!("{version} ({chosen})") };
    println!("cargo:rustc-env=QEMU_PR_VERSION={full}");
}

/// The revision of a folder that lies at `prefix` in its repository, and the file that changes with it. A repository
/// that merely surrounds the unpacked source, with another prefix, knows nothing of it.
pub fn revision(folder: &Path, prefix: &str) -> Option<(String, String)> {
    let ask = ["rev-parse", "--show-prefix", "HEAD", "--git-path", "logs/HEAD"];
    let answer = Command::new("git").args(ask).current_dir(folder).output().ok()?;
    let answer = String::from_utf8(answer.stdout).ok()?;
    let mut lines = answer.lines();
    let (found, hash, log) = (lines.next()?, lines.next()?, lines.next()?);
    // Seven digits always, whatever the repository's own settings are.
    (found == prefix).then_some((hash.get(..7)?.to_owned(), log.to_owned()))
}
