//! Between commands, and after a death.

use scsi_persistent_reservations::ReservationKey;

use crate::{
    Identity, Io, Memory, Multipathd, PathId, PathMemory, Registration, Step, User, ask::Proof, engine::Engine,
    memory::CHANGES, survey::Survey,
};

/// Looks after paths that came back: each gets the key that the others have, or loses one that the user has given up.
/// Returns what an administrator should know.
///
/// # Errors
/// What stops the engine, see [`Io::Stop`].
pub fn reconcile<I: Io>(io: &mut I, memory: &mut Memory) -> Result<Vec<String>, I::Stop> {
    let mut engine = Engine::new(io, memory)?;
    if engine.memory.step != Step::Idle {
        engine.finish()?;
    }
    engine.look_after()?;
    engine.take_from_inactive()?;
    Ok(engine.notes)
}

/// What a successor does first: whatever was being done when an engine died is finished, or taken back.
///
/// # Errors
/// What stops the engine, see [`Io::Stop`].
pub fn recover<I: Io>(io: &mut I, memory: &mut Memory) -> Result<Vec<String>, I::Stop> {
    let mut engine = Engine::new(io, memory)?;
    // Nobody knows whether it came to it.
    engine.memory.multipathd_is_outdated |= engine.memory.key().is_some();
    engine.finish()?;
    // One that hangs may lack what was given to the others.
    engine.fail_hung()?;
    engine.look_after()?;
    Ok(engine.notes)
}

