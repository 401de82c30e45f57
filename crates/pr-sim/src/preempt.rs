//! PREEMPT and PREEMPT AND ABORT (SPC-4 5.13.11.4, 5.13.11.5).

use scsi_persistent_reservations::{BasicParameters, ReservationType, SenseCode};

use crate::{Held, LogicalUnit, Nexus, out::Refusal};

impl LogicalUnit {
    /// Ends the registrations with the service action reservation key and, if the holder's is among them, takes the
    /// reservation over. Returns whose registrations ended.
    pub(crate) fn preempt(
        &mut self,
        nexus: Nexus,
        kind: ReservationType,
        parameters: &BasicParameters<'_>,
    ) -> Result<Vec<Nexus>, Refusal> {
        self.prove(nexus, parameters.key)?;
        let victim = parameters.service_action_key;
        // Zero names all registrants, but only while they hold the reservation together.
        let everyone = victim.is_zero();
        let takes_over = match self.held {
            Some(Held { holder: None, .. }) => everyone,
            _ if everyone => return Err(SenseCode::INVALID_FIELD_IN_PARAMETER_LIST.into()),
            Some(Held { holder: Some(holder), .. }) => {
                self.registrations.get(&holder).is_some_and(|registration| registration.key == victim)
            }
            None => false,
        };
        if !everyone && self.registrations.values().all(|registration| registration.key != victim) {
            return Err(Refusal::Conflict);
        }

        // The new holder stays registered even if it preempts its own key.
        let ends = |other: Nexus, key| (everyone || key == victim) && !(takes_over && other == nexus);
        let ended: Vec<Nexus> = self.registrations().filter(|(n, r)| ends(*n, r.key)).map(|(n, _)| n).collect();
        self.registrations.retain(|other, registration| !ends(*other, registration.key));
        for other in ended.iter().filter(|other| **other != nexus) {
            self.attentions.establish(*other, SenseCode::REGISTRATIONS_PREEMPTED);
        }
        if takes_over {
            let changed = self.held.is_some_and(|held| held.kind != kind);
            self.held = Some(Held::new(kind, nexus));
            if changed {
                self.tell_other_registrants(nexus, SenseCode::RESERVATIONS_RELEASED);
            }
        } else if self.registrations.is_empty() {
            self.held = None;
        }
        Ok(ended)
    }
}
