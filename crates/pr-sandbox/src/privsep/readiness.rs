//! Whether a child process is ready: it says so, or why not, as the first message on its socket. A start that is to serve
//! with these processes does not go on without.

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use pr_sys::signal;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{RecvFlags, recv},
};
use thiserror::Error;

/// What a child process says when it is ready; anything else is why it is not.
pub const READY: &[u8] = b"ready";

/// The longest reason.
pub const MAX_REASON: usize = 1024;

/// How long a start waits for a child process.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the start does not wait any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WaitError {
    /// The program is to end.
    #[error("interrupted by {0}")]
    Signal(&'static str),
    /// It has taken too long.
    #[error("it was not ready within {PATIENCE:?}")]
    Timeout,
}

/// Why there is no such child process.
#[derive(Debug, Error)]
pub enum ChildError {
    /// The start does not wait for it any longer.
    #[error("{0}; see its stack in /proc/PID/stack and its log in the journal")]
    Wait(#[from] WaitError),
    /// The system has no room for another process, or for the socket to it.
    #[error(transparent)]
    Start(#[from] io::Error),
    /// It could not become what it is to be.
    #[error("{0}")]
    Unready(String),
    /// It said nothing.
    #[error("it ended before it was ready")]
    Ended,
}

/// The wait for another process. A signal ends it: until the program serves, nothing else looks for one.
pub struct Wait {
    signals: OwnedFd,
    until: Instant,
}

impl Wait {
    /// Begins it.
    pub fn begin() -> io::Result<Self> {
        Ok(Self { signals: signal::descriptor()?, until: Instant::now() + PATIENCE })
    }

    /// Waits until there is something to read, or for a while.
    pub fn wait(&self, socket: Option<&OwnedFd>, while_: Duration) -> io::Result<Result<(), WaitError>> {
        if let Some(name) = signal::take(&self.signals) {
            return Ok(Err(WaitError::Signal(name)));
        }
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Err(WaitError::Timeout));
        }
        let mut sources: Vec<_> =
            [Some(&self.signals), socket].into_iter().flatten().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        let timeout = Timespec::try_from(left.min(while_)).map_err(io::Error::other)?;
        match poll(&mut sources, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(Ok(())),
            Err(error) => Err(error.into()),
        }
    }
}

/// Waits until a child process is ready. To be called once, before anything else is sent on its socket.
///
/// # Errors
/// It is not, and why.
pub fn await_ready(socket: &OwnedFd) -> Result<(), ChildError> {
    let mut message = [0; MAX_REASON];
    let wait = Wait::begin()?;
    loop {
        wait.wait(Some(socket), PATIENCE)??;
        match recv(socket, &mut message[..], RecvFlags::DONTWAIT) {
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(ChildError::Start(error.into())),
            Ok((0, _)) => return Err(ChildError::Ended),
            Ok((length, _)) if message[..length] == *READY => return Ok(()),
            Ok((length, _)) => {
                return Err(ChildError::Unready(String::from_utf8_lossy(&message[..length]).into_owned()));
            }
        }
    }
}
