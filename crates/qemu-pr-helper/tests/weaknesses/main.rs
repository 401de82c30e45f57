//! Where the original is weak: one test or more for each weakness, which must pass on ours and fail, for the stated reason, on the
//! original. A test that passes on both shows nothing, and fails.

#![expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]

mod answers;
mod boot;
mod limits;
mod ownership;
mod stalls;
mod timeouts;

use std::time::Duration;

use pr_lab::prelude::*;

const OURS: &str = env!("CARGO_BIN_EXE_qemu-pr-helper");

/// How long the helper gets: ours a long time for what it does at once or after a timeout of a second, the original a short one for
/// what it never does.
fn bound(bed: &Bed) -> Duration {
    if bed.subject().is_ours() { PATIENCE } else { Duration::from_millis(1500) }
}

/// A weakness that shows on the original in a failure that contains `weakness`.
fn better(weakness: &str, test: impl Fn(&Bed)) {
    pr_lab::better(OURS, weakness, test);
}

/// Asserts that the helper refuses to start: exit status 1 and these words.
#[track_caller]
fn expect_refusal(bed: &Bed, helper: Helper, words: &[&str]) {
    assert!(helper.ends_within(bound(bed)), "starts instead of refusing");
    helper.finish().expect_refusal(words);
}
