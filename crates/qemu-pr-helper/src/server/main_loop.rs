//! The life of the program from ready to its end: the main thread waits for signals, deadlines and systemd's watchdog.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    process::ExitCode,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use pr_sandbox::Sandboxed;
use pr_sys::signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use thiserror::Error;
use tracing::{error, trace};

use super::{context::Server, control_handler::ControlHandler, shared::Shared, worker};
use crate::{
    audit::{self, Audit},
    config::Config,
    control,
    device::{Router, multipath::Multipath},
    log::Log,
    metrics::Metrics,
    policy::Policy,
    resolver::names::Names,
    startup::{Listener, Notifier, Started},
};

/// How often the main thread looks at connections that owe something, at least.
const MAX_TICK: Duration = Duration::from_secs(1);

/// During the shutdown, how long to wait for the rest of a request: QEMU sends it at once.
const GRACE: Duration = Duration::from_secs(3);

/// During the shutdown, how often to look for connections that have become idle since.
const IDLE_CHECK: Duration = Duration::from_millis(20);

/// Why no client is served, or none any more.
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
    #[error("cannot notify the parent process that this one serves: {0}; start it again")]
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
pub fn run(started: Started, sandboxed: &Sandboxed, config: &Config, log: Arc<Log>) -> Result<ExitCode, ServeError> {
    let Started { mut listener, control, pidfile, notifier, parent, broker, names, resolver, .. } = started;
    let again = |listener: &Listener| {
        listener.socket().try_clone_to_owned().map_err(ServeError::descriptor("open a socket once more"))
    };
    let signals = signal::descriptor().map_err(ServeError::descriptor("receive signals"))?;
    let metrics = Arc::new(Metrics::default());
    let audit = Arc::new(Audit::new(Arc::clone(&log), Arc::clone(&metrics), names.clone(), config.audit()));
    log.start(Box::new(audit::Backlog(Arc::clone(&audit)))).map_err(ServeError::thread("writes the log"))?;
    if let Some(resolver) = resolver.clone() {
        let thread = thread::Builder::new().name("resolver".into());
        thread.spawn(move || resolver.hear()).map_err(ServeError::thread("reads what the resolver answers"))?;
    }
    let options = &config.options;
    let multipath = Multipath::over(broker, Arc::clone(&metrics));
    let router = Router::new(options.command_timeout, multipath, options.simulate, Arc::clone(&audit));
    let policy = Policy::new(config.settings.clone(), resolver);
    let socket = again(&listener)?;
    let server = Shared::new(router, policy, audit, metrics, options.request_timeout, options.quiet)
        .and_then(|shared| Server::new(socket, shared, config.max_connections));
    let server = Arc::new(server.map_err(ServeError::descriptor("wait for clients"))?);
    worker::start(&server, sandboxed).map_err(ServeError::thread("serves clients"))?;
    if let Some(control) = &control {
        let handler = ControlHandler { server: Arc::clone(&server), log, options: config.at_start() };
        control::start(again(control)?, handler, Arc::clone(&server.shared.audit))
            .map_err(ServeError::thread("serves the control socket"))?;
    }

    // Everything is in place.
    parent.ready().map_err(ServeError::Parent)?;
    notifier.ready();

    let end = watch(&server, &signals, &notifier, names.as_deref(), config).map_err(ServeError::Wait)?;
    let name = end.unwrap_or("none: a process that this one cannot do without is gone");
    trace!(target: "pr_helper_shutdown", signal = name, in_flight = server.shared.in_flight());
    notifier.stopping();
    let code = drain(&server, &mut listener, config).map_err(ServeError::Wait)?;
    drop(pidfile);
    drop(control);
    // A service manager that restarts this program when it has failed is to do that now.
    Ok(if end.is_some() { code } else { ExitCode::FAILURE })
}

/// Waits for a signal to end; its name, or none when it is the multipath broker or the resolver that has ended.
fn watch(
    server: &Server,
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
        // Without a thread that waits no client is served; then systemd had better know.
        if watchdog.is_some_and(|interval| fed.elapsed() >= interval) && server.workers.is_alive() {
            notifier.watchdog();
            fed = Instant::now();
        }
        let pause = server.shared.is_timer_armed().then_some(tick);
        let pause = [pause, watchdog, server.delayed.next()].into_iter().flatten().min();
        let Some(notes) = server.shared.router.notes() else { return Ok(None) };
        let sources = [signals, server.shared.wakeup(), notes];
        let resolver = server.shared.policy.resolver().map(|resolver| resolver.line());
        let names_line = names.and_then(Names::line);
        let ends: Vec<_> = resolver.into_iter().chain(names_line).collect();
        wait_for(&sources, &ends, pause)?;
        if resolver.is_some_and(has_ended) {
            error!(
                "the resolver has exited; this program shuts down, because it has dropped the privileges that it takes to start \
                 another one (set Restart= in the unit)"
            );
            return Ok(None);
        }
        if let Some(names) = names.filter(|_| names_line.is_some_and(has_ended)) {
            names.report_gone(&server.shared.metrics);
        }
        server.shared.router.hear();
        server.shared.ack_wakeup();
        server.expire();
        server.resume_delayed();
    }
}

/// Accepts no more clients, and closes the connections: each as soon as the client has its answer, and none with a request
/// that the client has sent and that is never read, unless it sends ahead of its answers, which QEMU never does
/// (`of_clients_that_never_pause_none_loses_a_command_that_it_has_sent`,
/// `what_a_limited_client_has_sent_is_answered_at_the_end`).
fn drain(server: &Server, listener: &mut Listener, config: &Config) -> io::Result<ExitCode> {
    let ours = listener.is_ours();
    listener.withdraw();
    server.close_down(ours);
    let start = Instant::now();
    while !server.close_idle() {
        // No connection is delayed any more.
        server.resume_delayed();
        let waited = start.elapsed();
        if waited >= GRACE.min(config.options.drain_timeout) {
            // A client that is left has sent half a request or does not read its answer, unless its command is under way.
            server.shared.refuse_requests();
            if server.shared.in_flight() == 0 {
                break;
            }
        }
        let Some(left) = config.options.drain_timeout.checked_sub(waited) else {
            let (timeout, hung) = (config.options.drain_timeout, server.hung());
            for hung in &hung {
                error!("giving up after {timeout:?}: {hung}");
            }
            if hung.is_empty() {
                // Between a request and its answer there is more than the command.
                error!(
                    "giving up after {timeout:?}: {} requests are not over, and none is with its disk (a descriptor \
                     that a client has sent hangs)",
                    server.shared.in_flight()
                );
            }
            return Ok(ExitCode::FAILURE);
        };
        wait_for(&[server.shared.wakeup()], &[], Some(left.min(IDLE_CHECK)))?;
        server.shared.ack_wakeup();
        server.expire();
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits until one of the descriptors is readable, the other end of one of the sockets is closed, or the time is over.
pub fn wait_for(descriptors: &[&OwnedFd], sockets: &[&OwnedFd], timeout: Option<Duration>) -> io::Result<()> {
    let readable = descriptors.iter().map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN));
    let ended = sockets.iter().map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::empty()));
    let mut set: Vec<PollFd<'_>> = readable.chain(ended).collect();
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match poll(&mut set, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether the other end of a socket is closed.
fn has_ended(socket: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    // That is told without being asked for.
    matches!(poll(&mut [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::empty())], Some(&now)), Ok(1..))
}
