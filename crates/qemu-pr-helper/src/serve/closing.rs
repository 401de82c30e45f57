//! What clients leave behind is closed here, and not by the threads that serve them.
//!
//! Closing may take as long as the client wishes: a TCP socket that lingers is enough. A disk is closed by the thread that
//! carried the command out, because no client can make that long; everything else that one has sent, and a socket with
//! something in it that was never read, is left to threads of which nobody is in need. There are few of them unless much
//! has piled up.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::hub::{Hub, Token};
use crate::{
    limits::LEFT_BEHIND,
    peer::{Origin, Peer},
};

/// Threads as long as little waits.
const FEW: usize = 4;

/// Threads at the most.
const MANY: usize = 256;

/// How many things may wait that no connection's descriptors are counted for.
#[expect(clippy::cast_possible_truncation, reason = "it is a small number")]
const MAX_WAITING: usize = LEFT_BEHIND as usize;

/// How long a thread stays with nothing to do.
const IDLE: Duration = Duration::from_secs(10);

const STACK: usize = 64 * 1024;

/// What happens when it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing: the client is gone.
    Nothing,
    /// The connection is read again.
    Resume(Token),
    /// This place is free.
    Release(u32),
}

/// Something to be closed, and whose it was.
pub struct Left {
    pub origin: Origin,
    pub then: Then,
    /// Dropped, and nothing else.
    pub what: Box<dyn Send>,
}

/// What waits and what is being closed.
#[derive(Default)]
pub struct Closing {
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Left, Instant)>,
    busy: Vec<Seen>,
    threads: usize,
    /// Of them, those with nothing to do.
    idle: usize,
    /// The system has refused the last one.
    is_refused: bool,
}

/// Something that is being closed, to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub origin: Origin,
    pub since: Instant,
}

impl State {
    /// How many things wait for which no connection stands.
    fn strays(&self) -> usize {
        self.waiting.iter().filter(|(left, _)| left.then == Then::Nothing).count()
    }

    /// Whether something of this client's is being closed.
    fn is_busy_with(&self, peer: Peer) -> bool {
        self.busy.iter().any(|seen| seen.origin.peer == peer)
    }

    /// Whether another thread is wanted, now that something of this client's is to be closed: few are kept by one that
    /// makes it long, and nobody waits behind that one.
    fn wants_thread(&self, peer: Peer) -> bool {
        let is_urgent = self.waiting.len() > MAX_WAITING || !self.is_busy_with(peer);
        self.waiting.len() > self.idle && self.threads < if is_urgent { MANY } else { FEW }
    }

    /// What a thread closes next: first that of clients of which nothing is being closed.
    fn next(&mut self) -> Option<(Left, Seen)> {
        let fresh = self.waiting.iter().position(|(left, _)| !self.is_busy_with(left.origin.peer));
        let (left, since) = self.waiting.remove(fresh.unwrap_or(0))?;
        let seen = Seen { origin: left.origin, since };
        self.busy.push(seen);
        Some((left, seen))
    }
}

impl Closing {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is room for something of a client that gives its place back.
    pub fn has_room(&self) -> bool {
        let state = self.state();
        state.strays() < MAX_WAITING || (state.threads < MANY && !state.is_refused)
    }

    /// What is being closed or waits for that.
    pub fn seen(&self) -> Vec<Seen> {
        let state = self.state();
        let seen = |(left, since): &(Left, Instant)| Seen { origin: left.origin, since: *since };
        state.busy.iter().copied().chain(state.waiting.iter().map(seen)).collect()
    }

    /// Has something closed.
    pub fn take(hub: &Arc<Hub>, left: Left) {
        let mut state = hub.closing.state();
        let peer = left.origin.peer;
        state.waiting.push_back((left, Instant::now()));
        if state.wants_thread(peer) {
            state.threads += 1;
            drop(state);
            let spawned = {
                let hub = Arc::clone(hub);
                thread::Builder::new().name("closing".into()).stack_size(STACK).spawn(move || work(&hub))
            };
            state = hub.closing.state();
            state.is_refused = spawned.is_err();
            if spawned.is_err() {
                state.threads -= 1;
                if state.threads == 0 {
                    // Then it has to be here, while another thread waits for events.
                    let next = state.next();
                    drop(state);
                    if let Some((left, seen)) = next {
                        close(hub, left, seen);
                    }
                    return;
                }
            }
        }
        drop(state);
        hub.closing.bell.notify_one();
    }
}

fn work(hub: &Arc<Hub>) {
    loop {
        let mut state = hub.closing.state();
        state.idle += 1;
        let is_idle = |state: &mut State| state.waiting.is_empty();
        let waited = hub.closing.bell.wait_timeout_while(state, IDLE, is_idle);
        (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.idle -= 1;
        let Some((left, seen)) = state.next() else {
            state.threads -= 1;
            return;
        };
        drop(state);
        close(hub, left, seen);
    }
}

fn close(hub: &Arc<Hub>, left: Left, seen: Seen) {
    let Left { then, what, .. } = left;
    drop(what);
    let mut state = hub.closing.state();
    state.is_refused = false;
    if let Some(place) = state.busy.iter().position(|other| *other == seen) {
        state.busy.swap_remove(place);
    }
    drop(state);
    match then {
        Then::Nothing => {}
        Then::Resume(token) => super::connection::closed(hub, token),
        Then::Release(place) => hub.release(place),
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    fn left(client: u64, pid: u32) -> (Left, Instant) {
        let peer = Peer { pid, uid: 1 };
        let origin = Origin { client, peer, connected: 0 };
        (Left { origin, then: Then::Nothing, what: Box::new(()) }, Instant::now())
    }

    #[test]
    fn one_client_keeps_few_threads_and_nobody_waits_behind_it() {
        let mut state = State::default();
        let (hostile, other) = (Peer { pid: 7, uid: 1 }, Peer { pid: 8, uid: 1 });
        for client in 0..10 {
            state.waiting.push_back(left(client, 7));
            if state.wants_thread(hostile) {
                state.threads += 1;
                assert!(state.next().is_some());
            }
        }
        assert_eq!((state.threads, state.busy.len(), state.waiting.len()), (FEW, FEW, 10 - FEW));
        state.waiting.push_back(left(99, 8));
        assert!(state.wants_thread(other));
        assert_eq!(state.next().map(|(left, _)| left.origin.client), Some(99), "before what has waited longer");
        assert_eq!(state.next().map(|(left, _)| left.origin.client), Some(4));
        // Only where very much piles up there are more.
        for client in 100..100 + u64::try_from(MAX_WAITING).unwrap() {
            assert!(!state.wants_thread(hostile));
            state.waiting.push_back(left(client, 7));
            if state.waiting.len() > MAX_WAITING {
                break;
            }
        }
        assert!(state.wants_thread(hostile));
        assert_eq!(state.strays(), state.waiting.len());
    }
}
