//! The threads. All that are free wait on one epoll set; whichever is woken carries one event to its end itself.
//!
//! Anything may block: a command on a dead disk for minutes, the closing of a descriptor, a full pipe. So before a
//! thread does anything, it makes sure that another one is waiting. A hung command then holds up its own connection
//! and nobody else, and there are never more threads than connections, give or take two.

use std::{
    io,
    mem::MaybeUninit,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::event::epoll;
use tracing::error;

use super::{
    ORDER,
    connection::Scratch,
    hub::{Hub, LISTENER},
};
use crate::{
    confine::Confined,
    observe::limit::{Limit, Source},
};

/// How many threads wait while nothing happens. One would do if every request went on without blocking; the second
/// is there when it does not, without being started first.
const WAITING: usize = 2;

/// How long a thread that is not needed stays in reserve.
const RESERVE: Duration = Duration::from_secs(10);

/// The scratch buffers are on the heap; what is left is shallow.
const STACK: usize = 128 * 1024;

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

/// Starts the crew.
pub fn start(hub: &Arc<Hub>, _: &Confined) -> io::Result<()> {
    for _ in 0..WAITING {
        hub.crew.waiting.fetch_add(1, ORDER);
        spawn(hub)?;
    }
    Ok(())
}

/// Starts a thread that counts as waiting already.
fn spawn(hub: &Arc<Hub>) -> io::Result<()> {
    let hub = Arc::clone(hub);
    thread::Builder::new().name("crew".into()).stack_size(STACK).spawn(move || work(&hub))?;
    Ok(())
}

fn work(hub: &Arc<Hub>) {
    let mut scratch = Scratch::default();
    loop {
        let token = wait(hub);
        let covered = hub.crew.leave(hub);
        // Nothing here is meant to panic. Should it, that is one client's loss and not everybody's.
        let place = panic::catch_unwind(AssertUnwindSafe(|| match token {
            Some(LISTENER) => super::accept::accept(hub),
            Some(token) => super::connection::serve(hub, token, covered, &mut scratch),
            None => hub.crew.rejoin(),
        }));
        let place = place.unwrap_or_else(|_| {
            error!("an internal error ended a connection; please report the message above");
            match token {
                Some(LISTENER) | None => hub.pause_accepting(),
                Some(token) => super::connection::abandon(hub, token),
            }
            hub.crew.rejoin()
        });
        if !hub.crew.take(place) {
            return;
        }
    }
}

/// Waits for one event. One, so that no event is ever behind a command that hangs.
fn wait(hub: &Hub) -> Option<u64> {
    let mut events = [MaybeUninit::uninit(); 1];
    match epoll::wait(&hub.epoll, &mut events, None) {
        Ok((events, _)) => events.first().map(|event| event.data.u64()),
        Err(_) => None,
    }
}

impl Crew {
    /// Whether anybody waits for events.
    pub fn is_attentive(&self) -> bool {
        self.waiting.load(ORDER) > 0
    }

    /// This thread stops waiting; whether another one waits in its place. If the system has no room for another
    /// thread there is none, and this one must not do anything that could block for long.
    fn leave(&self, hub: &Arc<Hub>) -> bool {
        self.waiting.fetch_sub(1, ORDER) > 1 || self.summon(hub)
    }

    fn summon(&self, hub: &Arc<Hub>) -> bool {
        static FAILURES: Limit = Limit::new();
        self.waiting.fetch_add(1, ORDER);
        {
            let mut reserve = self.reserve.lock().unwrap_or_else(PoisonError::into_inner);
            if reserve.summoned < reserve.threads {
                reserve.summoned += 1;
                self.bell.notify_one();
                return true;
            }
        }
        let Err(error) = spawn(hub) else { return true };
        self.waiting.fetch_sub(1, ORDER);
        if let Some(more) = FAILURES.admit(Source::Unknown) {
            error!(
                "cannot start another thread: {error}; answering BUSY until one is free \
                 (raise TasksMax= in the unit, or ulimit -u){more}"
            );
        }
        false
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
    fn take(&self, place: Place) -> bool {
        match place {
            Place::Waiting => true,
            Place::Reserve => self.rest(),
        }
    }

    /// Waits to be summoned; false when nobody does for a while. Whoever summons counts this thread as waiting.
    fn rest(&self) -> bool {
        let mut reserve = self.reserve.lock().unwrap_or_else(PoisonError::into_inner);
        reserve.threads += 1;
        let nobody = |reserve: &mut Reserve| reserve.summoned == 0;
        let (mut reserve, _) =
            self.bell.wait_timeout_while(reserve, RESERVE, nobody).unwrap_or_else(PoisonError::into_inner);
        reserve.threads -= 1;
        let summoned = reserve.summoned > 0;
        if summoned {
            reserve.summoned -= 1;
        }
        summoned
    }
}
