//! `cargo xtask test`: every check there is, and one line at the end that says how they went.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::bed::{self, Kind};
use crate::bench;
use crate::completions;
use crate::fuzz;
use crate::observability;
use crate::packages;
use crate::schemas;
use crate::tools;
use crate::workspace::{cargo, run as run_command};

/// What `cargo xtask` has a command of its own for; false is a failure.
type Step = fn() -> Result<bool>;

/// Runs everything; a step that fails does not keep the next ones from running.
pub fn run() -> Result<bool> {
    packages::install_missing(&[packages::FOR_BEDS, packages::SHELLS, packages::FOR_BENCH, packages::FOR_MANUAL])?;
    let mut passed = 0;
    let mut failed = 0;
    let mut count = |name: &str, held: bool| {
        println!("{} {name}", if held { "ok" } else { "FAIL" });
        if held { passed += 1 } else { failed += 1 }
    };

    for (name, command) in cargo_steps() {
        println!("--- {name}");
        let result = command.and_then(|mut command| run_command(&mut command));
        if let Err(error) = &result {
            println!("{error:#}");
        }
        count(name, result.is_ok());
    }

    let steps: [(&str, Step); 5] = [
        ("completions in their shells", completions::check),
        ("alerts and the exporter's page", observability::run),
        ("manifests and the bill of materials", schemas::run),
        ("instruction counts", || bench::instructions(false)),
        ("fuzzers, a minute each", || fuzz::check(60)),
    ];
    for (name, step) in steps {
        println!("--- {name}");
        let result = step();
        if let Err(error) = &result {
            println!("{error:#}");
        }
        count(name, result.is_ok_and(|held| held));
    }

    // The host bed alone takes as long as all of these: it is run by hand, before a release.
    for kind in [Kind::Kernel, Kind::Guest, Kind::Multipath, Kind::MultipathGuest] {
        for (whose, helper) in [("this project's", None), ("Debian's", Some(Path::new(bed::REFERENCE)))] {
            if kind.has_multipath() && helper.is_some() {
                // It has no multipath: what it lacks is known, and takes minutes to show.
                continue;
            }
            let name = format!("the {} bed with {whose} helper", kind.word());
            println!("--- {name}");
            // A whole machine, emulated, on a host that does other things as well: what fails is tried once more, as
            // the tests are, and it shows.
            let held = try_bed(kind, helper) || {
                println!("--- {name}, once more");
                try_bed(kind, helper)
            };
            count(&name, held);
        }
    }
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0)
}

fn try_bed(kind: Kind, helper: Option<&Path>) -> bool {
    match bed::run(kind, helper, &bed::Options::default()) {
        Ok(tally) => tally.succeeded(),
        Err(error) => {
            println!("{error:#}");
            false
        }
    }
}

/// What Cargo and its tools check, cheapest first.
fn cargo_steps() -> Vec<(&'static str, Result<Command>)> {
    let cargo_with = |words: &str| {
        let mut command = cargo();
        command.args(words.split(' '));
        Ok(command)
    };
    // Cargo's own runner does as well, one test after the other: many tests measure their process.
    let tests = if tools::has("nextest") {
        "nextest run --workspace --no-fail-fast"
    } else {
        "test --workspace --no-fail-fast --lib --bins --tests -- --test-threads=1"
    };
    vec![
        ("formatting", cargo_with("fmt --all --check")),
        ("formatting of the fuzzers", cargo_with("fmt --manifest-path fuzz/Cargo.toml --check")),
        ("lints", cargo_with("clippy --quiet --workspace --all-targets -- -D warnings")),
        ("lints of the fuzzers", fuzz::cargo_with("clippy --quiet --locked").map(deny_warnings)),
        ("dependencies", dependencies(".")),
        ("dependencies of the fuzzers", dependencies("fuzz")),
        ("tests", cargo_with(tests)),
        ("examples in the documentation", cargo_with("test --quiet --workspace --doc")),
    ]
}

/// Licences, sources and duplicates. Advisories are left out: their database is no package of any registry.
fn dependencies(folder: &str) -> Result<Command> {
    let mut command = tools::cargo_deny()?;
    command.args(["--manifest-path", &format!("{folder}/Cargo.toml"), "--config", "deny.toml"]);
    command.args(["check", "bans", "licenses", "sources"]);
    Ok(command)
}

fn deny_warnings(mut clippy: Command) -> Command {
    clippy.args(["--", "-D", "warnings"]);
    clippy
}
