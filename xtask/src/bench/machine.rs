//! This machine: which processors, how many descriptors, and what it is called in the result.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::workspace::output;

/// What this daemon budgets: five descriptors for each connection, and some for itself. Nobody here needs more.
const DESCRIPTORS_EACH: u64 = 5;
const OWN_DESCRIPTORS: u64 = 32;

/// Raises the limit on descriptors as far as it goes, here and in what is started from now on.
pub fn make_room() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .context("the limit on descriptors cannot be raised")
}

/// So many connections at once, or as many hundreds as there are descriptors for.
pub fn most_connections(wanted: u32) -> u32 {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return wanted };
    let possible = limit.saturating_sub(OWN_DESCRIPTORS) / DESCRIPTORS_EACH / 100 * 100;
    wanted.min(u32::try_from(possible).unwrap_or(u32::MAX))
}

/// What a reader wants to know of the machine, which has so many processors for this.
pub fn description(processors: usize) -> BTreeMap<&'static str, String> {
    let line = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = line(&cpuinfo, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let said = |program: &str, argument: &str| {
        let words = output(Command::new(program).arg(argument)).unwrap_or_default();
        words.lines().next().unwrap_or("not known").to_owned()
    };
    let theirs = said(crate::bed::REFERENCE, "--version");
    BTreeMap::from([
        ("processor", format!("{processors} × {model}")),
        ("kernel", said("uname", "-r")),
        ("compiler", said("rustc", "--version")),
        ("C helper", theirs.split_once(' ').map_or(theirs.clone(), |(_, version)| version.to_owned())),
    ])
}
