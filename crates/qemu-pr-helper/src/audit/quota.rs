//! How much of the audit log a process may fill.
//!
//! A process, which is a guest, has a quota: so many records at once, then so many a second, whatever the number of its
//! connections and however often it connects. What it does beyond that is counted, and recorded as one record when there
//! is room again; that record comes out of the quota like any other.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use pr_control::{REQUEST_RESULTS, request_result};
use scsi_persistent_reservations::{Cdb, Status};

use super::{Audit, Counts, Event, Prefetch, Suppressed};
use crate::{
    bucket::{Bucket, Rate, Refills, Shares},
    clock::{self, now},
    metrics::{self, ACTIONS},
    peer::{Origin, Peer},
};

/// Records that a process may have.
const RATE: Rate = Rate { per_second: 10, burst: 100 };

/// The quotas of the processes.
#[derive(Default)]
pub struct Quotas {
    processes: Mutex<Shares<Process>>,
    /// How many processes have suppressed records that are to be recorded.
    pending: AtomicUsize,
}

/// What a process has used of its quota, and what it did beyond that.
#[derive(Default)]
struct Process {
    bucket: Bucket,
    suppressed: Mutex<Option<Owed>>,
}

/// Commands without records of their own, and which connection sent the last of them.
struct Owed {
    origin: Origin,
    counts: Box<Counts>,
}

/// A connection's view of its process' quota.
pub struct Quota {
    process: Arc<Process>,
    is_prefetched: bool,
}

impl Refills for Process {
    fn is_new(&self, now: u64) -> bool {
        self.bucket.is_full(now) && self.suppressed().is_none()
    }
}

impl Process {
    fn suppressed(&self) -> MutexGuard<'_, Option<Owed>> {
        self.suppressed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records what was suppressed, if there is room for it; whether nothing is left of that.
    fn flush(&self, audit: &Arc<Audit>, now: u64) -> bool {
        let mut suppressed = self.suppressed();
        if suppressed.is_some() && self.bucket.take(now, RATE) {
            queue(audit, &mut suppressed);
        }
        suppressed.is_none()
    }
}

fn queue(audit: &Arc<Audit>, suppressed: &mut Option<Owed>) {
    if let Some(Owed { origin, counts }) = suppressed.take() {
        audit.quotas.pending.fetch_sub(1, Ordering::Relaxed);
        audit.metrics.audit_records.count();
        audit.queue(origin.peer, Suppressed { origin, time_us: clock::unix_micros(), counts });
    }
}

impl Quota {
    /// A new connection's.
    pub fn new(audit: &Audit, peer: Peer) -> Self {
        Self { process: Shares::of(&audit.quotas.processes, peer), is_prefetched: false }
    }

    /// A command that is to have a record is about to begin.
    pub fn prefetch_names(&mut self, audit: &Arc<Audit>, origin: Origin) {
        if !self.is_prefetched && audit.is_on() && self.process.bucket.has(now(), RATE) {
            self.is_prefetched = true;
            audit.queue(origin.peer, Prefetch(origin));
        }
    }

    /// A command is over.
    pub fn record(&self, audit: &Arc<Audit>, origin: Origin, event: impl FnOnce() -> Event, cdb: &Cdb, status: Status) {
        if !audit.is_on() {
            return;
        }
        let now = now();
        if self.process.flush(audit, now) && self.process.bucket.take(now, RATE) {
            audit.metrics.audit_records.count();
            audit.queue(origin.peer, event());
            return;
        }
        audit.metrics.audit_left_out.count();
        let mut suppressed = self.process.suppressed();
        let nothing = || {
            audit.quotas.pending.fetch_add(1, Ordering::Relaxed);
            Owed { origin, counts: Box::new([[0; REQUEST_RESULTS.len()]; ACTIONS]) }
        };
        let is_first = suppressed.is_none();
        let owed = suppressed.get_or_insert_with(nothing);
        owed.origin = origin;
        let count = &mut owed.counts[metrics::action(cdb)][request_result(status.0)];
        *count = count.saturating_add(1);
        drop(suppressed);
        if is_first {
            audit.log.wake();
        }
    }
}

impl Quotas {
    /// Whether something was suppressed and has not been recorded.
    pub fn is_pending(&self) -> bool {
        self.pending.load(Ordering::Relaxed) > 0
    }

    /// A list of its own: recording takes other locks.
    fn all(&self) -> Vec<Arc<Process>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner).all().map(Arc::clone).collect()
    }
}

/// Records what was suppressed of those that have room again.
pub fn flush(audit: &Arc<Audit>) {
    if audit.quotas.is_pending() {
        let now = now();
        for process in audit.quotas.all() {
            process.flush(audit, now);
        }
    }
}

/// Records everything that was suppressed: there is no later time.
pub fn finish(audit: &Arc<Audit>) {
    // Each of them: what the log thread records just now is on its way to the queue under this lock.
    for process in audit.quotas.all() {
        queue(audit, &mut process.suppressed());
    }
}
