//! Closes what clients have sent, so that the worker threads need not.
//!
//! Closing may take as long as the client wishes: a TCP socket that lingers is enough. A disk is closed by the thread that
//! carried the command out, because no client can make that long; everything else that one has sent, and a socket with
//! something in it that was never read, is left to threads of their own. There are few of them unless much has piled up.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::token::Token;
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
    /// This connection is read again.
    Resume(Token),
    /// This slot is free.
    Release(u32),
}

/// Something to be closed, and whose it was.
pub struct Discarded {
    pub origin: Origin,
    pub then: Then,
    /// Dropped, and nothing else.
    pub what: Box<dyn Send>,
}

/// What has a closer, and goes on when something is closed.
pub trait Owner: Send + Sync + 'static {
    fn closer(&self) -> &Closer;
    /// Something is closed.
    fn closed(self: &Arc<Self>, then: Then);
}

/// What waits and what is being closed.
#[derive(Default)]
pub struct Closer {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Discarded, Instant)>,
    busy: Vec<Closing>,
    threads: usize,
    /// Of them, those with nothing to do.
    idle: usize,
    /// The system has refused the last one.
    is_refused: bool,
}

/// Something that is being closed, to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    pub origin: Origin,
    pub since: Instant,
}

impl State {
    /// How many things wait that no connection's descriptors are counted for.
    fn strays(&self) -> usize {
        self.waiting.iter().filter(|(left, _)| left.then == Then::Nothing).count()
    }

    /// Whether something of this client's is being closed.
    fn is_busy_with(&self, peer: Peer) -> bool {
        self.busy.iter().any(|closing| closing.origin.peer == peer)
    }

    /// Whether another thread is wanted, now that something of this client's is to be closed: one that makes it
    /// long keeps few, and no other client waits behind it.
    fn wants_thread(&self, peer: Peer) -> bool {
        let is_urgent = self.waiting.len() > MAX_WAITING || !self.is_busy_with(peer);
        self.waiting.len() > self.idle && self.threads < if is_urgent { MANY } else { FEW }
    }

    /// What a thread closes next: first that of clients of which nothing is being closed.
    fn next(&mut self) -> Option<(Discarded, Closing)> {
        let fresh = self.waiting.iter().position(|(left, _)| !self.is_busy_with(left.origin.peer));
        let (left, since) = self.waiting.remove(fresh.unwrap_or(0))?;
        let closing = Closing { origin: left.origin, since };
        self.busy.push(closing);
        Some((left, closing))
    }
}

impl Closer {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is room for something of a client whose slot is free at once.
    pub fn has_room(&self) -> bool {
        let state = self.state();
        state.strays() < MAX_WAITING || (state.threads < MANY && !state.is_refused)
    }

    /// What is being closed or waits for that.
    pub fn closing(&self) -> Vec<Closing> {
        let state = self.state();
        let seen = |(left, since): &(Discarded, Instant)| Closing { origin: left.origin, since: *since };
        state.busy.iter().copied().chain(state.waiting.iter().map(seen)).collect()
    }

    /// Has something closed.
    pub fn close(owner: &Arc<impl Owner>, left: Discarded) {
        let mut state = owner.closer().state();
        let peer = left.origin.peer;
        state.waiting.push_back((left, Instant::now()));
        if state.wants_thread(peer) {
            state.threads += 1;
            drop(state);
            let spawned = {
                let owner = Arc::clone(owner);
                thread::Builder::new().name("closing".into()).stack_size(STACK).spawn(move || work(&owner))
            };
            state = owner.closer().state();
            state.is_refused = spawned.is_err();
            if spawned.is_err() {
                state.threads -= 1;
                if state.threads == 0 {
                    // Then it has to be here, while another thread waits for events.
                    let next = state.next();
                    drop(state);
                    if let Some((left, closing)) = next {
                        close(owner, left, closing);
                    }
                    return;
                }
            }
        }
        drop(state);
        owner.closer().arrived.notify_one();
    }
}

fn work(owner: &Arc<impl Owner>) {
    loop {
        let mut state = owner.closer().state();
        state.idle += 1;
        let is_idle = |state: &mut State| state.waiting.is_empty();
        let waited = owner.closer().arrived.wait_timeout_while(state, IDLE, is_idle);
        (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.idle -= 1;
        let Some((left, closing)) = state.next() else {
            state.threads -= 1;
            return;
        };
        drop(state);
        close(owner, left, closing);
    }
}

fn close(owner: &Arc<impl Owner>, left: Discarded, closing: Closing) {
    let Discarded { then, what, .. } = left;
    drop(what);
    let mut state = owner.closer().state();
    state.is_refused = false;
    if let Some(index) = state.busy.iter().position(|other| *other == closing) {
        state.busy.swap_remove(index);
    }
    drop(state);
    owner.closed(then);
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    fn left(client: u64, pid: u32) -> (Discarded, Instant) {
        let peer = Peer { pid, uid: 1 };
        let origin = Origin { client, peer, connected: 0 };
        (Discarded { origin, then: Then::Nothing, what: Box::new(()) }, Instant::now())
    }

    #[test]
    fn one_client_keeps_few_threads_and_no_other_waits_behind_it() {
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
