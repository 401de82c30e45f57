use core::fmt;

/// Why bytes are not what they were read as: a CDB, a parameter list, parameter data, a TransportID.
///
/// Parameter data may end anywhere, because the allocation length cuts it off: only where not even its header is there
/// it is an error. A device answers a parameter list that is [`TooShort`](Self::TooShort) with PARAMETER LIST LENGTH
/// ERROR, and any other one with INVALID FIELD IN PARAMETER LIST.
///
/// ```
/// use scsi_persistent_reservations::{BasicParameters, Cdb, ParseError, ReadKeys, TransportId};
///
/// assert_eq!(Cdb::new([0x12; 16]), Err(ParseError::OperationCode(0x12)));
/// assert_eq!(BasicParameters::parse(&[0; 23]), Err(ParseError::TooShort));
/// assert_eq!(ReadKeys::parse(&[0; 7]), Err(ParseError::TooShort));
/// assert_eq!(TransportId::parse(&[0x06; 23]), Err(ParseError::TooShort));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// The operation code of the CDB is neither 5Eh nor 5Fh.
    OperationCode(u8),
    /// The data ends inside its fields.
    TooShort,
    /// A length inside the data and the length of the data do not agree.
    Length,
    /// An iSCSI name whose length field is under 20 or no multiple of four (SPC-4 7.6.4.6).
    IscsiLength,
    /// An iSCSI name without its terminator, or a session without `,i,0x` and digits after it.
    IscsiName,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::OperationCode(code) => {
                return write!(f, "operation code {code:#04x} is neither PERSISTENT RESERVE IN nor OUT");
            }
            Self::TooShort => "the data ends inside its fields",
            Self::Length => "a length inside the data disagrees with the length of the data",
            Self::IscsiLength => "the length of the iSCSI name is under 20 or no multiple of four",
            Self::IscsiName => "the iSCSI name has no terminator or no session identifier where its format wants one",
        })
    }
}

impl core::error::Error for ParseError {}
