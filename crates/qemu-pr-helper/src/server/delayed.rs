//! Connections that are not read before their moment comes: a client process that sends more requests a second than it may
//! is read more slowly, and none of them is refused.
//!
//! A connection whose process is over its rate books the moment when it will be within it, and is not read until then:
//! it is not armed, no thread waits with it, and what its client sends stays in the socket. The main thread arms it
//! when its moment comes. Each delayed connection has a moment of its own, so they take turns and none is woken in vain.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::token::Token;

/// The main thread arms connections at this interval at the most.
const GRAIN: Duration = Duration::from_millis(10);

/// The delayed connections, the one whose moment comes first on top.
#[derive(Default)]
pub struct Delayed(Mutex<BinaryHeap<Reverse<Entry>>>);

/// Until when, and which.
pub type Entry = (Instant, Token);

impl Delayed {
    fn lock(&self) -> MutexGuard<'_, BinaryHeap<Reverse<Entry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection; whether it is the one whose moment comes first.
    pub fn add(&self, entry: Entry) -> bool {
        let mut all = self.lock();
        all.push(Reverse(entry));
        all.peek().is_some_and(|Reverse(first)| *first == entry)
    }

    /// How long until one is to be armed.
    pub fn next(&self) -> Option<Duration> {
        self.lock().peek().map(|Reverse((due, _))| due.saturating_duration_since(Instant::now()).max(GRAIN))
    }

    /// Takes all of them out.
    pub fn take_all(&self) -> Vec<Entry> {
        self.lock().drain().map(|Reverse(entry)| entry).collect()
    }

    /// Takes those out whose moment has come.
    pub fn take_due(&self) -> Vec<Entry> {
        let now = Instant::now();
        let mut all = self.lock();
        let mut due = Vec::new();
        while let Some(Reverse(first)) = all.peek().copied().filter(|Reverse((due, _))| *due <= now) {
            all.pop();
            due.push(first);
        }
        due
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    #[test]
    fn delayed_connections_are_due_in_turn() {
        let delayed = Delayed::default();
        assert_eq!(delayed.next(), None);
        let (past, future) = (Instant::now(), Instant::now() + Duration::from_secs(3600));
        let [one, two, three] = [1, 2, 3].map(|client| Token::new(0, client));
        assert!(delayed.add((future, one)));
        assert!(delayed.add((past, two)));
        assert!(!delayed.add((future, three)));
        assert_eq!(delayed.take_due(), [(past, two)]);
        assert!(delayed.next().is_some_and(|next| next > Duration::from_secs(3000)));
        assert_eq!(delayed.take_due(), []);
    }
}
