//! Requests a second of one process: whoever sends more is read more slowly, and nothing is refused.
//!
//! A connection whose process is over its rate books the moment when it will be within it, and is not read until then:
//! it is not armed, no thread waits with it, and what its client sends stays in the socket. The main thread arms it
//! when its moment comes. Each waiting connection has a moment of its own, so they take turns and none is woken in vain.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::observe::audit::Peer;

/// The main thread arms connections at this interval at the most.
const GRAIN: Duration = Duration::from_millis(10);

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A process' share: the moment, in nanoseconds, from which on it would have sent nothing too early (the virtual
/// scheduling of the generic cell rate algorithm).
#[derive(Default)]
pub struct Bucket(AtomicU64);

/// Who shares a bucket: a process, or a user whose processes have no numbers here.
type Owner = (u32, u32);

/// The buckets, and the connections that wait.
#[derive(Default)]
pub struct Rates {
    buckets: Mutex<HashMap<Owner, Arc<Bucket>>>,
    waiting: Mutex<BinaryHeap<Reverse<Waiting>>>,
}

/// A connection that waits: until when, in which slot, and its number.
pub type Waiting = (Instant, u32, u64);

impl Bucket {
    /// Takes a request's place; when it may be read, if that is not now.
    fn take(&self, now: u64, rate: u32, burst: u32) -> Option<u64> {
        let interval = 1_000_000_000 / u64::from(rate.max(1));
        let ahead = interval.saturating_mul(u64::from(burst.max(1)) - 1);
        let next = |planned: u64| Some(planned.max(now).saturating_add(interval));
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        let planned = before.unwrap_or_else(|same| same).max(now);
        Some(planned.saturating_sub(ahead)).filter(|due| *due > now)
    }

    fn is_full(&self, now: u64) -> bool {
        self.0.load(Ordering::Relaxed) <= now
    }
}

fn now() -> u64 {
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

impl Rates {
    /// The bucket of a client.
    pub fn bucket(&self, peer: Peer) -> Arc<Bucket> {
        let owner = if peer.pid == 0 { (0, peer.uid) } else { (peer.pid, 0) };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        // A bucket that nobody uses and that is full says nothing. One that is not must outlive its connections, or
        // connecting again would refill it.
        let now = now();
        buckets.retain(|_, bucket| Arc::strong_count(bucket) > 1 || !bucket.is_full(now));
        Arc::clone(buckets.entry(owner).or_default())
    }

    /// Takes a request's place in a bucket; when it may be read, if that is not now.
    pub fn take(bucket: &Bucket, rate: u32, burst: u32) -> Option<Instant> {
        bucket.take(now(), rate, burst).map(|due| *START + Duration::from_nanos(due))
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
        waiting.peek().map(|Reverse((due, ..))| due.saturating_duration_since(Instant::now()).max(GRAIN))
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
        while let Some(Reverse(first)) = waiting.peek().copied().filter(|Reverse((due, ..))| *due <= now) {
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

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_passes_and_then_one_an_interval() {
        let bucket = Bucket::default();
        let passed = (0..10).filter(|_| bucket.take(SECOND, 10, 5).is_none()).count();
        assert_eq!(passed, 5);
        // Each of the other five has booked a moment of its own.
        assert_eq!(bucket.take(SECOND, 10, 5), Some(SECOND + 6 * SECOND / 10));
        assert_eq!(bucket.take(3 * SECOND, 10, 5), None, "a pause gives the burst back");
    }

    #[test]
    fn over_a_long_time_the_rate_is_kept() {
        let bucket = Bucket::default();
        // Asked every millisecond for ten seconds, and each time one that has to wait does.
        let (mut now, mut served) = (0, 0);
        while now < 10 * SECOND {
            now = bucket.take(now, 100, 20).unwrap_or(now + SECOND / 1000);
            served += 1;
        }
        assert!((1000..=1025).contains(&served), "{served}");
    }

    #[test]
    fn connecting_again_refills_nothing() {
        let rates = Rates::default();
        let peer = Peer { pid: 7, uid: 1 };
        assert_eq!(Rates::take(&rates.bucket(peer), 1, 1), None);
        assert!(Rates::take(&rates.bucket(peer), 1, 1).is_some());
        assert!(Rates::take(&rates.bucket(Peer { pid: 8, uid: 1 }), 1, 1).is_none(), "another process has its own");
    }

    #[test]
    fn who_waits_is_due_in_turn() {
        let rates = Rates::default();
        assert_eq!(rates.pause(), None);
        let (past, future) = (Instant::now(), Instant::now() + Duration::from_secs(3600));
        assert!(rates.wait((future, 1, 1)));
        assert!(rates.wait((past, 2, 2)));
        assert!(!rates.wait((future, 3, 3)));
        assert_eq!(rates.due(), [(past, 2, 2)]);
        assert!(rates.pause().is_some_and(|pause| pause > Duration::from_secs(3000)));
        assert_eq!(rates.due(), []);
    }
}
