//! Requests a second of one process: whoever sends more is read more slowly, and nothing is refused.
//!
//! A connection whose process is over its rate books the moment when it will be within it, and is not read until then:
//! it is not armed, no thread waits with it, and what its client sends stays in the socket. The main thread arms it
//! when its moment comes. Each waiting connection has a moment of its own, so they take turns and none is woken in vain.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::hub::Token;
use crate::{
    bucket::{Bucket, Shares},
    peer::Peer,
};

/// The main thread arms connections at this interval at the most.
const GRAIN: Duration = Duration::from_millis(10);

/// The buckets, and the connections that wait.
#[derive(Default)]
pub struct Rates {
    buckets: Mutex<Shares<Bucket>>,
    waiting: Mutex<BinaryHeap<Reverse<Waiting>>>,
}

/// A connection that waits: until when, and which.
pub type Waiting = (Instant, Token);

impl Rates {
    /// The bucket of a client.
    pub fn bucket(&self, peer: Peer) -> Arc<Bucket> {
        Shares::of(&self.buckets, peer)
    }

    /// A connection waits; whether it is the one whose moment comes first.
    pub fn wait(&self, waiting: Waiting) -> bool {
        let mut all = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Reverse(waiting));
        all.peek().is_some_and(|Reverse(first)| *first == waiting)
    }

    /// How long until somebody is to be armed.
    pub fn pause(&self) -> Option<Duration> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.peek().map(|Reverse((due, _))| due.saturating_duration_since(Instant::now()).max(GRAIN))
    }

    /// All that wait, which then do so no more.
    pub fn all(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.drain().map(|Reverse(waiting)| waiting).collect()
    }

    /// Those whose moment has come.
    pub fn due(&self) -> Vec<Waiting> {
        let now = Instant::now();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        while let Some(Reverse(first)) = waiting.peek().copied().filter(|Reverse((due, _))| *due <= now) {
            waiting.pop();
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
    fn who_waits_is_due_in_turn() {
        let rates = Rates::default();
        assert_eq!(rates.pause(), None);
        let (past, future) = (Instant::now(), Instant::now() + Duration::from_secs(3600));
        let [one, two, three] = [1, 2, 3].map(|client| Token::new(0, client));
        assert!(rates.wait((future, one)));
        assert!(rates.wait((past, two)));
        assert!(!rates.wait((future, three)));
        assert_eq!(rates.due(), [(past, two)]);
        assert!(rates.pause().is_some_and(|pause| pause > Duration::from_secs(3000)));
        assert_eq!(rates.due(), []);
    }
}
