//! What the map engine promises, in a small world: no play of these plans breaks it, and every deliberate mistake does.

#![expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]

use pr_explore::{
    MapEngine, by_chance, explore, find, more_plans, plans, play::Mistake, scenario, wander, world::Tells,
};

#[test]
fn no_play_without_faults_with_deaths_or_with_failing_paths_breaks_a_promise() {
    for plan in plans(None) {
        let found = explore(&MapEngine, &plan);
        let first = found.wrong.first().map(|bad| (&bad.violation, bad.story.join("\n")));
        assert!(first.is_none(), "{plan:?}: {first:#?}");
        assert!(found.plays > 1000, "{plan:?}: {} plays are none", found.plays);
    }
}

#[test]
fn no_play_with_another_node_or_with_paths_that_leave_the_map_breaks_a_promise() {
    for (name, plan) in more_plans().into_iter().filter(|(_, plan)| plan.paths == 2) {
        let found = explore(&MapEngine, &plan);
        let first = found.wrong.first().map(|bad| (&bad.violation, bad.story.join("\n")));
        assert!(first.is_none(), "{name}: {first:#?}");
    }
}

#[test]
fn no_command_by_chance_breaks_a_promise() {
    for plan in by_chance(1) {
        let found = wander(&MapEngine, &plan, 2, 5_000, 40);
        let first = found.wrong.first().map(|bad| (&bad.violation, bad.story.join("\n")));
        assert!(first.is_none(), "{plan:?}: {first:#?}");
        assert!(found.plays > 1000, "{plan:?}: {} plays are none", found.plays);
    }
}

#[test]
fn each_deliberate_mistake_is_found() {
    for mistake in Mistake::ALL {
        assert!(!find(&MapEngine, mistake).wrong.is_empty(), "{mistake:?}");
    }
}

#[test]
fn the_logic_before_the_map_engine_breaks_the_promises_that_the_map_engine_keeps() {
    let documented = include_str!("../../../docs/testing.md");
    for (scenario, before, engine) in scenario::table() {
        let mut broken: Vec<u8> = before.wrong.iter().map(|bad| bad.violation.promise).collect();
        broken.sort_unstable();
        assert_eq!(broken, scenario.breaks, "{}", scenario.name);
        let numbers: Vec<String> = broken.iter().map(u8::to_string).collect();
        let row = format!("| {} | {} | ", scenario.name, numbers.join(", "));
        assert!(documented.contains(&row), "docs/testing.md lacks: {row}");
        let first = engine.wrong.first().map(|bad| (&bad.violation, bad.story.join("\n")));
        assert!(first.is_none(), "{}: {first:#?}", scenario.name);
    }
}

#[test]
fn restarts_and_flags_break_no_promise() {
    for scenario in scenario::MORE {
        let found = scenario.explore(&MapEngine, Tells::Surely);
        let first = found.wrong.first().map(|bad| (&bad.violation, bad.story.join("\n")));
        assert!(first.is_none(), "{}: {first:#?}", scenario.name);
    }
}
