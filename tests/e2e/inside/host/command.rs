//! Commands of the host, run as an administrator would.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Runs a shell command; what it printed, without the last line end.
pub fn sh(line: &str) -> Result<String> {
    let (succeeded, printed) = try_sh(line)?;
    ensure!(succeeded, "'{line}' failed: {printed}");
    Ok(printed)
}

/// The same for a command that may fail: whether it succeeded, and all that it printed.
pub fn try_sh(line: &str) -> Result<(bool, String)> {
    let output = Command::new("sh").args(["-c", line]).env("LC_ALL", "C").output().context("sh cannot be started")?;
    let printed = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&printed).trim_end().to_owned()))
}

/// A property of a unit.
pub fn property(unit: &str, name: &str) -> Result<String> {
    sh(&format!("systemctl show --property={name} --value {unit}"))
}
