use thiserror::Error;

use crate::MAX_DATA;

/// A client that does not keep to the protocol. There is no answer to that but to hang up: the bytes that follow
/// could mean anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// The feature word names a feature that does not exist.
    #[error("it asked for the unknown protocol features {0:#010x}")]
    UnknownFeatures(u32),
    /// A CDB without a file descriptor.
    #[error("its request carried no file descriptor")]
    NoDescriptor,
    /// A CDB with more than one file descriptor.
    #[error("its request carried more than one file descriptor")]
    TooManyDescriptors,
    /// An operation code that is neither PERSISTENT RESERVE IN nor OUT.
    #[error("its request is not a persistent reservation command (operation code {0:#04x})")]
    NotPersistentReserve(u8),
    /// More data than the protocol has room for.
    #[error("its request is about {0} bytes of data, the protocol's limit is {MAX_DATA}")]
    TooLong(u32),
    /// The conversation ended in the middle of a request.
    #[error("it hung up in the middle of a request")]
    Truncated,
}
