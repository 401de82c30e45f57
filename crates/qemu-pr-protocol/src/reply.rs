use scsi_persistent_reservations::{Completion, SENSE_LENGTH, Sense, Status};

/// The bytes in front of the data: status, size, sense.
pub const HEADER_LENGTH: usize = 8 + SENSE_LENGTH;

/// The head of a reply. All of its 104 bytes are always sent, zeros where there is no sense data.
///
/// ```
/// use qemu_pr_protocol::ReplyHeader;
/// use scsi_persistent_reservations::{Completion, Status};
///
/// let bytes = ReplyHeader::new(&Completion::status(Status::BUSY)).to_bytes();
/// assert_eq!(bytes[..8], [0, 0, 0, 8, 0, 0, 0, 0]);
/// assert_eq!(ReplyHeader::parse(&bytes).map(|header| header.status), Some(Status::BUSY));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyHeader {
    /// The SCSI status, a 32-bit word on the wire.
    pub status: Status,
    /// How many bytes of parameter data follow. QEMU aborts its guest if that is more than it asked for, or is not
    /// zero in reply to a PERSISTENT RESERVE OUT.
    pub size: u32,
    /// The sense data.
    pub sense: Sense,
}

impl ReplyHeader {
    /// The header for what came of a command.
    pub fn new(completion: &Completion<'_>) -> Self {
        Self {
            status: completion.status,
            size: u32::try_from(completion.data.len()).unwrap_or(u32::MAX),
            sense: completion.sense.clone(),
        }
    }

    /// The bytes for the wire.
    pub fn to_bytes(&self) -> [u8; HEADER_LENGTH] {
        let mut bytes = [0; HEADER_LENGTH];
        bytes[..4].copy_from_slice(&u32::from(self.status.0).to_be_bytes());
        bytes[4..8].copy_from_slice(&self.size.to_be_bytes());
        bytes[8..].copy_from_slice(self.sense.as_bytes());
        bytes
    }

    /// How many bytes of parameter data follow.
    pub(crate) fn data_length(&self) -> usize {
        usize::try_from(self.size).unwrap_or(usize::MAX)
    }

    /// Reads a header; `None` where the status word is none that SCSI could have.
    pub fn parse(bytes: &[u8; HEADER_LENGTH]) -> Option<Self> {
        let (words, sense) = bytes.split_at(8);
        let [s0, s1, s2, s3, l0, l1, l2, l3] = *words.first_chunk()?;
        Some(Self {
            status: Status(u8::try_from(u32::from_be_bytes([s0, s1, s2, s3])).ok()?),
            size: u32::from_be_bytes([l0, l1, l2, l3]),
            sense: Sense::from_device(sense),
        })
    }
}
