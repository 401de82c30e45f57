//! REGISTER AND MOVE (SPC-4 5.13.8).

use scsi_persistent_reservations::{MoveParameters, ReservationKey, SenseCode};

use crate::{Held, LogicalUnit, Nexus, Registration, out::Refusal};

impl LogicalUnit {
    /// Registers another nexus and makes it the holder. Nobody is told: access changes for those two only, and they
    /// are in the know.
    ///
    /// The parameter list, at least 24 bytes, is read only after the state allowed the action at all.
    pub(crate) fn register_and_move(&mut self, nexus: Nexus, list: &[u8]) -> Result<(), Refusal> {
        let key = list.first_chunk().map_or(ReservationKey::ZERO, |bytes| ReservationKey::from_bytes(*bytes));
        if self.held.is_some() || self.is_registered(nexus) {
            self.prove(nexus, key)?;
        }
        let held = self.held.ok_or(SenseCode::INVALID_FIELD_IN_CDB)?;
        // What all registrants hold cannot be moved to one of them.
        if held.holder != Some(nexus) {
            return Err(Refusal::Conflict);
        }

        let invalid = SenseCode::INVALID_FIELD_IN_PARAMETER_LIST;
        let parameters = MoveParameters::parse(list).map_err(|_| invalid)?;
        let target_port = parameters.relative_target_port;
        if parameters.service_action_key.is_zero() || !self.has_target_port(target_port) {
            return Err(invalid.into());
        }
        let initiator = self.ports.resolve(&parameters.transport_id).ok_or(invalid)?;
        let destination = Nexus { initiator, target_port };
        if destination == nexus {
            return Err(invalid.into());
        }

        let present = self.registrations.get(&destination);
        let all_target_ports = present.is_some_and(|registration| registration.all_target_ports);
        let leaves_room = usize::from(parameters.unregister);
        self.make_room(usize::from(present.is_none()).saturating_sub(leaves_room))?;
        let registration = Registration { key: parameters.service_action_key, all_target_ports };
        self.registrations.insert(destination, registration);
        if parameters.unregister {
            self.registrations.remove(&nexus);
        }
        self.held = Some(Held::new(held.kind, destination));
        self.persists = parameters.activate_persist;
        Ok(())
    }
}
