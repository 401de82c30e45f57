//! REGISTER and REGISTER AND IGNORE EXISTING KEY (SPC-4 5.13.7, 5.13.11.3).

use std::collections::BTreeSet;

use scsi_persistent_reservations::{BasicParameters, OutAction, ReservationKey, SenseCode, TransportIds};

use crate::{Held, LogicalUnit, Nexus, Registration, out::Refusal};

impl LogicalUnit {
    /// Registers a nexus, changes its key, or unregisters it.
    ///
    /// With `ALL_TG_PT` this happens as if the command had come through each of the target ports. The sender's own
    /// port decides about the status; where it would have been a conflict on another, nothing changes there.
    pub(crate) fn register(
        &mut self,
        nexus: Nexus,
        action: OutAction,
        parameters: &BasicParameters<'_>,
    ) -> Result<(), Refusal> {
        let &BasicParameters { key, service_action_key, activate_persist, all_target_ports, .. } = parameters;
        // No registration has the key zero, so zero is what proves that there is none.
        let present_key = |nexus| self.registrations.get(&nexus).map_or(ReservationKey::ZERO, |r| r.key);
        let proven = |nexus| action == OutAction::RegisterAndIgnoreExistingKey || present_key(nexus) == key;

        if !proven(nexus) {
            return Err(Refusal::Conflict);
        }
        if self.is_registered(nexus) && parameters.initiator_ports.is_some() {
            return Err(SenseCode::INVALID_FIELD_IN_PARAMETER_LIST.into());
        }
        let mut concerned = self.on_target_ports(nexus, all_target_ports);
        concerned.retain(|nexus| proven(*nexus));
        if service_action_key.is_zero() {
            // That nobody was registered is no error: the command did what it is for.
            if concerned.iter().any(|nexus| self.is_registered(*nexus)) {
                self.unregister(&concerned);
                self.persists = activate_persist;
            }
            return Ok(());
        }
        if let Some(ports) = parameters.initiator_ports {
            self.add_listed_ports(nexus, ports, all_target_ports, &mut concerned)?;
        }
        self.make_room(concerned.iter().filter(|nexus| !self.is_registered(**nexus)).count())?;
        for nexus in concerned {
            self.registrations.insert(nexus, Registration { key: service_action_key, all_target_ports });
        }
        self.persists = activate_persist;
        Ok(())
    }

    /// Adds the ports that `SPEC_I_PT` lists, all of them or none; those that are registered stay as they are.
    fn add_listed_ports(
        &mut self,
        sender: Nexus,
        listed: TransportIds<'_>,
        all_target_ports: bool,
        concerned: &mut BTreeSet<Nexus>,
    ) -> Result<(), Refusal> {
        // The whole list has to make sense before it matters whether there is room.
        let initiators: Option<BTreeSet<_>> = listed.iter().map(|id| self.ports.resolve(&id.ok()?)).collect();
        for initiator in initiators.ok_or(SenseCode::INVALID_FIELD_IN_PARAMETER_LIST)? {
            let nexuses = self.on_target_ports(Nexus { initiator, ..sender }, all_target_ports);
            concerned.extend(nexuses.into_iter().filter(|nexus| !self.is_registered(*nexus)));
            // Asked every time: a list of many ports times many target ports is not to take more memory than the
            // registrations that there can be.
            self.make_room(concerned.len())?;
        }
        Ok(())
    }

    fn on_target_ports(&self, nexus: Nexus, all: bool) -> BTreeSet<Nexus> {
        if all { (1..=self.target_ports).map(|port| nexus.through(port)).collect() } else { BTreeSet::from([nexus]) }
    }

    /// Whether so many more registrations fit.
    pub(crate) fn make_room(&self, more: usize) -> Result<(), Refusal> {
        if more > self.max_registrations.saturating_sub(self.registrations.len()) {
            return Err(SenseCode::INSUFFICIENT_REGISTRATION_RESOURCES.into());
        }
        Ok(())
    }

    /// Ends registrations, and the reservation if the holder's is among them. Of the all-registrants types every
    /// registrant is a holder, so those last until the last registration ends.
    fn unregister(&mut self, nexuses: &BTreeSet<Nexus>) {
        self.registrations.retain(|nexus, _| !nexuses.contains(nexus));
        let Some(Held { kind, holder }) = self.held else { return };
        match holder {
            Some(holder) if nexuses.contains(&holder) => {
                self.held = None;
                if kind.admits_registrants() {
                    self.tell_other_registrants(holder, SenseCode::RESERVATIONS_RELEASED);
                }
            }
            None if self.registrations.is_empty() => self.held = None,
            _ => {}
        }
    }
}
