//! What is sent to a device.

use std::fmt;

use scsi_pr::{InAction, OutAction};

/// A service action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// PERSISTENT RESERVE IN.
    In(InAction),
    /// PERSISTENT RESERVE OUT.
    Out(OutAction),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(action) => action.fmt(f),
            Self::Out(action) => action.fmt(f),
        }
    }
}

/// What a device is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// PERSISTENT RESERVE IN only.
    Read,
    /// Both: the helper refuses changes on a descriptor that is open for reading only.
    Write,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Read => "for reading",
            Self::Write => "for reading and writing",
        })
    }
}
