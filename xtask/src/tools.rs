//! Cargo's helpers that a fresh machine may lack.

use std::process::Command;

use anyhow::Result;

use crate::workspace::{cargo, output, run, target};

/// Whether a Cargo subcommand is installed.
pub fn has(subcommand: &str) -> bool {
    output(cargo().args([subcommand, "--version"])).is_ok()
}

/// `cargo deny`, built below the target folder if it is not installed: nothing is added to the machine.
pub fn cargo_deny() -> Result<Command> {
    if has("deny") {
        let mut command = cargo();
        command.arg("deny");
        return Ok(command);
    }
    let root = target().join("tools");
    let program = root.join("bin").join("cargo-deny");
    if !program.exists() {
        println!("building cargo-deny");
        let mut install = cargo();
        install.args(["install", "--quiet", "--locked", "--debug", "cargo-deny", "--version", "0.20.2", "--root"]);
        run(install.arg(&root))?;
    }
    let mut command = Command::new(program);
    command.current_dir(crate::workspace::root());
    Ok(command)
}
