use alloc::{collections::VecDeque, vec::Vec};
use core::{fmt, mem};

use scsi_persistent_reservations::{Cdb, Command, Sense, SenseKey, Status};
use thiserror::Error;

use crate::{HEADER_LENGTH, MAX_DATA, ReplyHeader};

const UNIT_ATTENTION: SenseKey = SenseKey(0x6);

/// The answer to one command.
///
/// ```
/// use qemu_pr_protocol::Reply;
/// use scsi_persistent_reservations::{ReadKeys, Sense, Status};
///
/// let reply = Reply { status: Status::GOOD, sense: Sense::NONE, data: vec![0, 0, 0, 7, 0, 0, 0, 0] };
/// assert_eq!(ReadKeys::parse(&reply.data)?.generation, 7);
/// assert_eq!(reply.to_string(), "GOOD");
/// # Ok::<(), scsi_persistent_reservations::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The SCSI status.
    pub status: Status,
    /// The sense data.
    pub sense: Sense,
    /// The parameter data of a PERSISTENT RESERVE IN.
    pub data: Vec<u8>,
}

impl Reply {
    /// Whether a unit attention was reported instead of carrying the command out.
    pub fn is_unit_attention(&self) -> bool {
        self.status == Status::CHECK_CONDITION && self.sense.code().is_some_and(|code| code.key == UNIT_ATTENTION)
    }
}

impl fmt::Display for Reply {
    /// The sense data of CHECK CONDITION, otherwise the status.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status, self.sense.code()) {
            (Status::CHECK_CONDITION, Some(code)) => code.fmt(f),
            (status, _) => status.fmt(f),
        }
    }
}

/// What a helper sent is not a reply to what it was asked. What a device answers, however bad, is a [`Reply`].
///
/// ```
/// use qemu_pr_protocol::{ClientConnection, ReplyError};
///
/// let mut connection = ClientConnection::<()>::new();
/// connection.feed(&[0; 4]).expect("the helper's features");
/// assert_eq!(connection.feed(&[0]).err(), Some(ReplyError::Unexpected));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The status word is above 255.
    #[error("the status is not a SCSI status")]
    InvalidStatus,
    /// There is more data than any reply may have.
    #[error("the reply announces more data than the protocol allows")]
    TooLong,
    /// QEMU aborts its guest because of such a reply.
    #[error("the reply to a PERSISTENT RESERVE OUT has data")]
    UnwantedData,
    /// There is more data than the command's allocation length; QEMU aborts its guest because of such a reply.
    #[error("the reply has more data than requested")]
    ExcessData,
    /// There is no command that has no reply yet.
    #[error("a reply without a request")]
    Unexpected,
    /// More bytes were fed in than `needs` said: the caller's mistake, not the helper's.
    #[error("more bytes than the reply lacks")]
    Surplus,
    /// The helper closed the connection and owes a reply.
    #[error("unexpected end-of-file instead of a reply")]
    Truncated,
}

/// The replies to commands that were sent, in their order, out of bytes that come in any pieces.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    /// What each command that has no reply yet allows in it, the oldest first.
    allowed: VecDeque<Allowed>,
    /// What has arrived of the next reply.
    pieces: Vec<u8>,
    /// The header of the next reply, once it has arrived.
    header: Option<ReplyHeader>,
}

/// The data that the reply to a command may have.
#[derive(Clone, Copy, Debug)]
enum Allowed {
    /// A PERSISTENT RESERVE OUT: none.
    Nothing,
    /// A PERSISTENT RESERVE IN: up to its allocation length, in bytes.
    UpTo(usize),
}

impl Replies {
    /// A reply to this command will come.
    pub fn expect(&mut self, cdb: &Cdb) {
        self.allowed.push_back(match cdb.command() {
            Command::Out(_) => Allowed::Nothing,
            Command::In(command) => Allowed::UpTo(command.allocation_length.into()),
        });
    }

    /// Whether no reply is owed.
    pub fn is_idle(&self) -> bool {
        self.allowed.is_empty()
    }

    /// How many bytes the next reply lacks, as far as is known yet; never zero.
    pub fn needs(&self) -> usize {
        self.length() - self.pieces.len()
    }

    fn length(&self) -> usize {
        self.header.as_ref().map_or(HEADER_LENGTH, ReplyHeader::data_length)
    }

    /// Takes the next bytes, at most [`Replies::needs`] of them.
    ///
    /// # Errors
    ///
    /// After data that the command did not ask for, the next reply can be read all the same. After any other error the
    /// bytes that follow could mean anything.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<Reply>, ReplyError> {
        let allowed = *self.allowed.front().ok_or(ReplyError::Unexpected)?;
        if bytes.len() > self.needs() {
            return Err(ReplyError::Surplus);
        }
        self.pieces.extend_from_slice(bytes);
        if self.header.is_none()
            && let Some(header) = self.pieces.first_chunk()
        {
            let header = ReplyHeader::parse(header).ok_or(ReplyError::InvalidStatus)?;
            if header.data_length() > MAX_DATA {
                return Err(ReplyError::TooLong);
            }
            self.header = Some(header);
            self.pieces.clear();
        }
        let length = self.length();
        let Some(header) = self.header.take_if(|_| self.pieces.len() == length) else { return Ok(None) };
        self.allowed.pop_front();
        let data = mem::take(&mut self.pieces);
        match allowed {
            Allowed::Nothing if length > 0 => Err(ReplyError::UnwantedData),
            Allowed::UpTo(limit) if length > limit => Err(ReplyError::ExcessData),
            _ => Ok(Some(Reply { status: header.status, sense: header.sense, data })),
        }
    }
}
