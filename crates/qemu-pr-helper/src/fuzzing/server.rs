//! The server as a fuzzer runs it: workers on a listening socket, without the steps of a start.

use std::{
    ffi::OsString,
    os::fd::OwnedFd,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use pr_sandbox::Sandboxed;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::{AUDIT, LOG, METRICS, Read};
use crate::{
    config::{Config, cli},
    device::{Router, multipath::Multipath},
    limits,
    log::format::LogFormat,
    policy::Policy,
    server::{self, Shared, start_workers, wait_for},
};

/// A server whose threads run until the process ends.
pub struct Server(Arc<server::Server>);

impl Server {
    /// Serves a listening socket, with these options of the command line.
    ///
    /// # Errors
    /// In words: an option is wrong, or the system lacks something.
    pub fn start(listener: OwnedFd, options: &[&str]) -> Result<Self, String> {
        let arguments: Vec<OsString> = ["qemu-pr-helper"].iter().chain(options).map(OsString::from).collect();
        let options = cli::parse(&arguments).map_err(|code| format!("the options are wrong: {code:?}"))?;
        let mut config = Config::new(options, None);
        let wanted = config.options.max_connections;
        config.max_connections = limits::connections(wanted, config.is_given("max-connections"));
        // Nobody is at the other end: what a broker may answer has a fuzzer of its own.
        let (broker, _) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|error| error.to_string())?;
        let options = &config.options;
        let router = Router::new(
            options.command_timeout,
            Multipath::over(broker, Arc::clone(&METRICS)),
            options.simulate,
            Arc::clone(&AUDIT),
        );
        let server = Shared::new(
            router,
            Policy::new(None, None),
            Arc::clone(&AUDIT),
            Arc::clone(&METRICS),
            options.request_timeout,
            options.quiet,
        )
        .and_then(|shared| server::Server::new(listener, shared, config.max_connections));
        let server = Arc::new(server.map_err(|error| error.to_string())?);
        start_workers(&server, &Sandboxed::pretend()).map_err(|error| error.to_string())?;
        let main = Arc::clone(&server);
        thread::spawn(move || watch(&main));
        Ok(Self(server))
    }

    /// Has all be traced and recorded that can be, and nothing of it written: standard error is the fuzzer's.
    pub fn be_talkative() {
        LOG.silence();
        let _ = LOG.install("fuzz", true, LogFormat::Text);
        LOG.traced.set(["*"]);
    }

    /// How many connections there are, those included that are being closed.
    pub fn connections(&self) -> usize {
        self.0.connections.in_use()
    }

    /// Looks for what would be overdue after `time`, as the main thread does.
    pub fn look_after(&self, time: Duration) {
        self.0.connections.expire(Instant::now() + time);
    }

    /// Forgets the simulated disks.
    pub fn forget_disks(&self) {
        self.0.shared.router.clear();
    }

    /// Puts what a settings file says into force.
    pub fn reload(&self, read: &Read) {
        self.0.shared.policy.replace("/fuzz.toml".into(), read.settings.clone());
    }
}

/// What the main thread does but for signals and the watchdog.
fn watch(server: &server::Server) {
    loop {
        let tick = server.shared.is_timer_armed().then_some(Duration::from_secs(1));
        let pause = [tick, server.delayed.next()].into_iter().flatten().min();
        if wait_for(&[server.shared.wakeup()], &[], pause).is_err() {
            return;
        }
        server.shared.ack_wakeup();
        server.expire();
        server.resume_delayed();
    }
}
