//! `cargo xtask arch`: the programs for every architecture that they are made for, and proof that they work there.
//!
//! Each is built with Debian's cross compiler for the C library and the linker, and with a Rust of which every
//! architecture's standard library is at hand (`rust.rs`). Two are tried as well: one of the other byte order, and one that
//! packages are made for. The crates without a kernel below them are tested by QEMU's emulation of a process; the programs
//! run on a real kernel of Debian's in an emulated machine (`tests/e2e/src/foreign.rs`), with the checks of the kernel bed.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use pr_dev::arch::{ALL, Name, built, cargo_for, elf_machine};
use pr_dev::packages;
use pr_dev::workspace::{output, run as run_command};
use serde::Deserialize;

/// Where programs are run and not only built.
const TRIED: [Name; 2] = [Name::Arm, Name::S390];

/// The packages of this workspace that are for users.
const PROGRAMS: [&str; 3] = ["qemu-pr-helper", "qemu-pr-ctl", "qemu-pr-exporter"];

/// Those whose tests need nothing of a kernel but memory and sockets.
const PURE: [&str; 6] =
    ["--package", "scsi-persistent-reservations", "--package", "qemu-pr-protocol", "--package", "pr-sim"];

/// Tests that cannot hold under QEMU's emulation of a process: it offers the host's kernel twice the room that the program
/// has for descriptors, so that more come than the program can be told of, and stay. They run in the machine.
const NOT_EMULATED: [&str; 2] = ["channel::", "leaks::"];

/// What is done for an architecture; false is a failure.
type Step = fn(Name) -> Result<bool>;

/// Builds, and tries what is tried; what fails does not keep the next one from being built.
pub fn run(names: &[Name]) -> Result<bool> {
    let names = if names.is_empty() { &ALL } else { names };
    if names.iter().any(|name| TRIED.contains(name)) {
        packages::install_missing(&[packages::FOR_FOREIGN])?;
    }
    let mut failed = 0;
    for name in names {
        let mut steps: Vec<(&str, Step)> = vec![("build", build)];
        if TRIED.contains(name) {
            steps.extend([("tests", test as Step), ("a real kernel", boot)]);
        }
        for (what, step) in steps {
            println!("--- {}: {what}", name.target());
            let started = Instant::now();
            let result = step(*name);
            if let Err(error) = &result {
                println!("{error:#}");
            }
            let held = result.is_ok_and(|held| held);
            failed += usize::from(!held);
            let word = if held { "ok" } else { "FAIL" };
            println!("{word} {}: {what}, {} s", name.target(), started.elapsed().as_secs());
        }
    }
    Ok(failed == 0)
}

/// Whether the programs compile, without building them; for all architectures where none is named.
///
/// # Errors
/// What compiles them cannot be had.
pub fn check(names: &[Name]) -> Result<bool> {
    let names = if names.is_empty() { &ALL } else { names };
    let mut held = true;
    for name in names {
        println!("cargo check for {}", name.target());
        let mut command = cargo_for(*name)?;
        held &= run_command(command.args(["check", "--quiet", "--locked"]).args(packages())).is_ok();
    }
    Ok(held)
}

/// How Cargo is told of the programs.
fn packages() -> impl Iterator<Item = &'static str> {
    PROGRAMS.into_iter().flat_map(|program| ["--package", program])
}

fn build(name: Name) -> Result<bool> {
    run_command(cargo_for(name)?.args(["build", "--quiet", "--locked"]).args(packages()))?;
    for program in PROGRAMS {
        let path = built(name)?.join(program);
        let machine = elf_machine(&path)?;
        if machine != name.elf().0 {
            bail!("{} is for machine {machine} and not for {}", path.display(), name.target());
        }
    }
    Ok(true)
}

/// The tests that need no kernel, by QEMU's emulation of a process.
fn test(name: Name) -> Result<bool> {
    let mut command = cargo_for(name)?;
    command.args(["test", "--quiet", "--locked", "--no-fail-fast", "--lib", "--tests"]).args(PURE);
    command.arg("--").args(NOT_EMULATED.iter().flat_map(|tests| ["--skip", tests]));
    Ok(run_command(&mut command).is_ok())
}

/// The kernel bed on Debian's kernel for this architecture, and the tests that cannot be emulated.
fn boot(name: Name) -> Result<bool> {
    let mut driver = cargo_for(name)?;
    run_command(driver.args(["build", "--quiet", "--locked", "--package", "e2e", "--bin", "bed-inside"]))?;
    let tests = test_program(name, "qemu-pr-protocol", "wire")?;
    let tally = e2e::foreign::run(name, &built(name)?, &tests, &NOT_EMULATED.join(" "))?;
    println!("{tally}");
    Ok(tally.succeeded())
}

/// What Cargo says of something that it has built.
#[derive(Deserialize)]
struct Artifact {
    target: Target,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Builds one program of tests, and returns its path.
fn test_program(name: Name, package: &str, test: &str) -> Result<PathBuf> {
    let mut command = cargo_for(name)?;
    command.args(["test", "--quiet", "--locked", "--no-run", "--message-format", "json"]);
    let messages = output(command.args(["--package", package, "--test", test]))?;
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    let mut programs = artifacts.filter(|artifact| artifact.target.name == test).filter_map(|it| it.executable);
    programs.next().with_context(|| format!("Cargo names no program of the tests {test} of {package}"))
}
