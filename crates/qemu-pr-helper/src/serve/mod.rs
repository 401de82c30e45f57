//! The room where clients are served, and the life of the program from ready to end.

mod accept;
mod closing;
mod connection;
mod crew;
mod ending;
mod flight;
#[cfg(fuzzing)]
pub mod fuzzing;
mod hub;
mod policy;
mod rate;
mod share;
mod slots;
mod state;

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use thiserror::Error;
use tracing::{error, trace};

#[cfg(fuzzing)]
pub use self::connection::keys;
use self::hub::Hub;
use crate::{
    audit,
    config::Config,
    control, log,
    privsep::Sandboxed,
    resolver::names::Names,
    startup::{Listener, Notifier, Started},
    sys::signal,
};

/// How often the main thread looks at connections that owe something, at least.
const MAX_TICK: Duration = Duration::from_secs(1);

/// At the end, how long to wait for the rest of a request: QEMU sends it at once.
const GRACE: Duration = Duration::from_secs(3);

/// At the end, how often to look for clients that got their answer while nobody could tell them.
const GLANCE: Duration = Duration::from_millis(20);

/// Why nobody is served, or nobody any more.
#[derive(Debug, Error)]
pub enum ServeError {
    /// What takes a descriptor.
    #[error("cannot {step}: {error}; raise the limit of open files (ulimit -n, or LimitNOFILE= in the unit)")]
    Descriptor {
        /// What was tried.
        step: &'static str,
        /// What the kernel says.
        error: io::Error,
    },
    /// What takes a thread.
    #[error("cannot start the thread that {work}: {error}; raise TasksMax= in the unit, or ulimit -u")]
    Thread {
        /// What it is for.
        work: &'static str,
        /// What the kernel says.
        error: io::Error,
    },
    /// The process that started a daemon is gone.
    #[error("cannot tell the process that started this one that it serves: {0}; start it again")]
    Parent(#[source] io::Error),
    /// The main thread cannot sleep.
    #[error("cannot wait for signals: {0}")]
    Wait(#[source] io::Error),
}

impl ServeError {
    /// A step that takes a descriptor.
    fn descriptor<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Descriptor { step, error: error.into() }
    }

    /// A thread for some work.
    fn thread(work: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Thread { work, error }
    }
}

/// Serves until a signal says stop. The main thread itself only watches: signals, deadlines, systemd's watchdog.
pub fn run(started: Started, sandboxed: &Sandboxed, config: &Config) -> Result<ExitCode, ServeError> {
    let Started { mut listener, control, pidfile, notifier, parent, multipath, names, resolver, .. } = started;
    let again = |listener: &Listener| {
        listener.socket().try_clone_to_owned().map_err(ServeError::descriptor("open a socket once more"))
    };
    let signals = signal::descriptor().map_err(ServeError::descriptor("receive signals"))?;
    log::start(&audit::Backlog).map_err(ServeError::thread("writes the log"))?;
    if let Some(resolver) = resolver.clone() {
        let thread = thread::Builder::new().name("resolver".into());
        thread.spawn(move || resolver.hear()).map_err(ServeError::thread("reads what the resolver answers"))?;
    }
    let hub = Hub::new(again(&listener)?, multipath, resolver, config);
    let hub = Arc::new(hub.map_err(ServeError::descriptor("wait for clients"))?);
    crew::start(&hub, sandboxed).map_err(ServeError::thread("serves clients"))?;
    if let Some(control) = &control {
        control::start(again(control)?, state::State { hub: Arc::clone(&hub), at_start: config.at_start() })
            .map_err(ServeError::thread("serves the control socket"))?;
    }

    // Everything is in place: whoever waits may know.
    parent.ready().map_err(ServeError::Parent)?;
    notifier.ready();

    let end = watch(&hub, &signals, &notifier, names.as_deref(), config).map_err(ServeError::Wait)?;
    let name = end.unwrap_or("none: a process that this one cannot do without is gone");
    trace!(target: "pr_helper_shutdown", signal = name, in_flight = hub.in_flight());
    notifier.stopping();
    let code = drain(&hub, &mut listener, config).map_err(ServeError::Wait)?;
    drop(pidfile);
    drop(control);
    // Whoever starts this program again when it has failed is to do that now.
    Ok(if end.is_some() { code } else { ExitCode::FAILURE })
}

/// Waits for a signal to end; its name, or none when it is the multipath broker or the resolver that has ended.
fn watch(
    hub: &Hub,
    signals: &OwnedFd,
    notifier: &Notifier,
    names: Option<&Names>,
    config: &Config,
) -> io::Result<Option<&'static str>> {
    let tick = (config.options.request_timeout / 4).min(MAX_TICK);
    let mut fed = Instant::now();
    loop {
        if let Some(name) = signal::take(signals) {
            return Ok(Some(name));
        }
        let watchdog = notifier.watchdog_interval();
        // A crew without anybody waiting serves nobody; then systemd had better know.
        if watchdog.is_some_and(|interval| fed.elapsed() >= interval) && hub.crew.is_attentive() {
            notifier.watchdog();
            fed = Instant::now();
        }
        let pause = hub.is_ticking().then_some(tick);
        let pause = [pause, watchdog, hub.rates.pause()].into_iter().flatten().min();
        let Some(notes) = hub.router.notes() else { return Ok(None) };
        let sources = [signals, hub.wake(), notes];
        let resolver = hub.policy.resolver().map(|resolver| resolver.line());
        let names_line = names.and_then(Names::line);
        let ends: Vec<_> = resolver.into_iter().chain(names_line).collect();
        wait_for(&sources, &ends, pause)?;
        if resolver.is_some_and(has_ended) {
            error!(
                "the resolver is gone; this program cannot start another one without the rights that it has given up, and \
                 ends: the next one has a resolver (Restart= in the unit)"
            );
            return Ok(None);
        }
        if let Some(names) = names.filter(|_| names_line.is_some_and(has_ended)) {
            names.mourn();
        }
        hub.router.hear();
        hub.heard();
        hub.sweep();
        hub.resume();
    }
}

