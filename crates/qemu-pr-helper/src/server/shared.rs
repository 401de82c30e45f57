//! What a connection needs besides itself: the epoll set, where its commands go, and whether the program is shutting down.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustix::event::{EventfdFlags, epoll, eventfd};

use super::token::Token;
use crate::{audit::Audit, device::Router, log::RateLimit, metrics::Metrics, policy::Policy};

/// The order between "a request begins" and "no more requests": one of the two sides always sees the other.
const ORDER: Ordering = Ordering::SeqCst;

/// What all connections share.
pub struct Shared {
    epoll: OwnedFd,
    /// Carries out commands.
    pub router: Router,
    /// Decides whether they may be carried out.
    pub policy: Policy,
    /// Who did what.
    pub audit: Arc<Audit>,
    /// How often.
    pub metrics: Arc<Metrics>,
    /// Limits the messages about connections that end as they should not.
    pub complaints: RateLimit,
    /// `-q`.
    pub quiet: bool,
    /// How long a client may leave a request half sent or an answer unread.
    pub request_timeout: Duration,
    is_draining: AtomicBool,
    is_over: AtomicBool,
    in_flight: AtomicUsize,
    wakeup: OwnedFd,
    is_timer_armed: AtomicBool,
}

impl Shared {
    /// Nothing is in the epoll set yet.
    pub fn new(
        router: Router,
        policy: Policy,
        audit: Arc<Audit>,
        metrics: Arc<Metrics>,
        request_timeout: Duration,
        quiet: bool,
    ) -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            router,
            policy,
            audit,
            metrics,
            complaints: RateLimit::default(),
            quiet,
            request_timeout,
            is_draining: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            wakeup: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            is_timer_armed: AtomicBool::new(false),
        })
    }

    /// Waits for the first event of a socket.
    pub fn add(&self, socket: impl AsFd, token: Token) -> rustix::io::Result<()> {
        epoll::add(&self.epoll, socket, token.data(), once(epoll::EventFlags::IN))
    }

    /// Waits for the next event of a socket again: sockets report once, so that one thread has a connection at a
    /// time. (This system call a request is the price; a set that reports to every thread would need a lock and a
    /// look for more input instead.)
    pub fn arm(&self, socket: impl AsFd, token: Token, flags: epoll::EventFlags) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, socket, token.data(), once(flags))?)
    }

    /// Waits for no more events of a socket.
    pub fn remove(&self, socket: impl AsFd) {
        let _ = epoll::delete(&self.epoll, socket);
    }

    /// Waits for one event of any socket. One, so that no event is ever behind a command that hangs.
    pub fn next_event(&self) -> Option<Token> {
        let mut events = [MaybeUninit::uninit(); 1];
        match epoll::wait(&self.epoll, &mut events, None) {
            Ok((events, _)) => events.first().map(Token::of),
            Err(_) => None,
        }
    }

    /// A request begins, unless it is too late for that. It ends with the value.
    pub fn begin(&self) -> Option<InFlight<'_>> {
        self.in_flight.fetch_add(1, ORDER);
        let request = InFlight(self);
        (!self.is_over.load(ORDER)).then_some(request)
    }

    /// How many requests are between their last byte and their answer's first.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(ORDER)
    }

    /// Whether the shutdown has begun.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(ORDER)
    }

    /// Begins the shutdown: from each client there is no more than the request that it may have sent already.
    pub fn drain(&self) {
        self.is_draining.store(true, ORDER);
    }

    /// No request begins from here on.
    pub fn refuse_requests(&self) {
        self.is_over.store(true, ORDER);
    }

    /// The descriptor that wakes the main thread.
    pub const fn wakeup(&self) -> &OwnedFd {
        &self.wakeup
    }

    /// Wakes the main thread.
    pub fn wake(&self) {
        // Full means that it has been woken already.
        let _ = rustix::io::write(&self.wakeup, &1u64.to_ne_bytes());
    }

    /// The main thread is awake.
    pub fn ack_wakeup(&self) {
        let _ = rustix::io::read(&self.wakeup, &mut [0; 8]);
    }

    /// Whether the main thread is to look for what is overdue soon.
    pub fn is_timer_armed(&self) -> bool {
        self.is_timer_armed.load(ORDER)
    }

    /// There is a deadline now: the main thread is to look. It goes on looking for a while, so that this costs a
    /// system call only rarely.
    pub fn arm_timer(&self) {
        if !self.is_timer_armed.swap(true, ORDER) {
            self.wake();
        }
    }

    /// The main thread stops looking, unless `is_needed` finds a deadline that was set while it decided to.
    pub fn disarm_timer(&self, is_needed: impl FnOnce() -> bool) {
        self.is_timer_armed.store(false, ORDER);
        if is_needed() {
            self.is_timer_armed.store(true, ORDER);
        }
    }
}

