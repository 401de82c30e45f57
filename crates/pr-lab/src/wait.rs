//! Waiting by polling, with a bound so generous that only a real failure reaches it.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a test waits for something that ought to happen at once.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Polls until `check` holds; panics with `what` when [`PATIENCE`] has run out.
#[track_caller]
pub fn eventually(what: &str, check: impl FnMut() -> bool) {
    assert!(within(PATIENCE, check), "never happened: {what}");
}

/// Polls until `check` holds or `limit` has passed, and tells which.
pub fn within(limit: Duration, mut check: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if check() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        sleep(Duration::from_millis(2));
    }
}
