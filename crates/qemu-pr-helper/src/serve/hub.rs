//! What all threads of the crew share.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{EventfdFlags, epoll, eventfd},
    net::{Shutdown, shutdown},
};

use super::{ORDER, closing::Closing, crew::Crew, policy::Policy, rate::Rates, slots::Slots};
use crate::{
    config::Config,
    device::{Router, multipath::Multipath},
    resolver::Resolver,
};

/// What an event is told by: a connection's place, and the lowest bits of its client's number, because a place is given to
/// the next client while an event of the one before may still be on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(u64);

impl Token {
    /// The listening socket's. There are never so many places.
    pub const LISTENER: Self = Self(u64::MAX);

    /// The one of a client in its place.
    pub fn new(place: u32, client: u64) -> Self {
        Self(client << 32 | u64::from(place))
    }

    /// From an event.
    pub fn of(event: &epoll::Event) -> Self {
        Self(event.data.u64())
    }

    fn data(self) -> epoll::EventData {
        epoll::EventData::new_u64(self.0)
    }

    /// The place.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is the place")]
    pub const fn place(self) -> u32 {
        self.0 as u32
    }

    /// Whether it is this client's.
    pub const fn is_of(self, client: u64) -> bool {
        self.0 >> 32 == client & 0xffff_ffff
    }
}

/// After so many looks with nothing to see, the main thread stops looking until it is called.
const QUIET_TICKS: usize = 10;

/// What all threads of the crew share.
pub struct Hub {
    /// Every socket that may have something for us.
    pub epoll: OwnedFd,
    /// The listening socket.
    pub listener: OwnedFd,
    /// The threads.
    pub crew: Crew,
    /// The connections.
    pub slots: Slots,
    /// Who carries out commands.
    pub router: Router,
    /// Who may do what.
    pub policy: Policy,
    /// Who waits to be read.
    pub rates: Rates,
    /// What clients have left behind.
    pub closing: Closing,
    /// Say nothing about clients that break the protocol.
    pub quiet: bool,
    /// How long a client may owe the rest of a request or the reading of an answer.
    pub request_timeout: Duration,
    clients: AtomicU64,
    draining: AtomicBool,
    over: AtomicBool,
    in_flight: AtomicUsize,
    wake: OwnedFd,
    ticking: AtomicBool,
    quiet_ticks: AtomicUsize,
    accept_paused: AtomicBool,
}

