//! What is sent to a device.

use std::fmt;

use scsi_pr::{
    BasicParameters, Cdb, DataIn, InAction, MoveParameters, OutAction, PersistentReserveOut, ReservationKey,
    ReservationType,
};

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

/// A PERSISTENT RESERVE OUT with its parameter list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub action: OutAction,
    pub kind: Option<ReservationType>,
    /// RESERVATION KEY: the sender's own.
    pub key: ReservationKey,
    /// SERVICE ACTION RESERVATION KEY: the new key, or that of the registrations to remove.
    pub service_action_key: ReservationKey,
    /// The parameter list.
    pub list: Vec<u8>,
}

impl Request {
    /// A request with two keys and nothing else.
    pub fn new(
        action: OutAction,
        kind: Option<ReservationType>,
        key: ReservationKey,
        service_action_key: ReservationKey,
    ) -> Self {
        Self::with_parameters(action, kind, &BasicParameters::keys(key, service_action_key))
    }

    /// Any request but REGISTER AND MOVE.
    pub fn with_parameters(action: OutAction, kind: Option<ReservationType>, parameters: &BasicParameters<'_>) -> Self {
        let list = written(parameters.length(), |out| parameters.write(out));
        let BasicParameters { key, service_action_key, .. } = *parameters;
        Self { action, kind, key, service_action_key, list }
    }

    /// REGISTER AND MOVE.
    pub fn register_and_move(parameters: &MoveParameters<'_>) -> Self {
        let list = written(parameters.length(), |out| parameters.write(out));
        let MoveParameters { key, service_action_key, .. } = *parameters;
        Self { action: OutAction::RegisterAndMove, kind: None, key, service_action_key, list }
    }

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        let length = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        PersistentReserveOut::new(self.action, self.kind, length).cdb()
    }

    /// Whether it may remove registrations of other initiators.
    pub const fn removes_others(&self) -> bool {
        self.action.is_preempt() || matches!(self.action, OutAction::Clear | OutAction::ReplaceLostReservation)
    }
}

fn written(length: usize, write: impl FnOnce(&mut DataIn<'_>)) -> Vec<u8> {
    let mut list = vec![0; length];
    write(&mut DataIn::new(&mut list));
    list
}
