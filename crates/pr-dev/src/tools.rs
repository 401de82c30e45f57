//! Cargo's helpers that a fresh machine may lack.

use std::process::Command;

use anyhow::Result;

use crate::workspace::{cargo, output, run, target};

/// Whether a Cargo subcommand is installed.
pub fn has(subcommand: &str) -> bool {
    output(cargo().args([subcommand, "--version"])).is_ok()
}

/// `cargo deny`, which looks at licences, sources and duplicates.
pub fn cargo_deny() -> Result<Command> {
    subcommand("deny", "0.20.2", &[])
}

/// `cargo deb`, which makes the Debian package. It calls `xz`, which every Debian has, instead of building it.
pub fn cargo_deb() -> Result<Command> {
    subcommand("deb", "3.8.0", &["--no-default-features"])
}

/// `cargo generate-rpm`, which makes the RPM package; without RPM's own tools, for this machine's architecture.
pub fn cargo_generate_rpm() -> Result<Command> {
    subcommand("generate-rpm", "0.21.1", &[])
}

/// `cargo llvm-cov`, which counts what tests run.
pub fn cargo_llvm_cov() -> Result<Command> {
    subcommand("llvm-cov", "0.9.1", &[])
}

/// `cargo mutants`, which makes code wrong to see whether a test notices.
pub fn cargo_mutants() -> Result<Command> {
    subcommand("mutants", "27.1.0", &[])
}

/// `mdbook`, which makes the manual's pages for a browser, with their search.
pub fn mdbook() -> Result<Command> {
    let version = "0.5.4";
    // One that is there already makes the same pages if it is the same release.
    if output(Command::new("mdbook").arg("--version")).is_ok_and(|told| told.trim() == format!("mdbook v{version}")) {
        return Ok(Command::new("mdbook"));
    }
    built("mdbook", version, &["--no-default-features", "--features", "search"])
}

/// A Cargo subcommand, built below the target folder if it is not installed: nothing is added to the machine.
fn subcommand(name: &str, version: &str, options: &[&str]) -> Result<Command> {
    if has(name) {
        let mut command = cargo();
        command.arg(name);
        return Ok(command);
    }
    let mut command = built(&format!("cargo-{name}"), version, options)?;
    // As Cargo would call it.
    command.arg(name);
    Ok(command)
}

/// A program of crates.io, built below the target folder.
fn built(package: &str, version: &str, options: &[&str]) -> Result<Command> {
    let root = target().join("tools");
    let program = root.join("bin").join(package);
    if !program.exists() {
        println!("building {package}");
        let mut install = cargo();
        install.args(["install", "--quiet", "--locked", "--debug", package, "--version", version]);
        run(install.args(options).arg("--root").arg(&root))?;
    }
    let mut command = Command::new(program);
    command.current_dir(crate::workspace::root());
    Ok(command)
}
