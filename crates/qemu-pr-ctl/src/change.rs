//! Commands that change something, as the disk gets them.

use scsi_pr::{
    BASIC_LENGTH, BasicParameters, Cdb, DataIn, MoveParameters, OutAction, PersistentReserveOut, ReservationKey,
    ReservationType, TransportIds,
};

use crate::{
    cli::{Change, Device, Manner, Move, Preempt, Register, Reserve},
    show,
    transport::Port,
};

/// A PERSISTENT RESERVE OUT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub action: OutAction,
    pub kind: Option<ReservationType>,
    /// The sender's own key.
    pub key: ReservationKey,
    /// The new key, or that of the one to preempt.
    pub other: ReservationKey,
    /// The parameter list.
    pub list: Vec<u8>,
}

impl Order {
    /// An order with two keys and nothing else.
    pub fn new(action: OutAction, kind: Option<ReservationType>, key: ReservationKey, other: ReservationKey) -> Self {
        Self::basic(action, kind, &BasicParameters::keys(key, other))
    }

    /// What the command line says.
    pub fn of(change: &Change) -> Self {
        let zero = ReservationKey::ZERO;
        match change {
            Change::Register(of) => Self::register(of),
            Change::RegisterIgnore(of) => {
                Self::registering(OutAction::RegisterAndIgnoreExistingKey, zero, of.new_key, of.manner)
            }
            Change::Unregister(of) => Self::registering(OutAction::Register, of.own.key, zero, of.manner),
            Change::Reserve(of) => Self::reserve(of, OutAction::Reserve),
            Change::Release(of) => Self::reserve(of, OutAction::Release),
            Change::Clear(of) => Self::new(OutAction::Clear, None, of.own.key, zero),
            Change::Preempt(of) => Self::preempt(of, OutAction::Preempt),
            Change::PreemptAbort(of) => Self::preempt(of, OutAction::PreemptAndAbort),
            Change::Move(of) => Self::relocate(of),
            Change::ReplaceLost(of) => {
                let keys = BasicParameters::keys(zero, of.new_key);
                let parameters = BasicParameters { activate_persist: of.aptpl, ..keys };
                Self::basic(OutAction::ReplaceLostReservation, Some(of.kind.kind), &parameters)
            }
        }
    }

    fn basic(action: OutAction, kind: Option<ReservationType>, parameters: &BasicParameters<'_>) -> Self {
        let list = written(parameters.length(), |out| parameters.write(out));
        Self { action, kind, key: parameters.key, other: parameters.service_action_key, list }
    }

    fn register(of: &Register) -> Self {
        let ports: Vec<u8> = of.spec_i_pt.iter().flat_map(Port::as_bytes).copied().collect();
        let parameters = BasicParameters {
            initiator_ports: (!ports.is_empty()).then_some(TransportIds::new(&ports)),
            ..parameters(of.key, of.new_key, of.manner)
        };
        Self::basic(OutAction::Register, None, &parameters)
    }

    fn registering(action: OutAction, key: ReservationKey, new_key: ReservationKey, manner: Manner) -> Self {
        Self::basic(action, None, &parameters(key, new_key, manner))
    }

    fn reserve(of: &Reserve, action: OutAction) -> Self {
        Self::new(action, Some(of.kind.kind), of.own.key, ReservationKey::ZERO)
    }

    fn preempt(of: &Preempt, action: OutAction) -> Self {
        Self::new(action, Some(of.kind.kind), of.own.key, of.victim)
    }

    fn relocate(of: &Move) -> Self {
        let parameters = MoveParameters {
            key: of.own.key,
            service_action_key: of.new_key,
            unregister: of.unregister,
            activate_persist: of.aptpl,
            relative_target_port: of.target_port,
            transport_id: of.to.id(),
        };
        let list = written(parameters.length(), |out| parameters.write(out));
        Self { action: OutAction::RegisterAndMove, kind: None, key: of.own.key, other: of.new_key, list }
    }

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        let length = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        PersistentReserveOut::new(self.action, self.kind, length).cdb()
    }

    /// What holds now that the disk has carried it out.
    pub fn done(&self) -> String {
        let Self { action, key, other, .. } = self;
        let kind = self.kind.map_or_else(String::new, |kind| show::reservation_type(kind.code()));
        match action {
            OutAction::Register if other.is_zero() => format!("key {key} of this host is no longer registered"),
            OutAction::Register if self.list.len() > BASIC_LENGTH => {
                format!("key {other} is registered for this host and for the initiators that were named")
            }
            OutAction::Reserve => format!("reserved with key {key}: {kind}"),
            // A registrant that is not the holder may release too, and nothing happens.
            OutAction::Release => format!("key {key} of this host holds no reservation"),
            OutAction::Clear => "all registrations and the reservation are removed".to_owned(),
            OutAction::Preempt => format!("{} removed", victims(*other)),
            OutAction::PreemptAndAbort => format!("{} removed and their commands aborted", victims(*other)),
            OutAction::RegisterAndMove => format!("the reservation is held by the other initiator, with key {other}"),
            OutAction::ReplaceLostReservation => format!("key {other} is the only one registered, and holds: {kind}"),
            _ => format!("key {other} is registered for this host"),
        }
    }

    /// Whether registrations of others may end by it.
    pub const fn is_destructive(&self) -> bool {
        self.action.is_preempt() || matches!(self.action, OutAction::Clear | OutAction::ReplaceLostReservation)
    }
}

impl Change {
    /// The disk, and whether the person at the keyboard is sure already.
    pub const fn device(&self) -> (&Device, bool) {
        match self {
            Self::Register(of) => (&of.device, true),
            Self::RegisterIgnore(of) => (&of.device, true),
            Self::Unregister(of) => (&of.device, true),
            Self::Reserve(of) | Self::Release(of) => (&of.device, true),
            Self::Clear(of) => (&of.device, of.sure.yes),
            Self::Preempt(of) | Self::PreemptAbort(of) => (&of.device, of.sure.yes),
            Self::Move(of) => (&of.device, true),
            Self::ReplaceLost(of) => (&of.device, of.sure.yes),
        }
    }
}

fn parameters(key: ReservationKey, new_key: ReservationKey, manner: Manner) -> BasicParameters<'static> {
    let Manner { aptpl, all_target_ports } = manner;
    BasicParameters { activate_persist: aptpl, all_target_ports, ..BasicParameters::keys(key, new_key) }
}

fn written(length: usize, write: impl FnOnce(&mut DataIn<'_>)) -> Vec<u8> {
    let mut list = vec![0; length];
    write(&mut DataIn::new(&mut list));
    list
}

fn victims(key: ReservationKey) -> String {
    if key.is_zero() {
        "the registrations of everyone else are".to_owned()
    } else {
        format!("the registrations with key {key} are")
    }
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
