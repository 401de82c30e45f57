//! Explores, and prints what was found.
#![forbid(unsafe_code)]

use pr_explore::{
    MapEngine, Plan, explore,
    world::{Release, Rules},
};

fn main() {
    let mut words = std::env::args().skip(1).map(|word| word.parse::<usize>().unwrap_or(0));
    let mut next = |default| words.next().unwrap_or(default);
    let (paths, depth, events, most) = (next(2), next(3), next(1), next(1000));
    let rules = Rules {
        events: u32::try_from(events).unwrap_or(1),
        deaths: next(1) == 1,
        faults: next(1) == 1,
        others: next(1) == 1,
    };
    let plan = Plan { paths, release: Release::Old, rules, depth, wanted: next(3), most };
    let found = explore(&MapEngine, &plan);
    println!(
        "{} worlds, {} plays, {} states, {} noted, {} wrong",
        found.worlds,
        found.plays,
        found.states,
        found.noted,
        found.wrong.len()
    );
    for bad in found.wrong.iter().take(plan.wanted) {
        println!("--- promise {}: {}", bad.violation.promise, bad.violation.what);
        let last = bad.story.iter().rposition(|line| !line.starts_with(' ')).unwrap_or(0);
        let last =
            if bad.story.get(last).is_some_and(|line| line == "reconcile") { last.saturating_sub(1) } else { last };
        for (number, line) in bad.story.iter().enumerate() {
            let act = line.starts_with("      other") || line.starts_with("      path") && !line.contains(':');
            if number >= last
                || !line.starts_with(' ')
                || act
                || line.starts_with("   told")
                || line.starts_with("   map")
            {
                println!("{line}");
            }
        }
    }
}
