//! Where things are, and how a command is run: one place, so that every failure names the command and its remedy.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The workspace's directory. What calls this is always run by Cargo, from the source that it was built from.
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own).to_owned()
}

/// Cargo's output folder, honouring the variable that moves it.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |moved| root().join(moved))
}

/// The Cargo that runs this program, started in the workspace.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Builds this project's programs as its tests have them, and returns the folder that they are in. Together with `xtask`:
/// alone, each would have its dependencies built once more, with fewer of their features.
pub fn debug_builds() -> Result<PathBuf> {
    let packages = ["xtask", "e2e", "qemu-pr-ctl", "qemu-pr-exporter", "qemu-pr-helper"];
    run(cargo().args(["build", "--quiet", "--bins"]).args(packages.iter().flat_map(|name| ["--package", *name])))?;
    Ok(target().join("debug"))
}

/// Runs a command to its end and shows what it prints.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{} cannot be started", line(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", line(command));
    }
    Ok(())
}

/// Runs a command to its end and returns what it prints; on failure the error carries its complaint.
pub fn output(command: &mut Command) -> Result<String> {
    let printed = bytes(command)?;
    String::from_utf8(printed).with_context(|| format!("{} printed something that is not text", line(command)))
}

/// The same with whatever bytes it prints.
pub fn bytes(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("{} cannot be started", line(command)))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed: {}\n{}", line(command), output.status, complaint.trim_end());
    }
    Ok(output.stdout)
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
