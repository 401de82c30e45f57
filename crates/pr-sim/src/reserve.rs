//! RESERVE, RELEASE and CLEAR (SPC-4 5.13.9, 5.13.11.2, 5.13.11.6).

use scsi_persistent_reservations::{ReservationKey, ReservationType, SenseCode};

use crate::{Held, LogicalUnit, Nexus, out::Refusal};

impl LogicalUnit {
    /// Creates a reservation. To reserve again what one holds already is no error.
    pub(crate) fn reserve(&mut self, nexus: Nexus, kind: ReservationType, key: ReservationKey) -> Result<(), Refusal> {
        self.prove(nexus, key)?;
        match self.held {
            None => {
                self.held = Some(Held::new(kind, nexus));
                Ok(())
            }
            Some(held) if held.kind == kind && self.holds(nexus) => Ok(()),
            Some(_) => Err(Refusal::Conflict),
        }
    }

    /// Releases the reservation. That the sender does not hold it is no error.
    pub(crate) fn release(
        &mut self,
        nexus: Nexus,
        kind: Option<ReservationType>,
        key: ReservationKey,
    ) -> Result<(), Refusal> {
        self.prove(nexus, key)?;
        let Some(held) = self.held.filter(|_| self.holds(nexus)) else { return Ok(()) };
        if kind != Some(held.kind) {
            return Err(SenseCode::INVALID_RELEASE.into());
        }
        self.held = None;
        // Of the other types registrants had no more access than anyone, so nothing changes for them.
        if held.kind.admits_registrants() {
            self.tell_other_registrants(nexus, SenseCode::RESERVATIONS_RELEASED);
        }
        Ok(())
    }

    /// Ends the reservation and every registration.
    pub(crate) fn clear(&mut self, nexus: Nexus, key: ReservationKey) -> Result<(), Refusal> {
        self.prove(nexus, key)?;
        self.tell_other_registrants(nexus, SenseCode::RESERVATIONS_PREEMPTED);
        self.registrations.clear();
        self.held = None;
        Ok(())
    }
}