/// A request between its last byte and the first of its answer.
#[must_use]
pub struct InFlight<'a>(&'a Shared);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, ORDER) == 1 && self.0.is_draining() {
            self.0.wake();
        }
    }
}

/// The flags of a socket that reports once and then waits to be armed again.
fn once(flags: epoll::EventFlags) -> epoll::EventFlags {
    flags | epoll::EventFlags::ONESHOT
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use std::{io::Write as _, os::unix::net::UnixStream};

    use rustix::event::{PollFd, PollFlags, Timespec, epoll::EventFlags, poll};

    use super::*;
    use crate::server::for_tests::shared;

    fn is_woken(shared: &Shared) -> bool {
        poll(&mut [PollFd::new(shared.wakeup(), PollFlags::IN)], Some(&Timespec::default()))
            .is_ok_and(|ready| ready > 0)
    }

    #[test]
    fn a_socket_reports_once_until_it_is_armed_again() {
        let shared = shared(true);
        let [(one, mut first), (two, mut second)] = [(); 2].map(|()| UnixStream::pair().unwrap());
        let tokens = [Token::new(0, 1), Token::new(1, 2)];
        shared.add(&one, tokens[0]).unwrap();
        shared.add(&two, tokens[1]).unwrap();
        first.write_all(b"x").unwrap();
        assert_eq!(shared.next_event(), Some(tokens[0]));
        // Its byte is there still, and it is not told of again.
        second.write_all(b"x").unwrap();
        assert_eq!(shared.next_event(), Some(tokens[1]));
        shared.arm(&one, tokens[0], EventFlags::IN).unwrap();
        assert_eq!(shared.next_event(), Some(tokens[0]));
        shared.remove(&one);
        assert!(shared.arm(&one, tokens[0], EventFlags::IN).is_err());
    }

    #[test]
    fn the_last_request_of_a_shutdown_wakes_the_main_thread_and_none_begins_after_its_end() {
        let shared = shared(true);
        let request = shared.begin();
        assert!(request.is_some());
        assert_eq!(shared.in_flight(), 1);
        drop(request);
        assert!(!is_woken(&shared), "the main thread does not wait for it");
        shared.drain();
        let requests = [shared.begin(), shared.begin()];
        let [one, other] = requests;
        drop(one);
        assert!(!is_woken(&shared));
        drop(other);
        assert!(is_woken(&shared));
        shared.ack_wakeup();
        assert!(!is_woken(&shared));
        shared.refuse_requests();
        assert!(shared.begin().is_none());
        assert_eq!(shared.in_flight(), 0);
    }

    #[test]
    fn a_deadline_that_is_set_while_the_timer_is_disarmed_is_not_missed() {
        let shared = shared(true);
        shared.arm_timer();
        assert!(is_woken(&shared));
        shared.disarm_timer(|| true);
        assert!(shared.is_timer_armed());
        shared.disarm_timer(|| false);
        assert!(!shared.is_timer_armed());
    }
}
