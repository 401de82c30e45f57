//! The server: everything that its threads share.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use rustix::{
    event::epoll::EventFlags,
    net::{Shutdown, shutdown},
};
use tracing::warn;

use super::{
    closer::{Closer, Discarded, Owner, Then},
    connection_table::ConnectionTable,
    delayed::Delayed,
    shared::Shared,
    token::Token,
    worker_pool::WorkerPool,
};
use crate::log::RateLimit;

/// After so many looks with nothing to see, the main thread stops looking until it is woken.
const QUIET_TICKS: usize = 10;

/// What all threads share.
pub struct Server {
    /// What connections need of it.
    pub shared: Shared,
    /// The listening socket.
    pub listener: OwnedFd,
    pub workers: WorkerPool,
    pub connections: ConnectionTable,
    /// Connections that wait for their turn.
    pub delayed: Delayed,
    pub closer: Closer,
    /// Limits the messages that clients cause.
    pub messages: Messages,
    clients: AtomicU64,
    quiet_ticks: AtomicUsize,
    is_accept_paused: AtomicBool,
}

/// Limits of messages: each kind has its own.
#[derive(Default)]
pub struct Messages {
    /// About clients for which there is no room.
    pub full: RateLimit,
    /// About clients that have enough connections.
    pub over_limit: RateLimit,
    /// About threads for which the system has no room.
    pub no_thread: RateLimit,
}

impl Server {
    /// Gets everything ready; nothing is served yet.
    pub fn new(listener: OwnedFd, shared: Shared, max_connections: usize) -> io::Result<Self> {
        shared.add(&listener, Token::LISTENER)?;
        Ok(Self {
            shared,
            listener,
            workers: WorkerPool::default(),
            connections: ConnectionTable::new(max_connections),
            delayed: Delayed::default(),
            closer: Closer::default(),
            messages: Messages::default(),
            clients: AtomicU64::new(0),
            quiet_ticks: AtomicUsize::new(0),
            is_accept_paused: AtomicBool::new(false),
        })
    }

    /// A number for a new client.
    pub fn next_client(&self) -> u64 {
        self.clients.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Waits for the next client.
    pub fn arm_listener(&self) -> io::Result<()> {
        self.shared.arm(&self.listener, Token::LISTENER, EventFlags::IN)
    }

    /// Accepting failed for want of something; it is tried again at the next look.
    pub fn pause_accepting(&self) {
        self.is_accept_paused.store(true, Ordering::SeqCst);
        self.shared.arm_timer();
    }

    /// Waits for the next event of a connection.
    pub fn arm(self: &Arc<Self>, socket: Arc<OwnedFd>, token: Token, client: u64, flags: EventFlags) {
        let armed = self.shared.arm(&socket, token, flags);
        drop(socket);
        if let Err(error) = armed {
            // Nothing would ever be heard of it again; then its client had better know.
            warn!("closing the connection of client {client}: cannot wait for its events: {error}");
            self.remove(token);
        }
    }

    /// A connection is not read before its moment comes. Its slot is locked until this thread has nothing to do with it.
    pub fn delay(&self, due: Instant, token: Token) {
        if self.delayed.add((due, token)) {
            self.shared.wake();
        }
    }

    /// Arms the connections whose moment has come; during the shutdown those are all.
    pub fn resume_delayed(&self) {
        let due = if self.shared.is_draining() { self.delayed.take_all() } else { self.delayed.take_due() };
        for (_, token) in due {
            let mut is_resumed = true;
            let is_free =
                self.connections.with(token, |connection| is_resumed = connection.resume(&self.shared, token));
            if !is_free || !is_resumed {
                // The thread that has just delayed it is not quite done with it.
                self.delayed.add((Instant::now(), token));
            }
        }
    }

    /// Takes a connection out of its slot, unless that is the next client's already, and closes it. The slot is free at
    /// once, unless too much of clients that are gone waits to be closed.
    pub fn remove(self: &Arc<Self>, token: Token) {
        let slot = token.slot();
        let removed = self.connections.get(slot).lock().take_if(|connection| connection.is(token));
        let Some(connection) = removed else { return };
        if connection.closes_at_once() {
            drop(connection);
            return self.release(slot);
        }
        self.shared.remove(connection.socket());
        // A thread that has just armed it drops its reference in a moment, and must not be the last to do so.
        while Arc::strong_count(connection.socket()) > 1 {
            thread::yield_now();
        }
        let origin = connection.origin();
        let then = if self.closer.has_room() { Then::Nothing } else { Then::Release(slot) };
        if then == Then::Nothing {
            self.release(slot);
        }
        Closer::close(self, Discarded { origin, then, what: Box::new(connection) });
    }

    /// A slot is free.
    fn release(&self, slot: u32) {
        self.connections.release(slot);
        if self.shared.is_draining() {
            self.shared.wake();
        }
    }

    /// Begins the shutdown: no clients from here on. Only a socket that is `ours` is shut down; what waits on one of
    /// systemd's is for the next helper.
    pub fn close_down(&self, ours: bool) {
        self.shared.drain();
        self.shared.remove(&self.listener);
        if ours {
            let _ = shutdown(&self.listener, Shutdown::Both);
        }
    }

    /// Closes idle connections; whether there are no others.
    pub fn close_idle(&self) -> bool {
        self.connections.close_idle();
        self.connections.is_empty()
    }

    /// What is still under way, in words.
    pub fn hung(&self) -> Vec<String> {
        self.connections.all().filter_map(|slot| slot.status.describe()).collect()
    }

    /// Looks for what is overdue.
    pub fn expire(&self) {
        if !self.shared.is_timer_armed() {
            return;
        }
        if self.is_accept_paused.swap(false, Ordering::SeqCst) && !self.shared.is_draining() {
            // Where it fails: at the next look.
            self.is_accept_paused.fetch_or(self.arm_listener().is_err(), Ordering::SeqCst);
        }
        if self.connections.expire(Instant::now()) {
            self.quiet_ticks.store(0, Ordering::Relaxed);
        } else if self.quiet_ticks.fetch_add(1, Ordering::Relaxed) >= QUIET_TICKS {
            self.quiet_ticks.store(0, Ordering::Relaxed);
            self.shared.disarm_timer(|| self.connections.expire(Instant::now()));
        }
    }
}

impl Owner for Server {
    fn closer(&self) -> &Closer {
        &self.closer
    }

    fn closed(self: &Arc<Self>, then: Then) {
        match then {
            Then::Nothing => {}
            Then::Release(slot) => self.release(slot),
            Then::Resume(token) => {
                let slot = self.connections.get(token.slot());
                let mut guard = slot.lock();
                let Some(connection) = guard.as_mut().filter(|connection| connection.is(token)) else { return };
                let flags = connection.device_closed();
                slot.status.closing_done();
                let (socket, client) = (Arc::clone(connection.socket()), connection.origin().client);
                drop(guard);
                self.arm(socket, token, client, flags);
            }
        }
    }
}
