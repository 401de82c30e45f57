//! `cargo xtask explore`: explores, and prints what was found.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Instant;

use pr_explore::{
    Found, MapEngine, Plan, explore, find, plans, wander,
    world::{Mistake, Release, Rules},
};

fn main() -> ExitCode {
    let deep = std::env::args().any(|word| word == "--deep");
    let chance = std::env::args().any(|word| word == "--chance");
    let mut sound = true;
    let names = ["nothing happens", "the engine dies", "paths fail"];
    for (name, plan) in names.into_iter().zip(plans(None)) {
        let started = Instant::now();
        sound &= tell(name, &explore(&MapEngine, &plan), started);
    }
    let removed = Plan { removes: true, ..plans(None)[2].clone() };
    let started = Instant::now();
    sound &= tell("paths fail and leave the map", &explore(&MapEngine, &removed), started);
    for mistake in Mistake::ALL {
        let found = find(&MapEngine, mistake);
        let first = found.wrong.first();
        sound &= first.is_some();
        let what = first
            .map_or("NOT FOUND".to_owned(), |bad| format!("promise {}: {}", bad.violation.promise, bad.violation.what));
        println!("mistake {mistake:?}, after {} plays: {what}", found.plays);
    }
    if deep {
        let others = Rules { faults: false, deaths: false, ..Plan::EVERYTHING.rules };
        let plans = [
            ("the other node acts", Plan { rules: others, ..Plan::EVERYTHING }),
            ("the other node acts, three paths", Plan { paths: 3, rules: others, ..Plan::EVERYTHING }),
            ("everything", Plan::EVERYTHING),
            ("everything, paths that are away leave the map", Plan { removes: true, ..Plan::EVERYTHING }),
            ("everything, newer multipathd", Plan { release: Release::New, ..Plan::EVERYTHING }),
            ("everything, no multipathd", Plan { release: Release::Absent, ..Plan::EVERYTHING }),
        ];
        for (name, plan) in plans {
            for host_tells in [false, true] {
                let started = Instant::now();
                let name = if host_tells { format!("{name}, identities known") } else { name.to_owned() };
                sound &= tell(&name, &explore(&MapEngine, &Plan { host_tells, ..plan.clone() }), started);
            }
        }
    }
    if chance {
        for paths in 2..=4 {
            for (events, host_tells) in [(1, true), (1, false), (2, true), (2, false), (3, true)] {
                let started = Instant::now();
                let rules = Rules { events, ..Plan::EVERYTHING.rules };
                let plan = Plan { paths, rules, host_tells, shared_keys: host_tells, ..Plan::EVERYTHING };
                let plan = Plan { wanted: 40, ..plan };
                let mut found = wander(&MapEngine, &plan, 1, 200_000, 40);
                // The shortest is the one to read.
                found.wrong.sort_by_key(|bad| bad.story.len());
                let known = if host_tells { "known" } else { "unknown" };
                sound &= tell(
                    &format!("{events} events in a command by chance, {paths} paths, identities {known}"),
                    &found,
                    started,
                );
            }
        }
    }
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(name: &str, found: &Found, started: Instant) -> bool {
    println!(
        "{name}: {} worlds, {} plays, {} states, {} ended with a note, {} wrong, {:.0} s",
        found.worlds,
        found.plays,
        found.states,
        found.noted,
        found.wrong.len(),
        started.elapsed().as_secs_f64()
    );
    for bad in found.wrong.iter().take(3) {
        println!("--- promise {}: {}", bad.violation.promise, bad.violation.what);
        for line in &bad.story {
            println!("{line}");
        }
    }
    found.wrong.is_empty()
}
