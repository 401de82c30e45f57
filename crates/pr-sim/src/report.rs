//! PERSISTENT RESERVE IN (SPC-4 6.14): reads the state and changes none of it.

use scsi_persistent_reservations::{
    Capabilities, Completion, DataIn, FullStatus, FullStatusDescriptor, InAction, PersistentReserveIn, ReadKeys,
    ReadReservation, Reservation, ReservationKey, SenseCode, Status,
};

use crate::{Held, LogicalUnit, out::check};

/// ALLOW COMMANDS 001b: TEST UNIT READY always passes, and no promise is made about other commands.
const ALLOW_TEST_UNIT_READY: u8 = 1;

impl LogicalUnit {
    /// Answers a PERSISTENT RESERVE IN, with as much as the allocation length and the buffer have room for.
    pub(crate) fn report<'buffer>(
        &self,
        command: PersistentReserveIn,
        buffer: &'buffer mut [u8],
    ) -> Completion<'buffer> {
        let Some(action) = command.action() else {
            return check(SenseCode::INVALID_FIELD_IN_CDB);
        };
        let room = buffer.len().min(usize::from(command.allocation_length));
        let mut out = DataIn::new(&mut buffer[..room]);
        match action {
            InAction::ReadKeys => {
                ReadKeys::write(self.generation, self.registrations.values().map(|r| r.key), &mut out);
            }
            InAction::ReadReservation => ReadReservation::write(self.generation, self.told_reservation(), &mut out),
            InAction::ReportCapabilities => out.put(&self.capabilities().to_bytes()),
            InAction::ReadFullStatus => FullStatus::write(self.generation, self.descriptors(), &mut out),
        }
        Completion { data: out.finish(), ..Completion::status(Status::GOOD) }
    }

    /// What the unit supports: everything but REPLACE LOST RESERVATION.
    pub fn capabilities(&self) -> Capabilities {
        Capabilities {
            replace_lost: false,
            compatible_reservation_handling: true,
            specify_initiator_ports: true,
            all_target_ports: true,
            persist_through_power_loss: true,
            persist_through_power_loss_active: self.persists,
            allow_commands: ALLOW_TEST_UNIT_READY,
            types: Some(Capabilities::all_types()),
        }
    }

    /// The reservation with its holder's key, which is zero where all registrants hold it.
    fn told_reservation(&self) -> Option<Reservation> {
        self.held.map(|Held { kind, holder }| {
            let holder = holder.and_then(|holder| self.registrations.get(&holder));
            Reservation::new(holder.map_or(ReservationKey::ZERO, |registration| registration.key), kind)
        })
    }

    fn descriptors(&self) -> impl Iterator<Item = FullStatusDescriptor<'_>> + Clone {
        self.registrations().map(|(nexus, registration)| FullStatusDescriptor {
            key: registration.key,
            all_target_ports: registration.all_target_ports,
            holds: self.held.filter(|_| self.holds(nexus)).map(|held| held.kind.code()),
            relative_target_port: nexus.target_port,
            transport_id: self.ports.transport_id(nexus.initiator),
        })
    }
}
