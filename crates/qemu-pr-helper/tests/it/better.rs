//! Where QEMU's C helper is weak: tests that pass on this program and fail, for the stated reason, on the C helper. One that
//! passes on both shows nothing, and fails.

use std::time::Duration;

use pr_lab::prelude::*;

use crate::OURS;

/// How long the helper gets: ours a long time for what it does at once or after a timeout of a second, the original a short one for
/// what it never does.
pub fn bound(bed: &Bed) -> Duration {
    if bed.subject().is_ours() { PATIENCE } else { Duration::from_millis(1500) }
}

/// A weakness that shows on the original in a failure that contains `weakness`.
pub fn better(weakness: &str, test: impl Fn(&Bed)) {
    pr_lab::better(OURS, weakness, test);
}

/// Asserts that the helper refuses to start: exit status 1 and these words.
#[track_caller]
pub fn expect_refusal(bed: &Bed, helper: Helper, words: &[&str]) {
    assert!(helper.ends_within(bound(bed)), "starts instead of refusing");
    helper.finish().expect_refusal(words);
}