impl<I: Io> Engine<'_, I> {
    /// Finishes what an engine before this one has begun, or takes it back. What cannot be, because no path answers, is
    /// left for the next time.
    pub fn finish(&mut self) -> Result<(), I::Stop> {
        if self.memory.step != Step::Idle {
            // What was done before the death may have news for the other paths.
            for path in &mut self.memory.paths {
                for code in CHANGES {
                    path.expect(code);
                }
            }
        }
        // Only these can show that a registration was being given up: any other may have lacked it before.
        let settled: Vec<PathId> =
            self.memory.paths.iter().filter(|path| !path.unsettled).map(|path| path.id).collect();
        if !matches!(self.memory.step, Step::Idle | Step::Changing) {
            for path in &mut self.memory.paths {
                path.unsettled = true;
            }
            // They cannot be asked, and may have been left behind.
            self.fail_hung()?;
        }
        let is_over = match self.memory.step {
            Step::Idle => true,
            Step::Changing => self.finish_changing()?,
            Step::Registering { before, new } => self.finish_registering(before, new, &settled)?,
            Step::Preempting { own } => self.finish_preempting(own)?,
        };
        self.let_go()?;
        if is_over {
            if matches!(self.memory.step, Step::Registering { .. }) {
                self.tell_user()?;
            }
            return self.set_step(Step::Idle);
        }
        self.notes.push("what was begun is finished as soon as a path answers".to_owned());
        for path in self.paths.iter().filter(|path| path.active && !path.busy && settled.contains(&path.id)) {
            self.memory.path(path.id).unsettled = false;
        }
        self.keep()
    }

    /// The registrations may have ended: CLEAR, or PREEMPT of a key that is the user's as well.
    fn finish_changing(&mut self) -> Result<bool, I::Stop> {
        let User::Registered(own) = self.memory.user else { return Ok(true) };
        let active = self.active();
        let proof = self.prove(&active, own)?;
        if proof.shows_none() {
            self.set_user(User::Unregistered)?;
        }
        Ok(!proof.has.is_empty() || proof.silent.is_empty())
    }

    fn finish_preempting(&mut self, own: Registration) -> Result<bool, I::Stop> {
        let active = self.active();
        let proof = self.prove(&active, own)?;
        self.finish_as(&proof, own)
    }

    /// Who has the registration keeps it and the others get it; without anybody it has ended. False if no path says so.
    fn finish_as(&mut self, proof: &Proof, own: Registration) -> Result<bool, I::Stop> {
        if !proof.has.is_empty() || proof.shows_none() && self.is_kept_away(own)? {
            self.complete_on(proof, own)?;
        } else if proof.shows_none() {
            self.set_user(User::Unregistered)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Whether a path that takes no commands now is registered, as far as the others know.
    fn is_kept_away(&mut self, own: Registration) -> Result<bool, I::Stop> {
        let Some(survey) = self.survey()? else { return Ok(false) };
        Ok(self.unusable().iter().any(|id| self.is_registered(&survey, *id, own.key)))
    }

    /// Looks after paths that came back, and multipathd, which may have.
    fn look_after(&mut self) -> Result<(), I::Stop> {
        if self.memory.user == User::Unknown {
            self.adopt()?;
        }
        self.tell_again()?;
        self.note_count()
    }

    /// Keys that the user has given up are taken from paths that answer again before device-mapper uses these: a registration
    /// that nobody needs keeps a reservation which all registrants hold.
    fn take_from_inactive(&mut self) -> Result<(), I::Stop> {
        if self.memory.user != User::Unregistered {
            return Ok(());
        }
        let left = |id: &PathId| self.memory.paths.iter().any(|path| path.id == *id && !path.leftovers.is_empty());
        let paths: Vec<PathId> = self.inactive().into_iter().filter(left).collect();
        self.take_leftovers(&paths)
    }

    /// An engine that is started anew knows of no registration. The key that multipathd has for the map is the user's if a
    /// path of the map is registered with it, and nobody else is: whoever preempts it leaves no path with it, and
    /// multipathd gives it to none then.
    fn adopt(&mut self) -> Result<(), I::Stop> {
        let Some(key) = self.io.key_of_multipathd()?.filter(|key| !key.is_zero()) else { return Ok(()) };
        let Some(survey) = self.survey()? else { return Ok(()) };
        if survey.has(key) && self.is_exclusive(&survey, key) {
            self.memory.user = User::Registered(self.own(key, Some(&survey))?);
            self.memory.multipathd_may_have(key);
            for id in self.active() {
                self.memory.path(id).unsettled = true;
            }
            self.keep()?;
        }
        Ok(())
    }

    /// Looks after paths that came back.
    pub fn settle(&mut self) -> Result<(), I::Stop> {
        let stale = self.memory.outdated_keys();
        self.settle_from(&stale)
    }

    /// The same, where multipathd may have given paths these keys.
    pub fn settle_from(&mut self, stale: &[ReservationKey]) -> Result<(), I::Stop> {
        self.mend_overwritten(stale)?;
        let unsettled: Vec<PathId> = self
            .active()
            .into_iter()
            .filter(|id| self.memory.paths.iter().any(|path| path.id == *id && self.is_doubtful(path)))
            .collect();
        // What other nodes did meanwhile is told to the user by the paths that were there.
        if !unsettled.is_empty() && unsettled.len() < self.active().len() {
            self.own.extend(CHANGES);
            self.drain(&unsettled)?;
        }
        if let User::Registered(own) = self.memory.user
            && let Some(survey) = self.survey()?
        {
            if self.is_fenced(&survey, own) {
                self.set_user(User::Unregistered)?;
            } else if self.is_registered_again(&survey, own) || self.is_registered_late(&survey, own) {
                let active = self.active();
                self.withdraw(own, &active)?;
            }
        }
        if unsettled.is_empty() {
            return Ok(());
        }
        match self.memory.user {
            User::Unknown => Ok(()),
            User::Unregistered => {
                if self.memory.paths.iter().any(|path| !path.leftovers.is_empty()) {
                    // It may not have heard of this, and register whoever comes back.
                    self.tell_multipathd(Multipathd::Forget)?;
                }
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

    /// Whether a path has to be looked at before it is trusted.
    fn is_doubtful(&self, path: &PathMemory) -> bool {
        path.unsettled || self.memory.user == User::Unregistered && !path.leftovers.is_empty()
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
            self.memory.path(*id).settled();
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
    fn is_fenced(&self, survey: &Survey, own: Registration) -> bool {
        let mut known = self.memory.paths.iter().filter_map(|path| path.identity.as_ref()).peekable();
        known.peek().is_some()
            && self.tells_paths_apart(survey, own)
            && known.all(|identity| survey.of(identity).is_none_or(|registrant| registrant.key != own.key))
    }

    /// Whether it has, and multipathd has registered a path again since: one that was away for a moment, while another node
    /// has the same key, for multipathd looks for the key and not for its owner. Paths that were there all the time lack it.
    fn is_registered_again(&self, survey: &Survey, own: Registration) -> bool {
        let is_away = |id: PathId| self.memory.paths.iter().any(|path| path.id == id && path.unsettled);
        let lacks = |id: &PathId| {
            let identity = self.identity(*id).filter(|_| !is_away(*id));
            identity.is_some_and(|identity| survey.of(identity).is_none_or(|registrant| registrant.key != own.key))
        };
        self.tells_paths_apart(survey, own) && !self.is_exclusive(survey, own.key) && self.active().iter().any(lacks)
    }

    /// Whether it has, and a path has carried out since what it was sent and did not answer: who was seen to be registered is
    /// not any more.
    fn is_registered_late(&self, survey: &Survey, own: Registration) -> bool {
        let has = |identity: &Identity| survey.of(identity).is_some_and(|registrant| registrant.key == own.key);
        let mut has = self.memory.paths.iter().filter(|path| path.identity.as_ref().is_some_and(has)).peekable();
        has.peek().is_some() && has.all(|path| path.leftovers.contains(&own.key)) && self.tells_paths_apart(survey, own)
    }

    /// Whether it is known of each registrant with this key whether it is a path of the map.
    fn tells_paths_apart(&self, survey: &Survey, own: Registration) -> bool {
        self.active().iter().all(|id| self.identity(*id).is_some())
            && !survey.registrants.iter().any(|r| r.key == own.key && self.may_be(r).is_some())
    }

    /// A registration was on its way: what was there before is put back where that can be, because its sender was told
    /// of a failure. False if no path says how it stands.
    fn finish_registering(
        &mut self,
        before: Option<ReservationKey>,
        new: Registration,
        settled: &[PathId],
    ) -> Result<bool, I::Stop> {
        let active = self.active();
        if let User::Registered(own) = self.memory.user
            && before.is_some_and(|before| before != own.key)
            && !self.find(&active, own)?.shows_none()
        {
            // The command named another key than the user's: it was refused, or was about to be.
            return Ok(true);
        }
        let Some(before) = before else {
            // Nobody knows what was there: the new registration is completed, if it has begun.
            return self.finish_ignoring(&active, new, settled);
        };
        if before.is_zero() && new.key.is_zero() {
            // Nothing was asked for.
            return Ok(true);
        }
        let old = Registration { key: before, ..new };
        if !new.key.is_zero() {
            let mut unsure = self.replace(&active, new, old)?;
            unsure.extend(self.unusable());
            for id in self.may_be_registered(&unsure, new.key)? {
                self.memory.path(id).leave_over(new.key);
            }
        }
        if before.is_zero() && !new.key.is_zero() {
            self.set_user(User::Unregistered)?;
            return Ok(true);
        }
        let is_left = |path: &PathMemory| path.leftovers.contains(&before);
        if self.memory.user == User::Unregistered && self.memory.paths.iter().any(is_left) {
            // The command named a key that the user has given up. Where that is left it is no registration of the user's.
            return Ok(true);
        }
        let proof = self.prove(&active, old)?;
        if new.key.is_zero() && proof.lacks.iter().any(|id| settled.contains(id)) {
            return self.finish_leaving(proof, old);
        }
        self.finish_as(&proof, old)
    }

    /// A path has given up its registration, and with it perhaps the reservation: there is no way back, so all do.
    fn finish_leaving(&mut self, proof: Proof, own: Registration) -> Result<bool, I::Stop> {
        let mut unsure = self.take_back(&proof.has, own)?;
        unsure.extend(proof.silent);
        unsure.extend(self.unusable());
        let unsure = self.still_registered(&unsure, own.key)?;
        self.fail(&unsure, &format!("may have kept key {}", own.key))?;
        for id in unsure {
            self.leave_over(id, own.key)?;
        }
        self.set_user(User::Unregistered)?;
        Ok(true)
    }

    /// Paths that lack a registration which others have get it; those that do not say carry no I/O.
    fn complete_on(&mut self, proof: &Proof, own: Registration) -> Result<(), I::Stop> {
        self.give(&proof.lacks, own)?;
        let unfit = self.carrying(&proof.silent)?;
        self.fail(&unfit, &format!("could not be given key {}", own.key))?;
        self.set_user(User::Registered(own))
    }

    fn finish_ignoring(&mut self, active: &[PathId], new: Registration, settled: &[PathId]) -> Result<bool, I::Stop> {
        if let User::Registered(own) = self.memory.user
            && new.key.is_zero()
        {
            let proof = self.prove(active, own)?;
            if proof.lacks.iter().any(|id| settled.contains(id)) {
                return self.finish_leaving(proof, own);
            }
            return self.finish_as(&proof, own);
        }
        if new.key.is_zero() && self.memory.user == User::Unknown {
            // Nobody knows which key it was, so that there is no way back.
            let given_up = self.set(active, new)?;
            if given_up.has.is_empty() {
                return Ok(false);
            }
            self.fail(&given_up.silent, "may have kept the key that was given up")?;
            self.set_user(User::Unregistered)?;
            return Ok(true);
        }
        if new.key.is_zero() {
            return Ok(true);
        }
        let proof = self.prove(active, new)?;
        let survey = if proof.has.is_empty() { self.survey()? } else { None };
        let has = |survey: &Survey| survey.registrants.iter().any(|r| r.key == new.key && self.is_own(&r.identity));
        if !proof.has.is_empty() || survey.as_ref().is_some_and(has) {
            if let Some(old) = self.memory.key().filter(|old| *old != new.key) {
                self.memory.paths.iter_mut().for_each(|path| path.leave_over(old));
            }
            self.complete_on(&proof, new)?;
            return Ok(true);
        }
        // Paths that do not answer have not got it if nobody has.
        Ok(proof.shows_none() || survey.is_some_and(|survey| !survey.has(new.key)))
    }
}
