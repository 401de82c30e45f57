//! Who gets how much of the audit trail.
//!
//! A process, which is a guest, has a share: so many records at once, then so many a second, whatever the number of its
//! connections. What it does beyond that is counted, and told as one record when there is room again.

use std::{
    collections::HashMap,
    mem,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use pr_control::{REQUEST_RESULTS, request_result};
use scsi_pr::{Cdb, Status};

use super::{
    audit::{self, Done, Peer, Pending},
    metrics::{self, ACTIONS, METRICS},
    sink,
};

/// Records that a process may have at once.
const BURST: u64 = 100;

/// Records a second after that.
const REFILL: u64 = 10;

/// How often a client did what, by action and result.
pub type Counts = [[u32; REQUEST_RESULTS.len()]; ACTIONS];

/// The shares of the processes that are connected.
static SHARES: Mutex<Option<Shares>> = Mutex::new(None);

#[derive(Default)]
struct Shares {
    by_process: HashMap<u32, Weak<Share>>,
    /// At so many those that are gone are forgotten.
    forget_at: usize,
}

/// What a process has had: the second of the last look in the upper half, the records in the lower.
#[derive(Default)]
struct Share(AtomicU64);

/// A connection's view of its process' share, and what it did beyond it.
pub struct Budget {
    share: Arc<Share>,
    introduced: bool,
    left_out: Option<Box<Counts>>,
}

impl Budget {
    /// A new connection's.
    pub fn new(peer: Peer) -> Self {
        Self { share: share(peer.pid), introduced: false, left_out: None }
    }

    /// A command that is to have a record is about to begin.
    pub fn introduce(&mut self, client: u64, peer: Peer) {
        if !mem::replace(&mut self.introduced, true) && audit::is_on() {
            sink::audit(Pending::Introduction(client, peer));
        }
    }

    /// A command is over.
    pub fn note(&mut self, done: impl FnOnce() -> Done, cdb: &Cdb, status: Status, uptime: Duration) {
        if !audit::is_on() {
            return;
        }
        if self.share.admit(uptime) {
            let done = done();
            self.finish(done.client, done.peer);
            METRICS.audit_records.count();
            sink::audit(Pending::Command(Box::new(done)));
        } else {
            METRICS.audit_left_out.count();
            let counts = self.left_out.get_or_insert_with(|| Box::new([[0; REQUEST_RESULTS.len()]; ACTIONS]));
            let count = &mut counts[metrics::action(cdb)][request_result(status.0)];
            *count = count.saturating_add(1);
        }
    }

    /// Accounts for what was left out. The last word on a connection.
    pub fn finish(&mut self, client: u64, peer: Peer) {
        if let Some(counts) = self.left_out.take() {
            METRICS.audit_records.count();
            sink::audit(Pending::LeftOut(client, peer, audit::now(), counts));
        }
    }
}

/// The share of a process. One whose number means nothing here has a share for each connection.
fn share(pid: u32) -> Arc<Share> {
    if pid == 0 {
        return Arc::default();
    }
    let mut shares = SHARES.lock().unwrap_or_else(PoisonError::into_inner);
    let shares = shares.get_or_insert_default();
    if shares.by_process.len() >= shares.forget_at {
        shares.by_process.retain(|_, share| share.strong_count() > 0);
        shares.forget_at = (shares.by_process.len() * 2).max(64);
    }
    if let Some(share) = shares.by_process.get(&pid).and_then(Weak::upgrade) {
        return share;
    }
    let share = Arc::default();
    shares.by_process.insert(pid, Arc::downgrade(&share));
    share
}

impl Share {
    /// Whether there may be another record now.
    fn admit(&self, uptime: Duration) -> bool {
        let now = uptime.as_secs() & u64::from(u32::MAX);
        let spend = |state: u64| {
            let (since, spent) = (state >> 32, state & u64::from(u32::MAX));
            let spent = spent.saturating_sub(now.saturating_sub(since).saturating_mul(REFILL));
            (spent < BURST).then_some(now.max(since) << 32 | (spent + 1))
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok()
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_a_burst_of_records_and_then_some_each_second() {
        let share = Share::default();
        let admitted = |seconds| {
            let now = Duration::from_secs(seconds);
            (0..1000).filter(|_| share.admit(now)).count() as u64
        };
        assert_eq!(admitted(0), BURST);
        assert_eq!(admitted(3), REFILL * 3);
        assert_eq!(admitted(3), 0);
        assert_eq!(admitted(1000), BURST);
    }

    #[test]
    fn the_connections_of_a_process_have_one_share_and_others_have_theirs() {
        let (one, same, other) = (share(7), share(7), share(8));
        assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &other));
        assert!(!Arc::ptr_eq(&share(0), &share(0)));
        let count = || SHARES.lock().unwrap().as_ref().unwrap().by_process.len();
        for pid in 100..10_000 {
            share(pid);
        }
        assert!(count() <= 128, "{} processes that are gone are remembered", count());
    }
}
