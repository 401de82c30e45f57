//! `cargo xtask mutants`: which mistakes no test notices. The code is made wrong in one small way after the other (a
//! constant result, another operator, a match arm that is missing), and each time a test of its package has to fail.
//!
//! What survives is a gap in the tests, or changes nothing that anybody could see. The second kind has its reason in
//! docs/testing.md; anything else there is none for fails the command.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use pr_dev::tools;
use pr_dev::workspace::{root, target};

/// Has the reasons.
const PAGE: &str = "docs/testing.md";

/// What is looked at without a word: the vocabulary, the protocol, and what decides who may do what.
const PARTS: [Part; 3] = [
    Part {
        name: "scsi-persistent-reservations",
        files: &["crates/scsi-persistent-reservations/src/**"],
        tests: &[&[]],
    },
    Part { name: "qemu-pr-protocol", files: &["crates/qemu-pr-protocol/src/**"], tests: &[&[]] },
    Part {
        name: "policy",
        files: &["crates/qemu-pr-helper/src/policy/**"],
        // What a unit test notices needs no daemon, whose tests take longer.
        tests: &[&["--cargo-arg=--lib", "--cargo-test-arg=-Etest(/^policy/)"], &["--cargo-arg=--test=policy"]],
    },
];

/// Files that are looked at together.
struct Part<'a> {
    /// The folder for what comes of it.
    name: &'a str,
    files: &'a [&'a str],
    /// The options that choose the tests that are to notice, one set after the other: the next one tries what has
    /// survived.
    tests: &'a [&'a [&'a str]],
}

/// What to look at.
#[derive(clap::Args)]
pub struct Options {
    /// Files to look at, with `*` for any [default: scsi-persistent-reservations, qemu-pr-protocol and the daemon's policy]
    #[arg(value_name = "PATH")]
    paths: Vec<String>,
    /// More options for cargo-mutants
    #[arg(last = true, value_name = "OPTION", requires = "paths")]
    options: Vec<String>,
}

/// Makes mistakes; false if one survives that has no reason to.
pub fn run(options: &Options) -> Result<bool> {
    if options.paths.is_empty() {
        return all();
    }
    let files: Vec<_> = options.paths.iter().map(String::as_str).collect();
    let tests: Vec<_> = options.options.iter().map(String::as_str).collect();
    try_part(&Part { name: "paths", files: &files, tests: &[&tests] })
}

/// The parts that have to hold.
pub fn all() -> Result<bool> {
    let mut held = true;
    for part in &PARTS {
        held &= try_part(part)?;
    }
    Ok(held)
}

fn try_part(part: &Part<'_>) -> Result<bool> {
    if !tools::has("nextest") {
        bail!("cargo-nextest is missing, which runs the tests: cargo install cargo-nextest --locked");
    }
    let folder = target().join("mutants").join(part.name);
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let folder = folder.canonicalize()?;
    for (round, tests) in part.tests.iter().enumerate() {
        let mut mutants = tools::cargo_mutants()?;
        mutants.args(["--jobs=1", "--test-tool=nextest", "--colors=never", "--output"]).arg(&folder);
        mutants.args(part.files.iter().map(|file| format!("--file={file}")));
        mutants.args(*tests);
        if round > 0 {
            mutants.arg("--iterate");
        }
        // Each is built from a copy of the sources; what they depend on is built once. Nobody debugs them.
        mutants.env("CARGO_TARGET_DIR", folder.with_file_name("build")).env("CARGO_PROFILE_DEV_DEBUG", "none");
        // A test that fails is what is wanted: it is not run again.
        mutants.env("NEXTEST_RETRIES", "0");
        let status = mutants.status().context("cargo-mutants cannot be started")?;
        // Some were missed, or ran into the time limit: what that means is told below.
        if !status.success() && !matches!(status.code(), Some(2 | 3)) {
            bail!("cargo-mutants failed: {status}; all that it did is in {}", folder.display());
        }
    }
    let reasons = fs::read_to_string(root().join(PAGE)).with_context(|| format!("{PAGE} cannot be read"))?;
    let missed = missed(&folder.join("mutants.out"))?;
    let unexplained: Vec<_> = missed.iter().filter(|mutant| !reasons.contains(&format!("`{mutant}`"))).collect();
    for mutant in &unexplained {
        println!("no test notices, and {PAGE} does not say why: {mutant}");
    }
    println!("{}: {} survive, {} of them without a reason", part.name, missed.len(), unexplained.len());
    Ok(unexplained.is_empty())
}

/// What has survived, without the place in the file, which changes with every line above it.
fn missed(results: &Path) -> Result<Vec<String>> {
    let path = results.join("missed.txt");
    let text = fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(text.lines().map(without_place).collect())
}

fn without_place(line: &str) -> String {
    let Some((place, what)) = line.split_once(": ") else { return line.to_owned() };
    format!("{}: {what}", place.split(':').next().unwrap_or(place))
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    #[test]
    fn a_survivor_has_the_same_name_wherever_it_stands_in_its_file() {
        let line = "crates/scsi-persistent-reservations/src/cdb.rs:12:34: replace Cdb::length -> usize with 0";
        assert_eq!(
            without_place(line),
            "crates/scsi-persistent-reservations/src/cdb.rs: replace Cdb::length -> usize with 0"
        );
    }
}
