//! Which threads wait for events, and which are on standby (leader/followers). `model.rs` plays this with every primitive
//! replaced by one whose order a scheduler chooses.

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod model;
mod sync;

use std::{io, time::Duration};

use self::sync::{AtomicUsize, Condvar, Mistake, Mutex, Ordering, lock, makes, wait_for};

/// The order between the counts here and what other threads see of them.
const ORDER: Ordering = Ordering::SeqCst;

/// How many threads wait while nothing happens. One would do if every request went on without blocking; the second
/// is there when it does not, without being started first.
pub const WAITING: usize = 2;

/// How long a thread that is not needed stays in reserve.
const RESERVE: Duration = Duration::from_secs(10);

/// What a thread does next that has done its work.
#[derive(Clone, Copy)]
#[must_use = "a thread that counts as waiting has to wait"]
pub enum WorkerState {
    /// Back to waiting; it counts as waiting already.
    Waiting,
    /// To the reserve: enough others wait.
    Reserve,
}

/// The threads that wait for events, and those in reserve.
#[derive(Default)]
pub struct WorkerPool {
    /// Threads that wait for an event or are on their way to.
    waiting: AtomicUsize,
    reserve: Mutex<Reserve>,
    woken: Condvar,
}

#[derive(Default)]
struct Reserve {
    threads: usize,
    woken: usize,
}

impl WorkerPool {
    /// One of the first threads, which counts as waiting.
    pub fn begin(&self, start: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.waiting.fetch_add(1, ORDER);
        start()
    }

    /// Whether any thread waits for events.
    pub fn is_alive(&self) -> bool {
        self.waiting.load(ORDER) > 0
    }

    /// This thread stops waiting; whether another one waits in its place, from the reserve or a new one, which `start`
    /// starts. If the system has no room for another thread there is none, and this one must not do anything that could
    /// block for long.
    pub fn leave(&self, start: impl FnOnce() -> bool) -> bool {
        // In one step: were the last one not counted for a moment, others would come back to wait in its place, besides the
        // one that it wakes.
        let go = |waiting: usize| (waiting > 1 || makes(Mistake::LeavesNobody)).then(|| waiting - 1);
        self.waiting.fetch_update(ORDER, Ordering::SeqCst, go).is_ok() || self.wake(start)
    }

    /// Hands this thread's place among those that wait on.
    fn wake(&self, start: impl FnOnce() -> bool) -> bool {
        if self.claim() {
            // Unlocked, or the other thread would wake up to find the lock taken.
            if !makes(Mistake::WakesNobody) {
                self.woken.notify_one();
            }
            return true;
        }
        let started = start();
        if !started {
            self.waiting.fetch_sub(1, ORDER);
        }
        started
    }

    /// Claims a thread of the reserve; false if there is none. It is still to be woken.
    fn claim(&self) -> bool {
        let mut reserve = lock(&self.reserve);
        let is_there = reserve.woken < reserve.threads;
        reserve.woken += usize::from(is_there);
        is_there
    }

    /// This thread has nothing more to do that could block. To be called before the socket is armed again: its next
    /// event may wake another thread at once, which is then to find that a thread waits.
    pub fn resume(&self) -> WorkerState {
        let wait = |waiting| (waiting < WAITING).then_some(waiting + 1);
        match self.waiting.fetch_update(ORDER, Ordering::SeqCst, wait) {
            Ok(_) => WorkerState::Waiting,
            Err(_) => WorkerState::Reserve,
        }
    }

    /// Parks a thread that is in reserve; false when it is not needed any more.
    pub fn park(&self, state: WorkerState) -> bool {
        match state {
            WorkerState::Waiting => true,
            WorkerState::Reserve => makes(Mistake::NeverParks) || self.idle(),
        }
    }

    /// Waits to be woken; false when that does not happen for a while. The thread that wakes this one counts it as waiting.
    fn idle(&self) -> bool {
        let mut reserve = lock(&self.reserve);
        reserve.threads += 1;
        let mut reserve = wait_for(&self.woken, &self.reserve, reserve, RESERVE, |reserve| reserve.woken > 0);
        reserve.threads -= 1;
        let woken = reserve.woken > 0;
        if woken && !makes(Mistake::StaysWoken) {
            reserve.woken -= 1;
        }
        woken
    }
}
