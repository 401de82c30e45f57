//! The server as a fuzzer runs it: the crew on a listening socket, without the steps of a start.

use std::{
    ffi::OsString,
    os::fd::OwnedFd,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::{crew, hub::Hub, wait_for};
use crate::{
    audit::{self, Keys},
    config::{Config, cli},
    device::multipath::Multipath,
    fuzzing::Read,
    log::{self, format::LogFormat, trace},
    privsep::Sandboxed,
    resolver::names::Names,
};

/// A server whose threads run until the process ends.
pub struct Server(Arc<Hub>);

impl Server {
    /// Serves a listening socket, with these options of the command line.
    ///
    /// # Errors
    /// In words: an option is wrong, or the system lacks something.
    pub fn start(listener: OwnedFd, options: &[&str]) -> Result<Self, String> {
        let arguments: Vec<OsString> = ["qemu-pr-helper"].iter().chain(options).map(OsString::from).collect();
        let options = cli::parse(&arguments).map_err(|code| format!("the options are wrong: {code:?}"))?;
        let config = Config::new(options, None);
        // Nobody is at the other end: what a broker may answer has a fuzzer of its own.
        let (broker, _) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|error| error.to_string())?;
        let hub = Hub::new(listener, Multipath::over(broker), None, &config).map_err(|error| error.to_string())?;
        let hub = Arc::new(hub);
        crew::start(&hub, &Sandboxed::pretend()).map_err(|error| error.to_string())?;
        let main = Arc::clone(&hub);
        thread::spawn(move || watch(&main));
        Ok(Self(hub))
    }

    /// Has all be traced and recorded that can be, and nothing of it written: standard error is the fuzzer's.
    pub fn be_talkative() {
        log::silence();
        let _ = log::install("fuzz", true, LogFormat::Text);
        trace::set(["*"]);
        // Nobody is at the other end.
        if let Ok((names, _)) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None) {
            audit::start(Arc::new(Names::over(names)), Some(Keys::Show));
        }
    }

    /// How many connections there are, those included that are being closed.
    pub fn connections(&self) -> usize {
        self.0.slots.in_use()
    }

    /// Looks for what would be overdue after `time`, as the main thread does.
    pub fn look_after(&self, time: Duration) {
        self.0.slots.sweep(Instant::now() + time);
    }

    /// Forgets the simulated disks.
    pub fn forget_disks(&self) {
        self.0.router.clear();
    }

    /// Puts what a settings file says into force.
    pub fn reload(&self, read: &Read) {
        self.0.policy.replace("/fuzz.toml".into(), read.settings.clone());
    }
}

/// What the main thread does but for signals and the watchdog.
fn watch(hub: &Hub) {
    loop {
        let tick = hub.is_ticking().then_some(Duration::from_secs(1));
        let pause = [tick, hub.rates.pause()].into_iter().flatten().min();
        if wait_for(&[hub.wake()], &[], pause).is_err() {
            return;
        }
        hub.heard();
        hub.sweep();
        hub.resume();
    }
}
