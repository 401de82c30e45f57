use alloc::{collections::VecDeque, vec::Vec};

use scsi_persistent_reservations::Cdb;
use thiserror::Error;

use crate::{
    FEATURES, MAX_DATA, Reply, ReplyError, WIRE_CDB,
    decoder::{fill, parameter_length},
    replies::Replies,
};

/// The client's half of a conversation, as a state machine without I/O: what a virtual machine monitor needs in its
/// own event loop.
///
/// [`request`](Self::request) takes a command at any time, [`next_write`](Self::next_write) says what to send next,
/// [`feed`](Self::feed) takes what has arrived. After an error the connection is of no use: it sends nothing, and
/// every further call returns the same error. Whether a command whose reply is missing was carried out is not known
/// then.
///
/// `D` is the type of the descriptors: an owned one, a borrowed one, anything for a test.
///
/// ```
/// use qemu_pr_protocol::{ClientConnection, ClientStep};
/// use scsi_persistent_reservations::{InAction, PersistentReserveIn, Status};
///
/// let mut connection = ClientConnection::new();
/// connection.request("the disk", &PersistentReserveIn::new(InAction::ReadKeys, 8).cdb(), &[])?;
/// assert!(connection.next_write().is_none(), "the helper speaks first");
///
/// // Its features, which this side answers with its own.
/// assert!(matches!(connection.feed(&[0; 4])?, ClientStep::Negotiated { features: 0 }));
/// let features = connection.next_write().expect("features");
/// assert_eq!((features.bytes, features.descriptor), (&[0; 4][..], None));
/// connection.written(4);
///
/// let request = connection.next_write().expect("the request");
/// assert_eq!((request.bytes.len(), request.descriptor), (16, Some(&"the disk")));
/// connection.written(16);
///
/// // Status, size and sense, then eight bytes: no key is registered.
/// let mut header = [0; qemu_pr_protocol::HEADER_LENGTH];
/// header[7] = 8;
/// assert!(matches!(connection.feed(&header)?, ClientStep::Incomplete));
/// let ClientStep::Reply(reply) = connection.feed(&[0; 8])? else { unreachable!() };
/// assert_eq!((reply.status, reply.data), (Status::GOOD, vec![0; 8]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ClientConnection<D> {
    /// The helper's feature word, until it is complete.
    features: Option<([u8; 4], usize)>,
    /// What is not sent completely yet, the oldest first.
    queue: VecDeque<Message<D>>,
    replies: Replies,
    broken: Option<ReplyError>,
}

/// The bytes of a message, or what is left of them.
#[derive(Debug)]
struct Message<D> {
    bytes: Vec<u8>,
    sent: usize,
    descriptor: Option<D>,
    /// The command, unless it is the feature word.
    cdb: Option<Cdb>,
}

/// What is to be sent next.
///
/// ```
/// use qemu_pr_protocol::{ClientConnection, Outgoing, channel};
/// # use std::os::{fd::{AsFd, OwnedFd}, unix::net::UnixStream};
///
/// /// Sends what the socket takes.
/// fn send(connection: &mut ClientConnection<OwnedFd>, socket: &UnixStream) -> rustix::io::Result<()> {
///     while let Some(Outgoing { bytes, descriptor }) = connection.next_write() {
///         let sent = match descriptor {
///             Some(disk) => channel::send_with_descriptor(socket, bytes, &[], disk.as_fd()),
///             None => channel::send(socket, bytes, &[]),
///         };
///         connection.written(sent?);
///     }
///     Ok(())
/// }
/// # let (ours, _theirs) = UnixStream::pair()?;
/// # let mut connection = ClientConnection::new();
/// # connection.feed(&[0; 4])?;
/// # send(&mut connection, &ours)?;
/// # assert!(connection.next_write().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Outgoing<'a, D> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// The descriptor that has to go with the first of them, in `SCM_RIGHTS`.
    pub descriptor: Option<&'a D>,
}

/// What became of the bytes that were fed in: see [`ClientConnection`].
#[derive(Debug)]
pub enum ClientStep {
    /// They are kept; the rest is still to come.
    Incomplete,
    /// The helper's feature word is complete.
    Negotiated {
        /// The features that the helper offers. This side asks for none of them.
        features: u32,
    },
    /// The reply to the oldest command that had none.
    Reply(Reply),
}

