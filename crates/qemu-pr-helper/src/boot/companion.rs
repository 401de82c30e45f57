//! Processes that are forked off at the start, for what the daemon itself gives up; or that a unit of their own starts,
//! so that the daemon's never has it.
//!
//! Each has a line to the daemon, on which it first says whether its walls stand: a start that is to serve with them
//! does not go on without.

use std::{
    env,
    ffi::CStr,
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    buffer::spare_capacity,
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{OFlags, fcntl_setfl},
    io::Errno,
    net::{
        self, AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, recv, send, socket_with,
        socketpair,
    },
};
use thiserror::Error;

use super::{
    Privileged,
    privilege::{self, PrivilegeError},
    systemd::{self, ActivationError},
};
use crate::{
    confine::{self, ConfineError, Sandbox},
    log,
    sys::{
        process::{self, Fork},
        signal,
    },
};

/// What a companion says when it is ready; anything else is why it is not.
const READY: &[u8] = b"ready";

/// The longest reason.
const MAX_REASON: usize = 1024;

/// How long a start waits for a companion.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked whether a companion has room for one more connection.
const GLANCE: Duration = Duration::from_millis(50);

/// A start waits for a companion, and nothing else comes of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Vain {
    /// Somebody wants it to end.
    #[error("{0} has come")]
    Signal(&'static str),
    /// It has taken too long.
    #[error("nothing has come of it for {PATIENCE:?}")]
    Overdue,
}

