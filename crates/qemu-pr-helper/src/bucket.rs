//! One token bucket for everything that is limited by the second: requests, records of the audit log, messages.
//!
//! It is the generic cell rate algorithm in its virtual scheduling form (ITU-T I.371): all state is one moment, the
//! one from which on what has been taken so far would have come at the rate and no faster. A bucket refills by itself.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{clock::now, peer::Peer};

/// So many a second, and so many at once after a pause.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

impl Rate {
    /// Between two, in nanoseconds.
    fn interval(self) -> u64 {
        1_000_000_000 / u64::from(self.per_second.max(1))
    }

    /// How far ahead of the rate a burst may be.
    fn ahead(self) -> u64 {
        self.interval().saturating_mul(u64::from(self.burst.max(1)) - 1)
    }
}

/// A bucket; a new one is full.
#[derive(Debug, Default)]
pub struct Bucket(AtomicU64);

impl Bucket {
    /// A full one.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Takes a token that there may not be yet; when there will be, if that is not now.
    pub fn book(&self, now: u64, rate: Rate) -> Option<u64> {
        let next = |planned: u64| Some(planned.max(now).saturating_add(rate.interval()));
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        let planned = before.unwrap_or_else(|same| same).max(now);
        Some(planned.saturating_sub(rate.ahead())).filter(|due| *due > now)
    }

    /// Takes a token if there is one.
    pub fn take(&self, now: u64, rate: Rate) -> bool {
        let next = |planned: u64| {
            let planned = planned.max(now);
            (planned.saturating_sub(rate.ahead()) <= now).then(|| planned.saturating_add(rate.interval()))
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    /// Whether there is a token.
    pub fn has(&self, now: u64, rate: Rate) -> bool {
        self.0.load(Ordering::Relaxed).max(now).saturating_sub(rate.ahead()) <= now
    }

    /// Whether nothing is missing from it: then it says nothing, and need not be remembered.
    pub fn is_full(&self, now: u64) -> bool {
        self.0.load(Ordering::Relaxed) <= now
    }
}

/// Who has a share: a process, or a user whose processes have no numbers here (they are in another PID namespace).
pub type Owner = (u32, u32);

/// Whose share a client's is.
pub const fn owner(peer: Peer) -> Owner {
    if peer.pid == 0 { (0, peer.uid) } else { (peer.pid, 0) }
}

/// Something that is spent and comes back with time.
pub trait Refills: Default {
    /// Whether it is as good as a new one.
    fn is_new(&self, now: u64) -> bool;
}

impl Refills for Bucket {
    fn is_new(&self, now: u64) -> bool {
        self.is_full(now)
    }
}

/// What clients share. It outlives their connections until it has refilled, or connecting again would refill it.
#[derive(Debug)]
pub struct Shares<T> {
    by_owner: HashMap<Owner, Arc<T>>,
    /// At so many, those that are as good as new and not in use are forgotten.
    forget_at: usize,
}

impl<T> Default for Shares<T> {
    fn default() -> Self {
        Self { by_owner: HashMap::new(), forget_at: 0 }
    }
}

impl<T: Refills> Shares<T> {
    /// A client's share.
    pub fn of(shares: &Mutex<Self>, peer: Peer) -> Arc<T> {
        let mut shares = shares.lock().unwrap_or_else(PoisonError::into_inner);
        if shares.by_owner.len() >= shares.forget_at {
            shares.forget(now());
        }
        Arc::clone(shares.by_owner.entry(owner(peer)).or_default())
    }

    /// Forgets those that say nothing.
    fn forget(&mut self, now: u64) {
        self.by_owner.retain(|_, share| Arc::strong_count(share) > 1 || !share.is_new(now));
        self.forget_at = (self.by_owner.len() * 2).max(64);
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<T>> {
        self.by_owner.values()
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_passes_and_then_one_an_interval() {
        let (bucket, rate) = (Bucket::new(), Rate { per_second: 10, burst: 5 });
        let passed = (0..10).filter(|_| bucket.book(SECOND, rate).is_none()).count();
        assert_eq!(passed, 5);
        // Each of the other five has booked a moment of its own.
        assert_eq!(bucket.book(SECOND, rate), Some(SECOND + 6 * SECOND / 10));
        assert_eq!(bucket.book(3 * SECOND, rate), None, "a pause gives the burst back");
    }

    #[test]
    fn over_a_long_time_the_rate_is_kept() {
        let (bucket, rate) = (Bucket::new(), Rate { per_second: 100, burst: 20 });
        // Asked every millisecond for ten seconds, and each time one that has to wait does.
        let (mut now, mut served) = (0, 0);
        while now < 10 * SECOND {
            now = bucket.book(now, rate).unwrap_or(now + SECOND / 1000);
            served += 1;
        }
        assert!((1000..=1025).contains(&served), "{served}");
    }

    #[test]
    fn what_is_not_there_is_not_taken() {
        let (bucket, rate) = (Bucket::new(), Rate { per_second: 10, burst: 100 });
        let taken = |at| (0..1000).filter(|_| bucket.has(at, rate) && bucket.take(at, rate)).count();
        assert_eq!(taken(0), 100);
        assert!(!bucket.take(0, rate), "what is asked for in vain costs nothing");
        assert_eq!(taken(3 * SECOND), 30);
        assert_eq!(taken(3 * SECOND), 0);
        assert!(!bucket.is_full(3 * SECOND) && bucket.is_full(1000 * SECOND));
        assert_eq!(taken(1000 * SECOND), 100);
    }

    #[test]
    fn a_share_is_remembered_until_it_has_refilled() {
        let shares = Mutex::new(Shares::<Bucket>::default());
        let count = || shares.lock().unwrap().by_owner.len();
        let of = |pid| Shares::of(&shares, Peer { pid, uid: 1 });
        let rate = Rate { per_second: 1, burst: 1 };
        assert!(of(7).take(now(), rate));
        for pid in 100..10_000 {
            of(pid);
        }
        assert!(count() <= 128, "{} shares that say nothing are remembered", count());
        assert!(!of(7).take(now(), rate), "it was never forgotten");
        assert!(of(8).take(now(), rate), "another process has its own");
        let nameless = |uid| Shares::of(&shares, Peer { pid: 0, uid });
        assert!(Arc::ptr_eq(&nameless(5), &nameless(5)) && !Arc::ptr_eq(&nameless(5), &nameless(6)));
    }
}
