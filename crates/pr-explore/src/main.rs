//! `cargo xtask explore`: explores, and prints what was found.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Instant;

use pr_explore::{
    Found, MapEngine, Plan, by_chance, explore, find, more_plans, plans,
    play::Mistake,
    scenario, wander,
    world::{Release, Tells},
};

fn main() -> ExitCode {
    let deep = std::env::args().any(|word| word == "--deep");
    let chance = std::env::args().any(|word| word == "--chance");
    if std::env::args().any(|word| word == "--before") {
        return control(std::env::args().any(|word| word == "--stories"));
    }
    // Of everything, whatever has these words in its name.
    let only = std::env::args().skip_while(|word| word != "--only").nth(1);
    let is_wanted = |name: &str| only.as_deref().is_none_or(|words| name.contains(words));
    let (deep, chance) = (deep || only.is_some(), chance || only.is_some());
    let mut sound = true;
    let mut explored = |name: &str, explore: &dyn Fn() -> Found| {
        if is_wanted(name) {
            let started = Instant::now();
            sound &= tell(name, &explore(), started);
        }
    };
    let names = ["nothing happens", "the engine dies", "paths fail"];
    for (name, plan) in names.into_iter().zip(plans(None)).chain(more_plans()) {
        explored(name, &|| explore(&MapEngine, &plan));
    }
    for scenario in scenario::MORE {
        explored(scenario.name, &|| scenario.explore(&MapEngine, Tells::Surely));
    }
    let mut finds_all = true;
    for mistake in Mistake::ALL.into_iter().filter(|mistake| is_wanted(&format!("mistake {mistake:?}"))) {
        let found = find(&MapEngine, mistake);
        let first = found.wrong.first();
        finds_all &= first.is_some();
        let what = first
            .map_or("NOT FOUND".to_owned(), |bad| format!("promise {}: {}", bad.violation.promise, bad.violation.what));
        println!("mistake {mistake:?}, after {} plays: {what}", found.plays);
    }
    if deep {
        let plans = [
            ("everything", Plan::EVERYTHING),
            ("everything, paths that are away leave the map", Plan { removes: true, ..Plan::EVERYTHING }),
            ("everything, newer multipathd", Plan { release: Release::New, ..Plan::EVERYTHING }),
            ("everything, no multipathd", Plan { release: Release::Absent, ..Plan::EVERYTHING }),
        ];
        for (name, plan) in plans {
            for host_tells in [Tells::Nothing, Tells::Likely, Tells::Surely] {
                let plan = Plan { host_tells, ..plan.clone() };
                explored(&format!("{name}, {host_tells}"), &|| explore(&MapEngine, &plan));
            }
        }
    }
    for events in 1..=if deep { 3 } else { u32::from(chance) } {
        for plan in by_chance(events) {
            let Plan { paths, target, host_tells, .. } = plan;
            let name = format!("by chance, {events} events in a command, {paths} paths, {target:?}, {host_tells}");
            explored(&name, &|| {
                let mut found = wander(&MapEngine, &plan, 1, 200_000, 40);
                // The shortest is the one to read.
                found.wrong.sort_by_key(|bad| bad.story.len());
                found
            });
        }
    }
    if sound && finds_all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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

/// What the logic before the map engine gets wrong, and the map engine does not.
fn control(stories: bool) -> ExitCode {
    println!("| what happens | broken before | for example | map engine |");
    println!("|---|---|---|---|");
    let mut sound = true;
    for (scenario, before, engine) in scenario::table() {
        let mut broken: Vec<u8> = before.wrong.iter().map(|bad| bad.violation.promise).collect();
        broken.sort_unstable();
        sound &= broken == scenario.breaks && engine.wrong.is_empty();
        let numbers: Vec<String> = broken.iter().map(u8::to_string).collect();
        let example = before.wrong.first().map_or("NOT FOUND", |bad| &bad.violation.what);
        let verdict = if engine.wrong.is_empty() { "kept" } else { "BROKEN" };
        let name = scenario.name;
        println!("| {name} | {} | {example} | {verdict} in {} plays |", numbers.join(", "), engine.plays);
        for bad in engine.wrong.iter().chain(before.wrong.iter().filter(|_| stories)) {
            println!("--- promise {}: {}", bad.violation.promise, bad.violation.what);
            for line in &bad.story {
                println!("{line}");
            }
        }
    }
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
