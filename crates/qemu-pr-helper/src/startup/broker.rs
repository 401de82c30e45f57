//! The connection between a daemon and a multipath broker that a unit of its own starts (`--broker`, `--serve-broker`).

use std::{
    env, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use pr_sandbox::{Wait, WaitError};
use rustix::{
    fs::{OFlags, fcntl_setfl},
    io::Errno,
    net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with},
};
use thiserror::Error;

use super::systemd::{self, ActivationError};

/// How often it is tried whether the broker has room for one more connection.
const RETRY: Duration = Duration::from_millis(50);

/// Why there is no connection between daemon and broker.
#[derive(Debug, Error)]
pub enum BrokerSocketError {
    /// No process listens there.
    #[error("--broker '{}': {error}; start qemu-pr-broker.socket", path.display())]
    Connect { path: PathBuf, error: Errno },
    /// One listens there, and has no room for one more.
    #[error("--broker '{}': {wait}; find out why qemu-pr-broker.socket does not accept it", path.display())]
    Full { path: PathBuf, wait: WaitError },
    /// It cannot be waited for.
    #[error("cannot wait for the multipath broker: {0}")]
    Wait(#[source] io::Error),
    /// There is no daemon at the other end.
    #[error("--serve-broker is for qemu-pr-broker@.service: systemd passed no connection to a helper")]
    NotActivated,
    /// What systemd has passed is something else.
    #[error(
        "--serve-broker is for qemu-pr-broker@.service: the socket that systemd passed is not a connection to a helper"
    )]
    WrongSocketType,
    /// What systemd says about it cannot be.
    #[error(transparent)]
    Activation(#[from] ActivationError),
}

/// Connects to a broker: its own unit has started it, or will now.
pub fn connect(path: &Path) -> Result<OwnedFd, BrokerSocketError> {
    let failed = |error: Errno| BrokerSocketError::Connect { path: path.into(), error };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).map_err(failed)?;
    let address = SocketAddrUnix::new(path).map_err(failed)?;
    let waiting = Wait::begin().map_err(BrokerSocketError::Wait)?;
    loop {
        match net::connect(&socket, &address) {
            // There is no event for room in the queue.
            Err(Errno::AGAIN) => {
                let waited = waiting.wait(None, RETRY).map_err(BrokerSocketError::Wait)?;
                waited.map_err(|wait| BrokerSocketError::Full { path: path.into(), wait })?;
            }
            Err(Errno::INTR) => {}
            connected => {
                connected.and_then(|()| fcntl_setfl(&socket, OFlags::empty())).map_err(failed)?;
                return Ok(socket);
            }
        }
    }
}

/// The broker's end of that connection, passed by systemd.
pub fn passed() -> Result<OwnedFd, BrokerSocketError> {
    let socket = systemd::activation(false, |name| env::var(name).ok())?.ok_or(BrokerSocketError::NotActivated)?;
    if systemd::is_connection(&socket, SocketType::SEQPACKET) {
        Ok(socket)
    } else {
        Err(BrokerSocketError::WrongSocketType)
    }
}