/// Why there is no such process.
#[derive(Debug, Error)]
pub enum CompanionError {
    /// It is not waited for any longer.
    #[error("{0}; what does it do? (its stack is in /proc/PID/stack, its log in the journal)")]
    Vain(#[from] Vain),
    /// The system has no room for another process, or for the line to it.
    #[error(transparent)]
    Start(#[from] io::Error),
    /// It could not become what it is to be.
    #[error("{0}")]
    Unready(String),
    /// It said nothing.
    #[error("it ended before it was ready")]
    Ended,
}

/// Why there is no line to a companion that somebody else starts.
#[derive(Debug, Error)]
pub enum LineError {
    /// Nobody is there.
    #[error("--broker '{}': {error}; is qemu-pr-broker.socket active?", path.display())]
    Connect {
        /// Where it was to be.
        path: PathBuf,
        /// What the kernel says.
        error: Errno,
    },
    /// Somebody is there, and has no room for one more.
    #[error("--broker '{}': {vain}; what keeps qemu-pr-broker.socket from accepting?", path.display())]
    Full {
        /// Where it is.
        path: PathBuf,
        /// Why it is not waited for any longer.
        vain: Vain,
    },
    /// It cannot be waited for.
    #[error("cannot wait for the multipath broker: {0}")]
    Wait(#[source] io::Error),
    /// There is no daemon.
    #[error("--serve-broker is for qemu-pr-broker@.service: no connection to a helper was handed over")]
    Missing,
    /// There is something else.
    #[error("--serve-broker is for qemu-pr-broker@.service: what was handed over is no connection to a helper")]
    Strange,
    /// What systemd says makes no sense.
    #[error(transparent)]
    Activation(#[from] ActivationError),
}

/// The wait for a companion, which is over at the latest when a signal wants this program to end: until it serves, nobody
/// else looks for one.
struct Wait {
    signals: OwnedFd,
    until: Instant,
}

impl Wait {
    fn begin() -> io::Result<Self> {
        Ok(Self { signals: signal::descriptor()?, until: Instant::now() + PATIENCE })
    }

    /// Waits until there is something to read, or for a while.
    fn wait(&self, line: Option<&OwnedFd>, while_: Duration) -> io::Result<Result<(), Vain>> {
        if let Some(name) = signal::take(&self.signals) {
            return Ok(Err(Vain::Signal(name)));
        }
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Err(Vain::Overdue));
        }
        let mut sources: Vec<_> =
            [Some(&self.signals), line].into_iter().flatten().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        let timeout = Timespec::try_from(left.min(while_)).map_err(io::Error::other)?;
        match poll(&mut sources, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(Ok(())),
            Err(error) => Err(error.into()),
        }
    }
}

/// The line to a companion that waits at a socket: its own unit has started it, or will now.
pub fn connect(path: &Path) -> Result<OwnedFd, LineError> {
    let failed = |error: Errno| LineError::Connect { path: path.into(), error };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let line = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).map_err(failed)?;
    let address = SocketAddrUnix::new(path).map_err(failed)?;
    let wait = Wait::begin().map_err(LineError::Wait)?;
    loop {
        match net::connect(&line, &address) {
            // Nobody tells when there is room again.
            Err(Errno::AGAIN) => {
                let waited = wait.wait(None, GLANCE).map_err(LineError::Wait)?;
                waited.map_err(|vain| LineError::Full { path: path.into(), vain })?;
            }
            Err(Errno::INTR) => {}
            connected => {
                connected.and_then(|()| fcntl_setfl(&line, OFlags::empty())).map_err(failed)?;
                return Ok(line);
            }
        }
    }
}

/// The companion's end of that line, handed over by systemd.
pub fn handed_over() -> Result<OwnedFd, LineError> {
    let line = systemd::activation(false, |name| env::var(name).ok())?.ok_or(LineError::Missing)?;
    if systemd::is_connection(&line, SocketType::SEQPACKET) { Ok(line) } else { Err(LineError::Strange) }
}

/// Starts a process with a name of its own, so that looking for the daemon finds one process. It keeps these descriptors,
/// gives up its rights and puts up its walls with `confine`, and then does its work until its line to the daemon, which
/// this returns, ends.
pub fn start(
    _: &Privileged,
    name: &CStr,
    keep: &[BorrowedFd<'_>],
    confine: impl FnOnce() -> Result<(), UnreadyError>,
    work: impl FnOnce(&OwnedFd),
) -> Result<OwnedFd, CompanionError> {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).map_err(io::Error::from)?;
    match process::fork()? {
        Fork::Parent(_) => Ok(ours),
        Fork::Child => {
            drop(ours);
            become_one(&theirs, name, keep, confine, work)
        }
    }
}

/// Starts one that reads what everybody may read, without any rights, and answers questions about that.
pub fn start_reader(
    privileged: &Privileged,
    name: &CStr,
    sandbox: Sandbox,
    work: impl FnOnce(&OwnedFd),
) -> Result<OwnedFd, CompanionError> {
    let confine = || {
        privilege::keep_nothing()?;
        Ok(confine::names(sandbox)?)
    };
    start(privileged, name, &[], confine, work)
}

/// The next message on a line, with the room that `bytes` has; false when there are no more.
pub fn receive(line: &OwnedFd, bytes: &mut Vec<u8>) -> bool {
    loop {
        bytes.clear();
        match recv(line, spare_capacity(bytes), RecvFlags::empty()) {
            Err(Errno::INTR) => {}
            Ok((_, 0)) | Err(_) => return false,
            Ok(_) => return true,
        }
    }
}

/// What a companion is from here on: this process, with its line to the daemon, these descriptors, and nothing else of
/// what it was.
pub fn become_one(
    line: &OwnedFd,
    name: &CStr,
    keep: &[BorrowedFd<'_>],
    confine: impl FnOnce() -> Result<(), UnreadyError>,
    work: impl FnOnce(&OwnedFd),
) -> ! {
    // The log and the trace are the daemon's; the numbers of their descriptors soon mean something else here.
    log::silence();
    let _ = rustix::thread::set_name(name);
    let ready = process::seal(&[keep, &[line.as_fd()]].concat()).map_err(UnreadyError::Seal).and_then(|()| confine());
    match ready {
        Ok(()) if say(line, READY).is_ok() => work(line),
        Ok(()) => {}
        Err(error) => {
            let reason = error.to_string();
            let _ = say(line, &reason.as_bytes()[..reason.len().min(MAX_REASON)]);
        }
    }
    process::exit_now(0)
}

/// Why a companion cannot do its work.
#[derive(Debug, Error)]
pub enum UnreadyError {
    /// It cannot let go of the daemon's files.
    #[error("cannot let go of the files of the process that started it: {0}")]
    Seal(#[source] io::Error),
    /// It has no memory for what it has to know.
    #[error("cannot have the memory that the processes for multipath share: {0}")]
    Memory(#[source] io::Error),
    /// It cannot give up its rights.
    #[error(transparent)]
    Privilege(#[from] PrivilegeError),
    /// Its walls do not stand.
    #[error(transparent)]
    Confine(#[from] ConfineError),
}

/// Waits until a companion is ready. To be called once, before anything else is said on its line.
///
/// # Errors
/// It is not, and why.
pub fn await_ready(line: &OwnedFd) -> Result<(), CompanionError> {
    let mut word = [0; MAX_REASON];
    let wait = Wait::begin()?;
    loop {
        wait.wait(Some(line), PATIENCE)??;
        match recv(line, &mut word[..], RecvFlags::DONTWAIT) {
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(CompanionError::Start(error.into())),
            Ok((0, _)) => return Err(CompanionError::Ended),
            Ok((length, _)) if word[..length] == *READY => return Ok(()),
            Ok((length, _)) => {
                return Err(CompanionError::Unready(String::from_utf8_lossy(&word[..length]).into_owned()));
            }
        }
    }
}

/// Says something on a line, however long the other side takes to hear it.
pub fn say(line: &OwnedFd, word: &[u8]) -> Result<(), Errno> {
    loop {
        match send(line, word, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            result => return result.map(drop),
        }
    }
}
