//! What is sent to a device.

use std::fmt;

use scsi_persistent_reservations::{Cdb, InAction, OutAction, PrOut, ReservationKey, ReservationType};

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

/// A PERSISTENT RESERVE OUT as it is sent, and what has to be known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub action: OutAction,
    pub kind: Option<ReservationType>,
    /// RESERVATION KEY: the sender's own.
    pub key: ReservationKey,
    /// SERVICE ACTION RESERVATION KEY: the new key, or that of the registrations to remove.
    pub service_action_key: ReservationKey,
    pub cdb: Cdb,
    /// The parameter list.
    pub list: Vec<u8>,
}

impl From<PrOut<'_>> for Request {
    fn from(command: PrOut<'_>) -> Self {
        Self {
            action: command.action(),
            kind: command.reservation_type(),
            key: command.key(),
            service_action_key: command.service_action_key(),
            cdb: command.cdb(),
            list: command.list(),
        }
    }
}

impl Request {
    /// Whether it may remove registrations of other initiators.
    pub const fn removes_others(&self) -> bool {
        match self.action {
            OutAction::Preempt | OutAction::PreemptAndAbort | OutAction::Clear | OutAction::ReplaceLostReservation => {
                true
            }
            OutAction::Register
            | OutAction::RegisterAndIgnoreExistingKey
            | OutAction::RegisterAndMove
            | OutAction::Reserve
            | OutAction::Release => false,
        }
    }
}
