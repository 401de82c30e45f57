//! Between commands, and after a death.

use scsi_pr::{ReservationKey, SenseCode};

use crate::{Io, Memory, PathId, Registration, Step, User, engine::Engine};

/// What other registrants are told of a change.
const OWN: [SenseCode; 3] =
    [SenseCode::RESERVATIONS_PREEMPTED, SenseCode::RESERVATIONS_RELEASED, SenseCode::REGISTRATIONS_PREEMPTED];

/// Looks after paths that came back: each gets the key that the others have, or loses one that the user has given up.
/// Returns what an administrator should know.
///
/// # Errors
/// What stops the engine, see [`Io::Stop`].
pub fn reconcile<I: Io>(io: &mut I, memory: &mut Memory) -> Result<Vec<String>, I::Stop> {
    let mut engine = Engine::new(io, memory)?;
    engine.settle()?;
    Ok(engine.notes)
}

/// What a successor does first: whatever was being done when an engine died is finished, or taken back.
///
/// # Errors
/// What stops the engine, see [`Io::Stop`].
pub fn recover<I: Io>(io: &mut I, memory: &mut Memory) -> Result<Vec<String>, I::Stop> {
    let mut engine = Engine::new(io, memory)?;
    if engine.memory.step != Step::Idle {
        // What was done before the death may have news for the other paths.
        for path in engine.paths.clone() {
            for code in OWN {
                engine.memory.path(path.id).expect(code);
            }
        }
    }
    if !matches!(engine.memory.step, Step::Idle | Step::Changing) {
        for path in &mut engine.memory.paths {
            path.unsettled = true;
        }
    }
    match engine.memory.step {
        Step::Idle | Step::Changing => {}
        Step::Registering { before, new } => engine.finish_registering(before, new)?,
        Step::Preempting { own } => {
            let active = engine.active();
            let proof = engine.prove(&active, own)?;
            if proof.has.is_empty() {
                if proof.silent.is_empty() {
                    engine.set_user(User::Unregistered)?;
                }
            } else {
                engine.give(&proof.lacks, own)?;
                engine.set_user(User::Registered(own))?;
            }
        }
    }
    engine.let_go()?;
    engine.set_step(Step::Idle)?;
    engine.settle()?;
    Ok(engine.notes)
}

impl<I: Io> Engine<'_, I> {
    /// Looks after paths that came back.
    pub fn settle(&mut self) -> Result<(), I::Stop> {
        let unsettled: Vec<PathId> = self
            .active()
            .into_iter()
            .filter(|id| self.memory.paths.iter().any(|path| path.id == *id && path.unsettled))
            .collect();
        // What other nodes did meanwhile is told to the user by the paths that were there.
        if !unsettled.is_empty() && unsettled.len() < self.active().len() {
            self.own.extend(OWN);
            self.drain(&unsettled)?;
        }
        if let User::Registered(own) = self.memory.user
            && self.is_fenced(own)?
        {
            self.set_user(User::Unregistered)?;
        }
        if unsettled.is_empty() {
            return Ok(());
        }
        match self.memory.user {
            User::Unknown => Ok(()),
            User::Unregistered => {
                self.take_leftovers(&unsettled)?;
                for id in unsettled {
                    let known = self.memory.path(id);
                    known.unsettled = !known.leftovers.is_empty();
                }
                self.keep()
            }
            // A path with a key of the past gets the new one: it may hold the reservation.
            User::Registered(own) => {
                self.settle_registered(own, &unsettled)?;
                if self.memory.user == User::Unregistered { self.take_leftovers(&unsettled) } else { Ok(()) }
            }
        }
    }

    fn settle_registered(&mut self, own: Registration, unsettled: &[PathId]) -> Result<(), I::Stop> {
        let active = self.active();
        let own = self.own(own.key, None)?;
        let proof = self.prove(&active, own)?;
        if proof.lacks.iter().any(|id| !unsettled.contains(id)) {
            // A path that was there all the time has lost the key: another node has preempted it. Who has it still came
            // back with it, or was given it by multipathd, which looks for the key and not for its owner.
            self.withdraw(own, &active)?;
            return Ok(());
        }
        if proof.has.is_empty() && !self.give(&proof.lacks, own)? {
            // Nobody has it any more: the user was fenced, or has lost it with the target's memory.
            let survey = self.survey()?;
            let stays = survey.is_none_or(|survey| {
                let mut same = survey.registrants.iter().filter(|registrant| registrant.key == own.key);
                same.any(|registrant| self.is_own(&registrant.identity) || self.may_be(registrant).is_some())
            });
            if stays {
                self.fail(&proof.lacks, &format!("lacks key {}, and no other path confirms it", own.key))?;
            } else if proof.silent.is_empty() {
                self.set_user(User::Unregistered)?;
            }
            return Ok(());
        }
        for id in &proof.has {
            self.memory.path(*id).unsettled = false;
        }
        if !proof.lacks.is_empty() {
            self.give(&proof.lacks, own)?;
        }
        let silent: Vec<PathId> = proof.silent.into_iter().filter(|id| unsettled.contains(id)).collect();
        let unfit = self.carrying(&silent)?;
        self.fail(&unfit, &format!("could not be given key {}", own.key))?;
        self.keep()
    }

    /// Whether another node has ended the registrations of all paths, as far as one look tells.
    fn is_fenced(&mut self, own: Registration) -> Result<bool, I::Stop> {
        let Some(survey) = self.survey()? else { return Ok(false) };
        let mut known = self.memory.paths.iter().filter_map(|path| path.identity.as_ref()).peekable();
        let knows_all = self.active().iter().all(|id| self.identity(*id).is_some());
        Ok(known.peek().is_some()
            && knows_all
            && known.all(|identity| survey.of(identity).is_none_or(|registrant| registrant.key != own.key)))
    }

    /// A registration was on its way: what was there before is put back where that can be, because its sender was told
    /// of a failure.
    fn finish_registering(&mut self, before: Option<ReservationKey>, new: Registration) -> Result<(), I::Stop> {
        if let User::Registered(own) = self.memory.user
            && before.is_some_and(|before| before != own.key && new.key != own.key)
        {
            // The command named another key than the user's: it was refused, or was about to be.
            return Ok(());
        }
        let active = self.active();
        let Some(before) = before else {
            // Nobody knows what was there: the new registration is completed, if it has begun.
            if let User::Registered(own) = self.memory.user
                && new.key.is_zero()
            {
                let proof = self.prove(&active, own)?;
                if proof.has.is_empty() {
                    return self.set_user(User::Unregistered);
                }
                self.give(&proof.lacks, own)?;
                return Ok(());
            }
            let proof = self.prove(&active, new)?;
            if !new.key.is_zero() && !proof.has.is_empty() {
                if let Some(old) = self.memory.key().filter(|old| *old != new.key) {
                    for path in self.paths.clone() {
                        self.memory.path(path.id).leave_over(old);
                    }
                }
                self.give(&proof.lacks, new)?;
                self.set_user(User::Registered(new))?;
            }
            return Ok(());
        };
        let old = Registration { key: before, ..new };
        if !new.key.is_zero() {
            self.replace(&active, new, old)?;
        }
        if before.is_zero() && !new.key.is_zero() {
            return self.set_user(User::Unregistered);
        }
        let proof = self.prove(&active, old)?;
        if proof.has.is_empty() {
            return self.set_user(User::Unregistered);
        }
        self.give(&proof.lacks, old)?;
        self.set_user(User::Registered(old))
    }
}
