//! Who gets how much of the audit log.
//!
//! A process, which is a guest, has a share: so many records at once, then so many a second, whatever the number of its
//! connections and however often it connects. What it does beyond that is counted, and told as one record when there is
//! room again; that record comes out of the share like any other.

use std::sync::{
    Arc, LazyLock, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use pr_control::{REQUEST_RESULTS, request_result};
use scsi_pr::{Cdb, Status};

use super::{
    audit::{self, Done, Pending},
    sink,
};
use crate::{
    bucket::{Bucket, Rate, Refills, Shares},
    clock::{self, now},
    metrics::{self, ACTIONS, METRICS},
    peer::{Origin, Peer},
};

/// Records that a process may have.
const RATE: Rate = Rate { per_second: 10, burst: 100 };

/// How often a client did what, by action and result.
pub type Counts = [[u32; REQUEST_RESULTS.len()]; ACTIONS];

static SHARES: LazyLock<Mutex<Shares<Share>>> = LazyLock::new(Mutex::default);

/// How many shares have something that is to be told.
static OWING: AtomicUsize = AtomicUsize::new(0);

/// What a process has had of the log, and what it did beyond that.
#[derive(Default)]
struct Share {
    bucket: Bucket,
    left_out: Mutex<Option<LeftOut>>,
}

/// What has no record of its own, and which connection did the last of it.
struct LeftOut {
    origin: Origin,
    counts: Box<Counts>,
}

/// A connection's view of its process' share.
pub struct Budget {
    share: Arc<Share>,
    introduced: bool,
}

impl Refills for Share {
    fn is_new(&self, now: u64) -> bool {
        self.bucket.is_full(now) && self.left_out().is_none()
    }
}

impl Share {
    fn left_out(&self) -> MutexGuard<'_, Option<LeftOut>> {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what was left out, if there is room for it; whether nothing is owed.
    fn settle(&self, now: u64) -> bool {
        let mut left_out = self.left_out();
        if left_out.is_some() && self.bucket.take(now, RATE) {
            tell(&mut left_out);
        }
        left_out.is_none()
    }
}

fn tell(left_out: &mut Option<LeftOut>) {
    if let Some(LeftOut { origin, counts }) = left_out.take() {
        OWING.fetch_sub(1, Ordering::Relaxed);
        METRICS.audit_records.count();
        sink::audit(origin.peer, Pending::LeftOut(origin, clock::unix_micros(), counts));
    }
}

impl Budget {
    /// A new connection's.
    pub fn new(peer: Peer) -> Self {
        Self { share: Shares::of(&SHARES, peer), introduced: false }
    }

    /// A command that is to have a record is about to begin.
    pub fn introduce(&mut self, origin: Origin) {
        if !self.introduced && audit::is_on() && self.share.bucket.has(now(), RATE) {
            self.introduced = true;
            sink::audit(origin.peer, Pending::Introduction(origin));
        }
    }

    /// A command is over.
    pub fn note(&self, origin: Origin, done: impl FnOnce() -> Done, cdb: &Cdb, status: Status) {
        if !audit::is_on() {
            return;
        }
        let now = now();
        if self.share.settle(now) && self.share.bucket.take(now, RATE) {
            METRICS.audit_records.count();
            sink::audit(origin.peer, Pending::Command(Box::new(done())));
            return;
        }
        METRICS.audit_left_out.count();
        let mut left_out = self.share.left_out();
        let nothing = || {
            OWING.fetch_add(1, Ordering::Relaxed);
            LeftOut { origin, counts: Box::new([[0; REQUEST_RESULTS.len()]; ACTIONS]) }
        };
        let is_first = left_out.is_none();
        let owed = left_out.get_or_insert_with(nothing);
        owed.origin = origin;
        let count = &mut owed.counts[metrics::action(cdb)][request_result(status.0)];
        *count = count.saturating_add(1);
        drop(left_out);
        if is_first {
            sink::wake();
        }
    }
}

/// Whether something was left out and has not been told.
pub fn is_owing() -> bool {
    OWING.load(Ordering::Relaxed) > 0
}

/// Tells what was left out of those who have room again.
pub fn settle() {
    if is_owing() {
        let now = now();
        for share in all() {
            share.settle(now);
        }
    }
}

/// Tells everything that was left out: there is no later time.
pub fn finish() {
    // Each of them: what the log thread tells just now is on its way to the queue under this lock.
    for share in all() {
        tell(&mut share.left_out());
    }
}

/// A list of its own: telling takes other locks.
fn all() -> Vec<Arc<Share>> {
    SHARES.lock().unwrap_or_else(PoisonError::into_inner).all().map(Arc::clone).collect()
}