impl Hub {
    /// Gets everything ready; nothing is served yet.
    pub fn new(
        listener: OwnedFd,
        multipath: Multipath,
        resolver: Option<Arc<Resolver>>,
        config: &Config,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, Token::LISTENER.data(), once(epoll::EventFlags::IN))?;
        Ok(Self {
            epoll,
            listener,
            crew: Crew::default(),
            slots: Slots::new(config.max_connections),
            router: Router::new(config.options.command_timeout, multipath, config.options.simulate),
            policy: Policy::new(config.settings.clone(), resolver),
            rates: Rates::default(),
            closing: Closing::default(),
            quiet: config.options.quiet,
            request_timeout: config.options.request_timeout,
            clients: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            over: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            ticking: AtomicBool::new(false),
            quiet_ticks: AtomicUsize::new(0),
            accept_paused: AtomicBool::new(false),
        })
    }

    /// A number for a new client.
    pub fn next_client(&self) -> u64 {
        self.clients.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Waits for the next event of a socket again: sockets report once, so that one thread has a connection at a
    /// time. (This system call a request is the price; a set that reports to every thread would need a lock and a
    /// look for more input instead.)
    pub fn arm(&self, socket: impl AsFd, token: Token, flags: epoll::EventFlags) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, socket, token.data(), once(flags))?)
    }

    /// Waits for the first event of a socket.
    pub fn add(&self, socket: impl AsFd, token: Token) -> rustix::io::Result<()> {
        epoll::add(&self.epoll, socket, token.data(), once(epoll::EventFlags::IN))
    }

    /// A request begins, unless it is too late for that. It ends with the value.
    pub fn begin(&self) -> Option<InFlight<'_>> {
        self.in_flight.fetch_add(1, ORDER);
        let request = InFlight(self);
        (!self.over.load(ORDER)).then_some(request)
    }

    /// How many requests are between their last byte and their answer's first.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(ORDER)
    }

    /// Whether the end has begun.
    pub fn is_draining(&self) -> bool {
        self.draining.load(ORDER)
    }

    /// Begins the end: no clients from here on, and from each one that there is no more than the request that it may
    /// have sent already. Only a socket that is `ours` is shut down; what waits on one of systemd's is for the next
    /// helper.
    pub fn close_down(&self, ours: bool) {
        self.draining.store(true, ORDER);
        let _ = epoll::delete(&self.epoll, &self.listener);
        if ours {
            let _ = shutdown(&self.listener, Shutdown::Both);
        }
    }

    /// Lets clients go that owe nothing and are owed nothing; whether all are gone.
    pub fn dismiss(&self) -> bool {
        self.slots.dismiss();
        self.slots.is_empty()
    }

    /// No request begins from here on.
    pub fn finish(&self) {
        self.over.store(true, ORDER);
    }

    /// A client is gone.
    pub fn release(&self, place: u32) {
        self.slots.release(place);
        if self.is_draining() {
            self.call();
        }
    }

    /// What is still under way, in words.
    pub fn hung(&self) -> Vec<String> {
        self.slots.all().filter_map(|slot| slot.flight.describe()).collect()
    }

    /// The descriptor that wakes the main thread.
    pub const fn wake(&self) -> &OwnedFd {
        &self.wake
    }

    /// Wakes the main thread.
    pub fn call(&self) {
        // Full means that it has been woken already.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// The main thread is awake.
    pub fn heard(&self) {
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
    }

    /// Whether the main thread is to look again soon.
    pub fn is_ticking(&self) -> bool {
        self.ticking.load(ORDER)
    }

    /// There is a deadline now: the main thread is to look. It goes on looking for a while, so that this costs a
    /// system call only rarely.
    pub fn expect_deadline(&self) {
        if !self.ticking.swap(true, ORDER) {
            self.call();
        }
    }

    /// Accepting failed for want of something; it is tried again at the next look.
    pub fn pause_accepting(&self) {
        self.accept_paused.store(true, ORDER);
        self.expect_deadline();
    }

    /// A connection is not read before its moment comes. Its slot is locked until this thread has nothing to do with it.
    pub fn pause(&self, due: Instant, token: Token) {
        if self.rates.wait((due, token)) {
            self.call();
        }
    }

    /// Arms the connections whose moment has come; at the end that is everybody's.
    pub fn resume(&self) {
        let due = if self.is_draining() { self.rates.all() } else { self.rates.due() };
        for (_, token) in due {
            let mut is_resumed = true;
            let is_free = self.slots.with(token, |connection| is_resumed = connection.resume(self, token));
            if !is_free || !is_resumed {
                // The thread that has just put it to rest is not quite done with it.
                self.rates.wait((Instant::now(), token));
            }
        }
    }

    /// Looks for what is overdue.
    pub fn sweep(&self) {
        if !self.is_ticking() {
            return;
        }
        if self.accept_paused.swap(false, ORDER) && !self.is_draining() {
            let armed = self.arm(&self.listener, Token::LISTENER, epoll::EventFlags::IN);
            // For the next look.
            self.accept_paused.fetch_or(armed.is_err(), ORDER);
        }
        if self.slots.sweep(Instant::now()) {
            self.quiet_ticks.store(0, ORDER);
        } else if self.quiet_ticks.fetch_add(1, ORDER) >= QUIET_TICKS {
            self.quiet_ticks.store(0, ORDER);
            self.ticking.store(false, ORDER);
            // A deadline that was set while this thread decided to rest called nobody.
            if self.slots.sweep(Instant::now()) {
                self.ticking.store(true, ORDER);
            }
        }
    }
}

/// A request between its last byte and the first of its answer.
#[must_use]
pub struct InFlight<'a>(&'a Hub);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, ORDER) == 1 && self.0.is_draining() {
            self.0.call();
        }
    }
}

/// The flags of a socket that reports once and then waits to be armed again.
fn once(flags: epoll::EventFlags) -> epoll::EventFlags {
    flags | epoll::EventFlags::ONESHOT
}
