//! Commands through a helper.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    time::Duration,
};

use qemu_pr_protocol::{Client, ClientError, Reply};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt};
use scsi_persistent_reservations::Cdb;

use super::helper::Helper;
use crate::error::{Error, Phase};

/// A connection to a helper.
pub struct Transport<'a> {
    client: Client,
    socket: &'a Path,
    timeout: Duration,
}

impl<'a> Transport<'a> {
    /// Connects and negotiates.
    pub fn open(helper: &'a Helper) -> Result<Self, Error> {
        let (socket, timeout) = (helper.socket.as_path(), helper.timeout());
        let stream = connected(socket, timeout).map_err(|error| Error::connecting(socket, error))?;
        let client = Client::over(stream).map_err(|error| failed(error, socket, timeout, Phase::Handshake))?;
        Ok(Self { client, socket, timeout })
    }

    /// The features that the helper offers.
    pub fn features(&self) -> u32 {
        self.client.features()
    }

    /// Has one command carried out; whatever the device answers.
    pub fn execute(&mut self, device: &OwnedFd, cdb: &Cdb, parameters: &[u8]) -> Result<Reply, Error> {
        let reply = self.client.execute(device, cdb, parameters);
        reply.map_err(|error| failed(error, self.socket, self.timeout, Phase::Command))
    }
}

/// A connection with a timeout for each wait, that for being accepted included.
fn connected(socket: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(socket)?;
    let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    for wait in [sockopt::Timeout::Send, sockopt::Timeout::Recv] {
        sockopt::set_socket_timeout(&stream, wait, Some(timeout))?;
    }
    connect(&stream, &address)?;
    Ok(stream.into())
}

fn failed(error: ClientError, socket: &Path, timeout: Duration, phase: Phase) -> Error {
    let socket = socket.to_path_buf();
    match error {
        ClientError::Connect(error) => Error::connecting(&socket, error),
        ClientError::HungUp => Error::Closed { socket, phase },
        ClientError::Malformed(what) => Error::Malformed { socket, what },
        // An expired timeout of the socket.
        ClientError::Io(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Error::TimedOut { socket, timeout, phase }
        }
        ClientError::Io(error) => Error::Broken { socket, error },
    }
}
