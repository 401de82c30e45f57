//! Messages that a client can provoke are limited: ten at once, then one a second. The next one says how many there
//! would have been.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

const BURST: u32 = 10;
const REFILL: Duration = Duration::from_secs(1);

/// A limit for one kind of message.
pub struct Limit(Mutex<State>);

struct State {
    spent: u32,
    since: Option<Instant>,
    suppressed: u64,
}

impl Limit {
    /// A limit that has let nothing through yet.
    pub const fn new() -> Self {
        Self(Mutex::new(State { spent: 0, since: None, suppressed: 0 }))
    }

    /// Whether a message may be said now, and what to add to it about those that were not.
    pub fn admit(&self) -> Option<String> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<String> {
        let mut state = self.0.lock().ok()?;
        let since = *state.since.get_or_insert(now);
        let refilled = u32::try_from(now.duration_since(since).as_secs() / REFILL.as_secs()).unwrap_or(u32::MAX);
        if refilled > 0 {
            state.spent = state.spent.saturating_sub(refilled);
            state.since = Some(now);
        }
        if state.spent >= BURST {
            state.suppressed += 1;
            return None;
        }
        state.spent += 1;
        Some(match std::mem::take(&mut state.suppressed) {
            0 => String::new(),
            n => format!(" ({n} similar messages were left out)"),
        })
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_one_a_second_and_the_rest_is_counted() {
        let limit = Limit::new();
        let start = Instant::now();
        let passed = (0..1000).filter(|_| limit.admit_at(start).is_some()).count();
        assert_eq!(passed, 10);
        let later = limit.admit_at(start + Duration::from_secs(1));
        assert_eq!(later.as_deref(), Some(" (990 similar messages were left out)"));
        assert_eq!(limit.admit_at(start + Duration::from_secs(1)), None);
    }
}