/// Takes no more clients, and lets those go that there are: each as soon as it has its answer, and none with a request
/// that it has sent and nobody reads, unless it sends ahead of its answers, which QEMU never does
/// (`of_clients_that_never_pause_none_loses_a_command_that_it_has_sent`,
/// `what_a_limited_client_has_sent_is_answered_at_the_end`).
fn drain(hub: &Hub, listener: &mut Listener, config: &Config) -> io::Result<ExitCode> {
    let ours = listener.is_ours();
    listener.withdraw();
    hub.close_down(ours);
    let start = Instant::now();
    while !hub.dismiss() {
        // Whoever has to wait for its turn does so no more.
        hub.resume();
        let waited = start.elapsed();
        if waited >= GRACE.min(config.options.drain_timeout) {
            // Whoever is left has sent half a request or does not read its answer, unless its command is under way.
            hub.finish();
            if hub.in_flight() == 0 {
                break;
            }
        }
        let Some(left) = config.options.drain_timeout.checked_sub(waited) else {
            let (timeout, hung) = (config.options.drain_timeout, hub.hung());
            for hung in &hung {
                error!("giving up after {timeout:?}: {hung}");
            }
            if hung.is_empty() {
                // Between a request and its answer there is more than the command.
                error!(
                    "giving up after {timeout:?}: {} requests are not over, and none is with its disk (a descriptor \
                     that a client has sent hangs)",
                    hub.in_flight()
                );
            }
            return Ok(ExitCode::FAILURE);
        };
        wait_for(&[hub.wake()], &[], Some(left.min(GLANCE)))?;
        hub.heard();
        hub.sweep();
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits until one of the descriptors is readable, there is nobody at the other end of one of the lines, or the time is
/// over.
fn wait_for(descriptors: &[&OwnedFd], lines: &[&OwnedFd], timeout: Option<Duration>) -> io::Result<()> {
    let readable = descriptors.iter().map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN));
    let ended = lines.iter().map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::empty()));
    let mut set: Vec<PollFd<'_>> = readable.chain(ended).collect();
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match poll(&mut set, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether there is nobody at the other end of a line.
fn has_ended(line: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    // That is told without being asked for.
    matches!(poll(&mut [PollFd::from_borrowed_fd(line.as_fd(), PollFlags::empty())], Some(&now)), Ok(1..))
}

/// The order between "a request begins" and "no more requests": one of the two sides always sees the other.
const ORDER: Ordering = Ordering::SeqCst;
