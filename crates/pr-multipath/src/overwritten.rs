//! multipathd was away when the user's key changed. When it starts it has the key from before, and where it finds that on
//! the logical unit, because another node uses it too, it registers every path with it.

use scsi_persistent_reservations::ReservationKey;

use crate::{Io, PathId, User, engine::Engine, survey::Survey};

impl<I: Io> Engine<'_, I> {
    /// Tells multipathd what it has not heard, if it answers now, and looks at what it may have done until then.
    pub fn tell_again(&mut self) -> Result<(), I::Stop> {
        if self.memory.multipathd_is_outdated
            && !self.memory.suspended
            && let Some(has) = self.io.key_of_multipathd()?
        {
            self.memory.multipathd_may_have(has);
            let stale = self.memory.outdated_keys();
            // What another node has taken is not to be given again: from 0.13 on it gives the key to all paths when it is told.
            self.settle_from(&stale)?;
            if has != self.memory.key().unwrap_or(ReservationKey::ZERO) {
                // It may have taken the user's key from a path that came back.
                for id in self.active() {
                    self.memory.path(id).unsettled = true;
                }
            }
            let said = self.notes.len();
            if !self.tell_user()? && self.memory.multipathd_is_outdated {
                // That was said when it was told first.
                self.notes.truncate(said);
            }
            return self.settle_from(&stale);
        }
        self.settle()
    }

    /// Looks for what multipathd may have done that has not heard of the user's key. The paths have that key again, if
    /// it is certain that no other node has taken it from them meanwhile.
    pub fn mend_overwritten(&mut self, stale: &[ReservationKey]) -> Result<(), I::Stop> {
        if stale.is_empty() {
            return Ok(());
        }
        let survey = self.survey()?;
        let is_given = |engine: &Self, id: PathId| match (engine.identity(id), &survey) {
            (Some(identity), Some(survey)) => survey.of(identity).is_some_and(|r| stale.contains(&r.key)),
            (None, Some(survey)) => stale.iter().any(|key| survey.has(*key)),
            (_, None) => true,
        };
        let active = self.active();
        let given: Vec<PathId> = active.iter().copied().filter(|id| is_given(self, *id)).collect();
        for id in given.iter().copied().chain(self.unusable()) {
            let known = self.memory.path(id);
            known.unsettled = true;
            for key in stale {
                known.leave_over(*key);
            }
        }
        self.keep()?;
        let (User::Registered(own), Some(survey)) = (self.memory.user, survey) else { return Ok(()) };
        let has_own = active.iter().any(|id| self.is_registered(&survey, *id, own.key));
        if given.is_empty() || has_own || !self.is_multipathds(&survey, stale) {
            // Those that have it give it to the others; without any it is not given.
            return Ok(());
        }
        let own = self.own(own.key, None)?;
        let set = self.set(&given, own)?;
        let due = u32::try_from(set.has.len()).ok().map(|count| survey.generation.wrapping_add(count));
        let is_alone = set.silent.is_empty() && self.survey()?.is_some_and(|after| Some(after.generation) == due);
        if !is_alone {
            // Somebody may have preempted the key that was there.
            self.withdraw(own, &active)?;
        }
        Ok(())
    }

    /// Takes note of [`Self::count`] while multipathd has a key from before and all paths have the user's.
    pub fn note_count(&mut self) -> Result<(), I::Stop> {
        let stale = self.memory.outdated_keys();
        let own = match self.memory.user {
            User::Registered(own) if !stale.is_empty() => own,
            User::Registered(_) | User::Unregistered | User::Unknown => {
                return if self.memory.count_when_complete.take().is_some() { self.keep() } else { Ok(()) };
            }
        };
        let Some(survey) = self.survey()? else { return Ok(()) };
        let have_own = self.active().iter().all(|id| self.is_registered(&survey, *id, own.key));
        let have_stale = survey.registrants.iter().any(|r| stale.contains(&r.key) && self.is_own(&r.identity));
        if have_own && !have_stale {
            self.memory.count_when_complete = Some(self.count(&survey));
            self.keep()?;
        }
        Ok(())
    }

    /// Whether the keys from before that paths have are multipathd's doing, and nothing else has happened since all had the
    /// user's: a path of the map holds the reservation, which a PREEMPT of the user's key would have ended; or there were as
    /// many registrations as there are such paths.
    fn is_multipathds(&self, survey: &Survey, stale: &[ReservationKey]) -> bool {
        let Some(seen) = self.memory.count_when_complete else { return false };
        let is_given = |key: ReservationKey| stale.contains(&key);
        if survey.holder().is_some_and(|holder| is_given(holder.key) && self.is_own(&holder.identity)) {
            return true;
        }
        let mut given = survey.registrants.iter().filter(|r| is_given(r.key) && self.is_own(&r.identity));
        let has_all_ports = given.clone().any(|registrant| registrant.all_target_ports);
        let count = u32::try_from(given.by_ref().count()).ok();
        !has_all_ports && Some(self.count(survey).wrapping_sub(seen)) == count
    }

    /// PRGENERATION less the registrations of others, each of which has added one to it since it was made.
    fn count(&self, survey: &Survey) -> u32 {
        let others = survey.registrants.iter().filter(|registrant| !self.is_own(&registrant.identity)).count();
        survey.generation.wrapping_sub(u32::try_from(others).unwrap_or(u32::MAX))
    }
}
