use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
    time::Duration,
};

use scsi_pr::{Cdb, Command, Sense, Status};
use thiserror::Error;

use crate::{HEADER_LENGTH, MAX_DATA, ReplyHeader, channel};

/// The client's half of a conversation: QEMU's part, for tools and tests. It blocks.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    features: u32,
    /// What each command that has no answer yet allows in its answer, the oldest first.
    allowed: VecDeque<Allowed>,
}

/// The data that the answer to a command may have.
#[derive(Clone, Copy, Debug)]
enum Allowed {
    /// A PERSISTENT RESERVE OUT: none.
    Nothing,
    /// A PERSISTENT RESERVE IN: up to its allocation length, in bytes.
    UpTo(usize),
}

impl Allowed {
    fn by(cdb: &Cdb) -> Self {
        match cdb.command() {
            Command::Out(_) => Self::Nothing,
            Command::In(command) => Self::UpTo(command.allocation_length.into()),
        }
    }

    /// QEMU takes no more than this: it aborts its guest.
    fn check(self, size: usize) -> Result<(), ClientError> {
        match self {
            Self::Nothing if size > 0 => Err(ClientError::Malformed("the reply to a PERSISTENT RESERVE OUT has data")),
            Self::UpTo(limit) if size > limit => Err(ClientError::Malformed("the reply has more data than requested")),
            _ => Ok(()),
        }
    }
}

/// The answer to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The SCSI status.
    pub status: Status,
    /// The sense data.
    pub sense: Sense,
    /// The parameter data of a PERSISTENT RESERVE IN.
    pub data: Vec<u8>,
}

/// Why there is no answer. What a device answers, however bad, is a [`Reply`].
#[derive(Debug, Error)]
pub enum ClientError {
    /// The socket could not be reached.
    #[error("cannot connect to the helper's socket")]
    Connect(#[source] io::Error),
    /// The helper closed the connection: it does that to whoever breaks the protocol, when it has no room for more
    /// connections, and when it ends.
    #[error("the helper closed the connection")]
    HungUp,
    /// The connection broke.
    #[error("connection to the helper failed")]
    Io(#[source] io::Error),
    /// The answer is invalid.
    #[error("invalid answer from the helper: {0}")]
    Malformed(&'static str),
}

impl Client {
    /// Connects and negotiates.
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, ClientError> {
        Self::over(UnixStream::connect(path).map_err(ClientError::Connect)?)
    }

    /// Negotiates over a connection that stands.
    pub fn over(mut stream: UnixStream) -> Result<Self, ClientError> {
        let mut word = [0; 4];
        stream.read_exact(&mut word).map_err(broken)?;
        // No feature is defined, so none is asked for.
        stream.write_all(&[0; 4]).map_err(broken)?;
        Ok(Self { stream, features: u32::from_be_bytes(word), allowed: VecDeque::new() })
    }

    /// The features that the helper offers.
    pub const fn features(&self) -> u32 {
        self.features
    }

    /// Bounds every wait for the helper; `None` waits for as long as it takes.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(timeout)?;
        self.stream.set_write_timeout(timeout)
    }

    /// Sends one command for a device and waits for the answer.
    pub fn execute(&mut self, device: impl AsFd, cdb: &Cdb, parameters: &[u8]) -> Result<Reply, ClientError> {
        self.send(device, cdb, parameters)?;
        self.receive()
    }

    /// Sends one command without waiting for its answer.
    pub fn send(&mut self, device: impl AsFd, cdb: &Cdb, parameters: &[u8]) -> Result<(), ClientError> {
        self.allowed.push_back(Allowed::by(cdb));
        let cdb = cdb.as_bytes();
        let sent = channel::send_with_descriptor(&self.stream, cdb, parameters, device.as_fd())
            .map_err(|error| broken(error.into()))?;
        self.stream.write_all(cdb.get(sent..).unwrap_or_default()).map_err(broken)?;
        let sent = sent.saturating_sub(cdb.len());
        self.stream.write_all(&parameters[sent..]).map_err(broken)
    }

    /// Waits for the answer to the oldest command that has none.
    ///
    /// Data that the command did not ask for are an error: QEMU aborts its guest because of them, so nobody else is to
    /// take them for an answer. They are read all the same, and what comes next is the next answer.
    pub fn receive(&mut self) -> Result<Reply, ClientError> {
        let mut header = [0; HEADER_LENGTH];
        self.stream.read_exact(&mut header).map_err(broken)?;
        let header = ReplyHeader::parse(&header).ok_or(ClientError::Malformed("the status is not a SCSI status"))?;
        let size = usize::try_from(header.size).unwrap_or(usize::MAX);
        if size > MAX_DATA {
            return Err(ClientError::Malformed("the reply announces more data than the protocol allows"));
        }
        let mut data = vec![0; size];
        self.stream.read_exact(&mut data).map_err(broken)?;
        // To what was never asked, any data are too many.
        self.allowed.pop_front().unwrap_or(Allowed::Nothing).check(size)?;
        Ok(Reply { status: header.status, sense: header.sense, data })
    }
}

fn broken(error: io::Error) -> ClientError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            ClientError::HungUp
        }
        _ => ClientError::Io(error),
    }
}
