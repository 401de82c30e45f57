//! Who waits for events, and who waits in whose place. `watch/model.rs` plays this with every primitive replaced by one whose
//! order a scheduler chooses.

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod model;

use std::{io, time::Duration};

use super::{
    super::ORDER,
    sync::{AtomicUsize, Condvar, Mistake, Mutex, Ordering, lock, makes, wait_for},
};

/// How many threads wait while nothing happens. One would do if every request went on without blocking; the second
/// is there when it does not, without being started first.
pub const WAITING: usize = 2;

/// How long a thread that is not needed stays in reserve.
const RESERVE: Duration = Duration::from_secs(10);

/// Where a thread goes that has done its work.
#[derive(Clone, Copy)]
#[must_use = "a thread that counts as waiting has to wait"]
pub enum Place {
    /// Back to waiting; it counts as waiting already.
    Waiting,
    /// To the reserve: enough others wait.
    Reserve,
}

/// Who waits, and who could.
#[derive(Default)]
pub struct Crew {
    /// Threads that wait for an event or are on their way to.
    waiting: AtomicUsize,
    reserve: Mutex<Reserve>,
    bell: Condvar,
}

#[derive(Default)]
struct Reserve {
    threads: usize,
    summoned: usize,
}

impl Crew {
    /// One of the first threads, which counts as waiting.
    pub fn begin(&self, start: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.waiting.fetch_add(1, ORDER);
        start()
    }

    /// Whether anybody waits for events.
    pub fn is_attentive(&self) -> bool {
        self.waiting.load(ORDER) > 0
    }

    /// This thread stops waiting; whether another one waits in its place, from the reserve or a new one, which `start`
    /// starts. If the system has no room for another thread there is none, and this one must not do anything that could
    /// block for long.
    pub fn leave(&self, start: impl FnOnce() -> bool) -> bool {
        // In one step: were the last one not counted for a moment, others would come back to wait in its place, besides the
        // one that it summons.
        let go = |waiting: usize| (waiting > 1 || makes(Mistake::LeavesNobody)).then(|| waiting - 1);
        self.waiting.fetch_update(ORDER, Ordering::SeqCst, go).is_ok() || self.summon(start)
    }

    /// Hands this thread's place among those that wait on.
    fn summon(&self, start: impl FnOnce() -> bool) -> bool {
        {
            let mut reserve = lock(&self.reserve);
            if reserve.summoned < reserve.threads {
                reserve.summoned += 1;
                if !makes(Mistake::RingsNoBell) {
                    self.bell.notify_one();
                }
                return true;
            }
        }
        let started = start();
        if !started {
            self.waiting.fetch_sub(1, ORDER);
        }
        started
    }

    /// This thread has nothing more to do that could block. To be called before the socket is armed again: its next
    /// event may wake another thread at once, which is then to find that somebody waits.
    pub fn rejoin(&self) -> Place {
        let wait = |waiting| (waiting < WAITING).then_some(waiting + 1);
        match self.waiting.fetch_update(ORDER, Ordering::SeqCst, wait) {
            Ok(_) => Place::Waiting,
            Err(_) => Place::Reserve,
        }
    }

    /// Takes the place; false when this thread is not needed any more.
    pub fn take(&self, place: Place) -> bool {
        match place {
            Place::Waiting => true,
            Place::Reserve => makes(Mistake::NeverRests) || self.rest(),
        }
    }

    /// Waits to be summoned; false when nobody does for a while. Whoever summons counts this thread as waiting.
    fn rest(&self) -> bool {
        let mut reserve = lock(&self.reserve);
        reserve.threads += 1;
        let mut reserve = wait_for(&self.bell, &self.reserve, reserve, RESERVE, |reserve| reserve.summoned > 0);
        reserve.threads -= 1;
        let summoned = reserve.summoned > 0;
        if summoned && !makes(Mistake::StaysSummoned) {
            reserve.summoned -= 1;
        }
        summoned
    }
}
