#[cfg(feature = "alloc")]
use alloc::vec::Vec;

use crate::{
    BasicParameters, Cdb, DataIn, MoveParameters, OutAction, PersistentReserveOut, ReservationKey, ReservationType,
    TransportIds,
};

/// A PERSISTENT RESERVE OUT to be sent: its CDB and the parameter list that belongs to it, from one statement of what
/// is wanted.
///
/// ```
/// use scsi_persistent_reservations::{PrOut, ReservationKey, ReservationType};
///
/// // The key 123h takes the disk from the key abch.
/// let (key, victim) = (ReservationKey(0x123), ReservationKey(0xabc));
/// let register = PrOut::register(ReservationKey::ZERO, key).aptpl(true);
/// assert_eq!(register.cdb().command_bytes(), [0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0]);
///
/// let preempt = PrOut::preempt(key, victim, ReservationType::WriteExclusiveRegistrantsOnly);
/// assert_eq!(preempt.cdb().command_bytes(), [0x5f, 4, 5, 0, 0, 0, 0, 0, 24, 0]);
/// assert_eq!(preempt.list()[8..16], victim.to_bytes());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrOut<'list> {
    action: OutAction,
    scope_type: u8,
    list: List<'list>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List<'list> {
    Basic(BasicParameters<'list>),
    Move(MoveParameters<'list>),
}

impl<'list> PrOut<'list> {
    /// Any service action but REGISTER AND MOVE, with these parameters; `scope_type` is byte 2 of the CDB.
    pub const fn new(action: OutAction, scope_type: u8, parameters: BasicParameters<'list>) -> Self {
        Self { action, scope_type, list: List::Basic(parameters) }
    }

    const fn with_keys(action: OutAction, scope_type: u8, key: ReservationKey, other: ReservationKey) -> Self {
        Self::new(action, scope_type, BasicParameters::keys(key, other))
    }

    /// REGISTER: from `key` (zero where none is registered) to `new_key` (zero to unregister).
    pub const fn register(key: ReservationKey, new_key: ReservationKey) -> Self {
        Self::with_keys(OutAction::Register, 0, key, new_key)
    }

    /// REGISTER AND IGNORE EXISTING KEY.
    pub const fn register_and_ignore_existing_key(new_key: ReservationKey) -> Self {
        Self::with_keys(OutAction::RegisterAndIgnoreExistingKey, 0, ReservationKey::ZERO, new_key)
    }

    /// REGISTER AND MOVE.
    pub const fn register_and_move(parameters: MoveParameters<'list>) -> Self {
        Self { action: OutAction::RegisterAndMove, scope_type: 0, list: List::Move(parameters) }
    }

    /// RESERVE of the logical unit.
    pub const fn reserve(key: ReservationKey, kind: ReservationType) -> Self {
        Self::with_keys(OutAction::Reserve, kind.code(), key, ReservationKey::ZERO)
    }

    /// RELEASE of the logical unit; the type has to be that of the reservation.
    pub const fn release(key: ReservationKey, kind: ReservationType) -> Self {
        Self::with_keys(OutAction::Release, kind.code(), key, ReservationKey::ZERO)
    }

    /// CLEAR: all registrations and the reservation.
    pub const fn clear(key: ReservationKey) -> Self {
        Self::with_keys(OutAction::Clear, 0, key, ReservationKey::ZERO)
    }

    /// PREEMPT of the registrations with the key `victim`; where these hold the reservation, `kind` is the type of the
    /// new one.
    pub const fn preempt(key: ReservationKey, victim: ReservationKey, kind: ReservationType) -> Self {
        Self::with_keys(OutAction::Preempt, kind.code(), key, victim)
    }

    /// PREEMPT AND ABORT: a PREEMPT that aborts the commands of those that lose their registration as well.
    pub const fn preempt_and_abort(key: ReservationKey, victim: ReservationKey, kind: ReservationType) -> Self {
        Self::with_keys(OutAction::PreemptAndAbort, kind.code(), key, victim)
    }

    /// REPLACE LOST RESERVATION (SPC-4 5.12.11.5).
    pub const fn replace_lost_reservation(new_key: ReservationKey, kind: ReservationType) -> Self {
        Self::with_keys(OutAction::ReplaceLostReservation, kind.code(), ReservationKey::ZERO, new_key)
    }

    /// Sets APTPL: registrations and reservation are to persist through power loss.
    #[must_use]
    pub const fn aptpl(mut self, activate_persist: bool) -> Self {
        match &mut self.list {
            List::Basic(parameters) => parameters.activate_persist = activate_persist,
            List::Move(parameters) => parameters.activate_persist = activate_persist,
        }
        self
    }

    /// Sets `ALL_TG_PT`: the registration is for every target port. REGISTER AND MOVE has no such bit and stays as it
    /// is.
    #[must_use]
    pub const fn all_target_ports(mut self, all_target_ports: bool) -> Self {
        if let List::Basic(parameters) = &mut self.list {
            parameters.all_target_ports = all_target_ports;
        }
        self
    }

    /// Sets `SPEC_I_PT` and adds these TransportIDs. REGISTER AND MOVE has no such list and stays as it is.
    #[must_use]
    pub const fn initiator_ports(mut self, ports: TransportIds<'list>) -> Self {
        if let List::Basic(parameters) = &mut self.list {
            parameters.initiator_ports = Some(ports);
        }
        self
    }

    /// The service action.
    pub const fn action(&self) -> OutAction {
        self.action
    }

    /// The type, where the service action has a use for one and SPC names it.
    pub const fn reservation_type(&self) -> Option<ReservationType> {
        if self.action.uses_scope_and_type() { ReservationType::from_scope_type(self.scope_type) } else { None }
    }

    /// RESERVATION KEY: the sender's own.
    pub const fn key(&self) -> ReservationKey {
        match &self.list {
            List::Basic(parameters) => parameters.key,
            List::Move(parameters) => parameters.key,
        }
    }

    /// SERVICE ACTION RESERVATION KEY: the new key, or that of the registrations to remove.
    pub const fn service_action_key(&self) -> ReservationKey {
        match &self.list {
            List::Basic(parameters) => parameters.service_action_key,
            List::Move(parameters) => parameters.service_action_key,
        }
    }

    /// The CDB; its PARAMETER LIST LENGTH is that of the list.
    pub fn cdb(&self) -> Cdb {
        let parameter_list_length = u32::try_from(self.list_length()).unwrap_or(u32::MAX);
        let Self { action, scope_type, .. } = *self;
        PersistentReserveOut { service_action: action.code(), scope_type, parameter_list_length }.cdb()
    }

    /// How many bytes the parameter list has.
    pub fn list_length(&self) -> usize {
        match &self.list {
            List::Basic(parameters) => parameters.length(),
            List::Move(parameters) => parameters.length(),
        }
    }

    /// Writes the parameter list.
    pub fn write_list(&self, out: &mut DataIn<'_>) {
        match &self.list {
            List::Basic(parameters) => parameters.write(out),
            List::Move(parameters) => parameters.write(out),
        }
    }

    /// The parameter list.
    #[cfg(feature = "alloc")]
    pub fn list(&self) -> Vec<u8> {
        let mut list = alloc::vec![0; self.list_length()];
        self.write_list(&mut DataIn::new(&mut list));
        list
    }
}
