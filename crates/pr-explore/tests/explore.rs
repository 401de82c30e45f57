//! What the map engine promises, in a small world: no play of these plans breaks it, and every deliberate mistake does.

#![expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]

use pr_explore::{MapEngine, explore, find, plans, world::Mistake};

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
fn each_deliberate_mistake_is_found() {
    for mistake in Mistake::ALL {
        assert!(!find(&MapEngine, mistake).wrong.is_empty(), "{mistake:?}");
    }
}
