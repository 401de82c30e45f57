//! This machine: which processors, how many descriptors, and what it is called in the result.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};
use pr_dev::workspace::{output, root};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What this daemon sets aside: three descriptors for each connection, and some for itself. Nobody here needs more.
const DESCRIPTORS_EACH: u64 = 3;
const OWN_DESCRIPTORS: u64 = 24;

/// Raises the limit on descriptors, here and in what is started from now on: as far as so many connections need, for
/// which root may raise the hard limit as well, or as far as the hard limit allows.
pub fn make_room(connections: u32) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let needed = OWN_DESCRIPTORS + DESCRIPTORS_EACH * u64::from(connections);
    let enough = limit.maximum.map(|maximum| maximum.max(needed));
    setrlimit(Resource::Nofile, Rlimit { current: enough, maximum: enough })
        .or_else(|_| setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }))
        .context("the limit on descriptors cannot be raised")
}

/// So many connections at once, or as many as there are descriptors for; then in words why.
pub fn most_connections(wanted: u32) -> (u32, Option<String>) {
    within(wanted, getrlimit(Resource::Nofile).current)
}

fn within(wanted: u32, limit: Option<u64>) -> (u32, Option<String>) {
    let Some(limit) = limit else { return (wanted, None) };
    let possible = limit.saturating_sub(OWN_DESCRIPTORS) / DESCRIPTORS_EACH;
    match u32::try_from(possible) {
        Ok(possible) if possible < wanted => {
            let why = format!(
                "The last load was to be {wanted} connections: on this machine no process may have more than {limit} \
                 descriptors (the hard limit, which could not be raised), and this daemon, which sets {DESCRIPTORS_EACH} \
                 aside for each connection, serves {possible} with them."
            );
            (possible, Some(why))
        }
        _ => (wanted, None),
    }
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
    let theirs = said(e2e::REFERENCE, "--version");
    BTreeMap::from([
        ("commit", commit().unwrap_or_else(|_| "not known".to_owned())),
        ("processor", format!("{processors} × {model}")),
        ("kernel", said("uname", "-r")),
        ("compiler", said("rustc", "--version")),
        ("C helper", theirs.split_once(' ').map_or(theirs.clone(), |(_, version)| version.to_owned())),
    ])
}

/// The last commit, and whether what is measured differs from it.
fn commit() -> Result<String> {
    let git = |arguments: &[&str]| output(Command::new("git").arg("-C").arg(root()).args(arguments));
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?.trim().to_owned();
    let differs = !git(&["status", "--porcelain", "--untracked-files=no", "crates", "Cargo.lock"])?.trim().is_empty();
    Ok(if differs { format!("{commit} and changes") } else { commit })
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    #[test]
    fn fewer_connections_than_wanted_are_told_in_words() {
        assert_eq!(within(4000, Some(12_024)), (4000, None));
        assert_eq!(within(4000, None), (4000, None));
        let (possible, why) = within(4000, Some(12_000));
        let why = why.expect("words");
        assert_eq!(possible, 3992);
        assert!(why.contains("4000 connections") && why.contains("more than 12000 descriptors"), "{why}");
    }
}
