use thiserror::Error;

use crate::MAX_DATA;

/// A client that does not keep to the protocol. There is no answer to that but to hang up: the bytes that follow
/// could mean anything.
///
/// ```
/// use qemu_pr_protocol::{Decoder, Descriptors, Violation};
///
/// let mut decoder = Decoder::<()>::new();
/// let violation = decoder.feed(&[0, 0, 0, 1], Descriptors::None).expect_err("no such feature");
/// assert_eq!(violation, Violation::UnknownFeatures(1));
/// assert_eq!(Violation::RULES[violation.rule()], "unknown-features");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Violation {
    /// The feature word names a feature that does not exist.
    #[error("Unknown protocol features {0:#010x}")]
    UnknownFeatures(u32),
    /// A CDB without a file descriptor.
    #[error("No file descriptor with its request")]
    NoDescriptor,
    /// A CDB with more than one file descriptor.
    #[error("More than one file descriptor with its request")]
    TooManyDescriptors,
    /// An operation code that is neither PERSISTENT RESERVE IN nor OUT.
    #[error("Invalid CDB: operation code {0:#04x} is neither PERSISTENT RESERVE IN nor OUT")]
    NotPersistentReserve(u8),
    /// More data than the protocol has room for.
    #[error("Invalid CDB: {0} bytes of data, and the protocol's limit is {MAX_DATA}")]
    TooLong(u32),
    /// The conversation ended in the middle of a request.
    #[error("Unexpected end-of-file in the middle of a request")]
    Truncated,
    /// More bytes were fed in than `needs` said: the caller's mistake, not the client's.
    #[error("More bytes than the request lacks")]
    Surplus,
}

impl Violation {
    /// The rules that can be broken, each in one word.
    pub const RULES: [&str; 7] = [
        "unknown-features",
        "no-descriptor",
        "too-many-descriptors",
        "not-persistent-reserve",
        "too-long",
        "truncated",
        "surplus",
    ];

    /// The place in [`Violation::RULES`] of the rule that was broken.
    pub const fn rule(&self) -> usize {
        match self {
            Self::UnknownFeatures(_) => 0,
            Self::NoDescriptor => 1,
            Self::TooManyDescriptors => 2,
            Self::NotPersistentReserve(_) => 3,
            Self::TooLong(_) => 4,
            Self::Truncated => 5,
            Self::Surplus => 6,
        }
    }
}
