//! The threads. All that are free wait on one epoll set; whichever is woken carries one event to its end itself.
//!
//! Anything may block: a command on a dead disk for minutes, a full pipe. So before a thread does anything, it makes sure
//! that another one is waiting. A hung command then holds up its own connection and nobody else, and there are never more
//! threads than connections, give or take two. If the system has no room for another thread, the last one reads from
//! nobody until one is free. What clients leave behind is closed elsewhere (`closing`).

mod sync;
mod watch;

use std::{
    io,
    mem::MaybeUninit,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    thread,
};

use rustix::event::epoll;
use tracing::error;

use self::watch::WAITING;
pub use self::watch::{Crew, Place};
use super::{
    connection::Scratch,
    hub::{Hub, Token},
};
use crate::{
    log::{RateLimit, Source},
    privsep::Sandboxed,
};

/// The scratch buffers are on the heap; what is left is shallow.
const STACK: usize = 128 * 1024;

/// Starts the crew.
pub fn start(hub: &Arc<Hub>, _: &Sandboxed) -> io::Result<()> {
    (0..WAITING).try_for_each(|_| hub.crew.begin(|| spawn(hub)))
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
        let covered = hub.crew.leave(|| start_another(hub));
        // Nothing here is meant to panic. Should it, that is one client's loss and not everybody's.
        let place = panic::catch_unwind(AssertUnwindSafe(|| match token {
            Some(Token::LISTENER) => super::accept::accept(hub, covered),
            Some(token) => super::connection::serve(hub, token, covered, &mut scratch),
            None => hub.crew.rejoin(),
        }));
        let place = place.unwrap_or_else(|_| {
            error!("an internal error ended a connection; please report the message above");
            match token {
                Some(Token::LISTENER) | None => hub.pause_accepting(),
                Some(token) => super::connection::leave(hub, token),
            }
            hub.crew.rejoin()
        });
        if !hub.crew.take(place) {
            return;
        }
    }
}

/// Waits for one event. One, so that no event is ever behind a command that hangs.
fn wait(hub: &Hub) -> Option<Token> {
    let mut events = [MaybeUninit::uninit(); 1];
    match epoll::wait(&hub.epoll, &mut events, None) {
        Ok((events, _)) => events.first().map(Token::of),
        Err(_) => None,
    }
}

/// Starts a thread in this one's place, if the system has room for it.
fn start_another(hub: &Arc<Hub>) -> bool {
    static FAILURES: RateLimit = RateLimit::new();
    let Err(error) = spawn(hub) else { return true };
    if let Some(more) = FAILURES.admit(Source::Unknown) {
        error!(
            "cannot start another thread: {error}; nobody is read until one is free \
             (raise TasksMax= in the unit, or ulimit -u){more}"
        );
    }
    false
}
