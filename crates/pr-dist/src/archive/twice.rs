//! `cargo xtask dist --reproducible`: the last commit, built once more from another folder into another one, makes the
//! same bytes.

use std::env;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use pr_dev::workspace::{output, root, run as run_command, target};

use super::folder;

/// Makes all packages twice and compares their checksums.
pub fn run() -> Result<bool> {
    let changed = output(Command::new("git").args(["status", "--porcelain"]).current_dir(root()))?;
    ensure!(changed.is_empty(), "what is built twice is the last commit: commit or stash this first\n{changed}");
    super::run_all(&[])?;
    let first = fs::read_to_string(folder()?.join("SHA256SUMS"))?;

    let scratch = tempfile::Builder::new().prefix("another-place-").tempdir()?;
    let source = scratch.path().join("source");
    run_command(Command::new("git").args(["clone", "--quiet"]).arg(root()).arg(&source))?;
    // With another umask, language and time zone as well. Cargo's tools are those that are built already.
    let line = "umask 077 && exec cargo xtask dist --packages";
    let tools = [fs::canonicalize(target())?.join("tools/bin")];
    let path = env::var_os("PATH").context("PATH is not set")?;
    let path = env::join_paths(env::split_paths(&path).chain(tools))?;
    let mut again = Command::new("sh");
    again.args(["-c", line]).current_dir(&source).env("PATH", path).env("CARGO_TARGET_DIR", scratch.path().join("out"));
    again.env_remove("CARGO").env("TZ", "Pacific/Kiritimati").env("LC_ALL", "C.UTF-8");
    run_command(&mut again)?;
    let second = fs::read_to_string(scratch.path().join("out/dist/SHA256SUMS"))?;
    if first != second {
        println!("not the same:\n{first}and\n{second}");
        return Ok(false);
    }
    println!("the same bytes from both places");
    Ok(true)
}
