use std::{
    io::{self, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
    time::Duration,
};

use scsi_persistent_reservations::Cdb;
use thiserror::Error;

use crate::{MAX_DATA, Reply, ReplyError, channel, replies::Replies};

/// The client's half of a conversation: QEMU's part, for tools and tests. It blocks.
///
/// ```no_run
/// use qemu_pr_protocol::Client;
/// use scsi_persistent_reservations::{InAction, PersistentReserveIn, ReadKeys};
///
/// let disk = std::fs::File::open("/dev/disk/by-id/wwn-0x5000c500a1b2c3d4")?;
/// let mut client = Client::connect("/run/qemu-pr-helper.sock")?;
/// let reply = client.execute(&disk, &PersistentReserveIn::new(InAction::ReadKeys, 8192).cdb(), &[])?;
/// for key in ReadKeys::parse(&reply.data).iter().flat_map(ReadKeys::keys) {
///     println!("{key}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    features: u32,
    replies: Replies,
}

/// Why there is no answer. What a device answers, however bad, is a [`Reply`].
///
/// ```
/// use qemu_pr_protocol::{Client, ClientError};
///
/// match Client::connect("/run/no-such-directory/helper.sock") {
///     Err(ClientError::Connect(error)) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
///     other => panic!("{other:?}"),
/// }
/// ```
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
    Malformed(#[from] ReplyError),
}

impl Client {
    /// Connects and negotiates.
    ///
    /// # Errors
    ///
    /// Where the socket cannot be reached, or no feature word comes.
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, ClientError> {
        Self::over(UnixStream::connect(path).map_err(ClientError::Connect)?)
    }

    /// Negotiates over a connection that stands.
    ///
    /// # Errors
    ///
    /// Where no feature word comes.
    pub fn over(mut stream: UnixStream) -> Result<Self, ClientError> {
        let mut word = [0; 4];
        stream.read_exact(&mut word).map_err(broken)?;
        // No feature is defined, so none is asked for.
        stream.write_all(&[0; 4]).map_err(broken)?;
        Ok(Self { stream, features: u32::from_be_bytes(word), replies: Replies::default() })
    }

    /// The features that the helper offers.
    pub const fn features(&self) -> u32 {
        self.features
    }

    /// Bounds every wait for the helper; `None` waits for as long as it takes.
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2); a timeout of zero.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(timeout)?;
        self.stream.set_write_timeout(timeout)
    }

    /// Sends one command for a device and waits for the answer.
    ///
    /// # Errors
    ///
    /// Those of [`Client::send`] and [`Client::receive`].
    pub fn execute(&mut self, device: impl AsFd, cdb: &Cdb, parameters: &[u8]) -> Result<Reply, ClientError> {
        self.send(device, cdb, parameters)?;
        self.receive()
    }

    /// Sends one command without waiting for its answer.
    ///
    /// # Errors
    ///
    /// Where the connection is gone, or the timeout expires.
    pub fn send(&mut self, device: impl AsFd, cdb: &Cdb, parameters: &[u8]) -> Result<(), ClientError> {
        self.replies.expect(cdb);
        let cdb = cdb.as_bytes();
        let sent = channel::send_with_descriptor(&self.stream, cdb, parameters, device.as_fd())
            .map_err(|error| broken(error.into()))?;
        self.stream.write_all(cdb.get(sent..).unwrap_or_default()).map_err(broken)?;
        let sent = sent.saturating_sub(cdb.len());
        self.stream.write_all(&parameters[sent..]).map_err(broken)
    }

    /// Waits for the answer to the oldest command that has none.
    ///
    /// # Errors
    ///
    /// Where the connection is gone, the timeout expires, or what comes is no reply.
    ///
    /// Data that the command did not ask for are an error: QEMU aborts its guest because of them, so nobody else is to
    /// take them for an answer. They are read all the same, and what comes next is the next answer.
    pub fn receive(&mut self) -> Result<Reply, ClientError> {
        let mut buffer = [0; MAX_DATA];
        loop {
            let room = &mut buffer[..self.replies.needs()];
            match self.stream.read(room) {
                Ok(0) => return Err(ClientError::HungUp),
                Ok(length) => {
                    if let Some(reply) = self.replies.feed(&room[..length])? {
                        return Ok(reply);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(error)),
            }
        }
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