/// Why a command is not sent. A helper closes the connection of a client that does.
///
/// ```
/// use qemu_pr_protocol::{ClientConnection, RequestError};
/// use scsi_persistent_reservations::{PrOut, ReservationKey};
///
/// let mut connection = ClientConnection::new();
/// let register = PrOut::register(ReservationKey::ZERO, ReservationKey(0xabc));
/// let error = connection.request("the disk", &register.cdb(), &[0; 23]).expect_err("a byte is missing");
/// assert_eq!(error, RequestError::ListLength { announced: 24, given: 23 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The allocation length or the parameter list length is over the protocol's limit.
    #[error("the CDB asks for more data than the protocol's limit of {MAX_DATA} bytes")]
    TooLong,
    /// The parameter list is not as long as the CDB says; it has to be empty with a PERSISTENT RESERVE IN.
    #[error("the CDB announces a parameter list of {announced} bytes, and there are {given}")]
    ListLength {
        /// The length in the CDB.
        announced: usize,
        /// The length of the list.
        given: usize,
    },
    /// An earlier error ended the conversation.
    #[error("the connection to the helper is broken: {0}")]
    Broken(#[source] ReplyError),
}

impl<D> Default for ClientConnection<D> {
    fn default() -> Self {
        Self { features: Some(([0; 4], 0)), queue: VecDeque::new(), replies: Replies::default(), broken: None }
    }
}

impl<D> ClientConnection<D> {
    /// A connection at the start of a conversation.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a command for a device, to be sent after those that were taken before.
    ///
    /// # Errors
    ///
    /// Where a helper would close the connection, or wait for bytes that never come; and after an earlier error.
    pub fn request(&mut self, device: D, cdb: &Cdb, parameters: &[u8]) -> Result<(), RequestError> {
        if let Some(error) = self.broken {
            return Err(RequestError::Broken(error));
        }
        let announced = parameter_length(cdb).map_err(|_| RequestError::TooLong)?;
        if announced != parameters.len() {
            return Err(RequestError::ListLength { announced, given: parameters.len() });
        }
        let mut bytes = Vec::with_capacity(WIRE_CDB + parameters.len());
        bytes.extend_from_slice(cdb.as_bytes());
        bytes.extend_from_slice(parameters);
        self.queue.push_back(Message { bytes, sent: 0, descriptor: Some(device), cdb: Some(*cdb) });
        Ok(())
    }

    /// What is to be sent next, if anything is. Call [`written`](Self::written) with how much of it was sent.
    pub fn next_write(&self) -> Option<Outgoing<'_, D>> {
        if self.features.is_some() {
            return None;
        }
        let Message { bytes, sent, descriptor, .. } = self.queue.front()?;
        Some(Outgoing { bytes: &bytes[*sent..], descriptor: descriptor.as_ref() })
    }

    /// So many bytes of the last [`next_write`](Self::next_write) were sent. Its descriptor is dropped here if there
    /// was one: the kernel has taken its own copy with the first byte.
    pub fn written(&mut self, length: usize) {
        let Some(first) = self.queue.front_mut() else { return };
        first.sent = (first.sent + length).min(first.bytes.len());
        if first.sent > 0 {
            first.descriptor = None;
        }
        if first.sent == first.bytes.len() {
            let message = self.queue.pop_front();
            if let Some(cdb) = message.and_then(|message| message.cdb) {
                self.replies.expect(&cdb);
            }
        }
    }

    /// How many bytes the feature word or the next reply lacks, as far as is known yet: how much to read at most.
    /// Never zero, so that a read of no bytes is the end of the stream.
    pub fn needs(&self) -> usize {
        match &self.features {
            Some((word, have)) => word.len() - have,
            None => self.replies.needs(),
        }
    }

    /// Takes the next bytes, at most [`needs`](Self::needs) of them.
    ///
    /// # Errors
    ///
    /// Where they are no reply to the commands that were sent. The connection is of no use then; requests that are not
    /// sent yet are dropped with their descriptors.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<ClientStep, ReplyError> {
        let step = match self.broken {
            Some(error) => return Err(error),
            None => self.take(bytes),
        };
        if let Err(error) = step {
            self.broken = Some(error);
            self.queue.clear();
        }
        step
    }

    fn take(&mut self, bytes: &[u8]) -> Result<ClientStep, ReplyError> {
        let Some((word, have)) = &mut self.features else {
            return self.replies.feed(bytes).map(|reply| reply.map_or(ClientStep::Incomplete, ClientStep::Reply));
        };
        *have = fill(word, *have, bytes).ok_or(ReplyError::Surplus)?;
        if *have < word.len() {
            return Ok(ClientStep::Incomplete);
        }
        let features = u32::from_be_bytes(*word);
        self.features = None;
        let bytes = FEATURES.to_be_bytes().to_vec();
        self.queue.push_front(Message { bytes, sent: 0, descriptor: None, cdb: None });
        Ok(ClientStep::Negotiated { features })
    }

    /// The helper sends no more. That is fine where it owes nothing: it closes connections that are idle, and all of
    /// them when it ends. Commands that were not sent can be sent over a new connection.
    ///
    /// # Errors
    ///
    /// Where a reply or the feature word is missing, and after an earlier error.
    pub fn end(&self) -> Result<(), ReplyError> {
        match self.broken {
            Some(error) => Err(error),
            None if self.features.is_none() && self.replies.is_idle() => Ok(()),
            None => Err(ReplyError::Truncated),
        }
    }
}
