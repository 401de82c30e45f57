//! Registrations that are left behind: on paths that are away when the user changes its key or gives it up.

use scsi_persistent_reservations::{BasicParameters, OutAction, PrOut, ReservationKey, ReservationType, SenseCode};

use crate::{
    Class, Io, PathId, Registration, Step, User,
    ask::{parts, register_with},
    engine::{Answer, Engine, Request},
    register::{Plan, Progress},
    survey::{Registrant, Survey},
};

/// What became of a key on a path that is away.
enum Ended {
    /// It is preempted, from whoever had it.
    Preempted,
    /// It is there as before.
    Stays,
    /// It was not there any more, or is not now, without anything of ours.
    Otherwise,
    /// Another node has acted, and this is what the user is told.
    Tells(Answer),
}

impl<I: Io> Engine<'_, I> {
    /// All paths were told to forget the key.
    pub fn left(&mut self, plan: &Plan, progress: &Progress) -> Result<Answer, I::Stop> {
        let mut left = Vec::new();
        for id in &progress.silent {
            // Whoever does not answer is asked for by the others.
            let identity = self.identity(*id).cloned();
            let is_gone = match (identity, self.survey()?) {
                (Some(identity), Some(survey)) => survey.of(&identity).is_none(),
                _ => false,
            };
            if !is_gone {
                left.push(*id);
            }
        }
        if left.is_empty() {
            for id in progress.done.iter().chain(&progress.silent) {
                self.memory.path(*id).leftovers.clear();
            }
            for id in &progress.silent {
                // Another node has preempted what it did not give up, and the path has that to report.
                self.memory.path(*id).expect_changes();
            }
            self.set_user(User::Unregistered)?;
            return Ok(Answer::GOOD);
        }
        self.fail(&left, &format!("could not be unregistered from key {}", plan.old))?;
        for id in &left {
            self.leave_over(*id, plan.old)?;
        }
        let survey = self.survey()?;
        let holds = |id: &PathId| {
            let registrant = self.identity(*id).and_then(|identity| survey.as_ref()?.of(identity));
            registrant.map_or(survey.is_none(), |registrant| registrant.holds.is_some())
        };
        // What all registrants hold stays with another node's registration, whatever is left of this one's.
        let stays = survey.as_ref().is_some_and(|survey| {
            let is_others = |r: &Registrant| r.key != plan.old && !self.is_own(&r.identity);
            survey.is_held_by_all() && survey.registrants.iter().any(is_others)
        });
        if !stays && left.iter().any(holds) {
            // The reservation stands: this is not what one disk would have.
            return Ok(Answer::failure("the path that holds the reservation did not answer".to_owned()));
        }
        self.set_user(User::Unregistered)?;
        Ok(Answer::GOOD)
    }

    /// Unregisters while a path that is away has the key as well, and there is no reservation of ours: the key is
    /// preempted from one path, which ends that one's registration, too.
    pub fn leave(&mut self, request: &Request<'_>, plan: &Plan) -> Result<Answer, I::Stop> {
        if !self.may_preempt(plan, plan.old) {
            // Somebody else has the same key: it cannot be preempted. What is away keeps it, and is looked after later.
            let answer = self.spread(request, plan)?;
            for (id, key, _) in &plan.away {
                self.leave_over(*id, *key)?;
            }
            return Ok(answer);
        }
        self.set_step(Step::Registering { before: Some(plan.old), new: plan.new })?;
        let kind = plan.survey.as_ref().map_or(ReservationType::WriteExclusive.code(), Survey::type_for_preempting);
        let list = BasicParameters::keys(plan.old, plan.old).to_bytes();
        let take = Request::preempting_own(plan.old, kind, request.budget, &list);
        self.own.push(SenseCode::REGISTRATIONS_PREEMPTED);
        // Whether registrations persist from now on is the command's to say.
        let own = Registration { persist: plan.new.persist, ..self.own(plan.old, plan.survey.as_ref())? };
        self.prove(&plan.had, own)?;
        let judged = self.judge(&plan.had, &take)?;
        let mut judge = judged.path.filter(|_| judged.result.class() == Class::Good);
        let ignores = plan.action == OutAction::RegisterAndIgnoreExistingKey;
        let may_be_over = (ignores || !judged.lost.is_empty()) && judged.result.class() > Class::Verdict;
        if judge.is_none() && (may_be_over || !judged.lost.is_empty()) {
            // Was it carried out, or another node faster? Then no path has the key any more, or, on the kernel's own target
            // while all registrants hold, the one that carried it out alone.
            let after = self.find(&plan.had, own)?;
            if may_be_over && after.has.is_empty() && after.silent.is_empty() {
                let active = self.active();
                self.drain(&active)?;
                self.set_user(User::Unregistered)?;
                return Ok(Answer::GOOD);
            }
            judge = judged.kept(&after).filter(|_| after.has.len() == 1 && !after.lacks.is_empty());
        }
        let Some(judge) = judge else {
            return self.give_up(plan, &judged.lost, &judged.unready, judged.result.into());
        };
        // A reservation may have come about in between, and then the registration is still there.
        let (cdb, list) = register_with(OutAction::Register, plan.old, plan.new);
        let results = self.send_to_all(&[judge], &cdb, &list)?;
        let others: Vec<PathId> = self.active().into_iter().filter(|id| *id != judge).collect();
        self.drain(&others)?;
        if results.iter().all(|(_, result)| matches!(result.class(), Class::Good | Class::Conflict)) {
            self.set_user(User::Unregistered)?;
            return Ok(Answer::GOOD);
        }
        self.left(plan, &Progress { silent: vec![judge], ..Progress::default() })
    }

    /// Keys that paths have kept which are away would let this host write after it was fenced, or keep a reservation.
    pub fn clean_up(&mut self, plan: &Plan, done: &[PathId]) -> Result<Option<Answer>, I::Stop> {
        let mut away = plan.away.clone();
        // Paths that this command has found dead, or not ready, keep what they had.
        for path in self.paths.iter().filter(|path| !done.contains(&path.id) && plan.had.contains(&path.id)) {
            if plan.old != plan.new.key && !away.iter().any(|(id, ..)| *id == path.id) {
                away.push((path.id, plan.old, None));
            }
        }
        let strangers: Vec<PathId> = self.inactive_unknown();
        let known = self.memory.key().filter(|_| plan.action == OutAction::RegisterAndIgnoreExistingKey);
        let old = known.filter(|_| plan.old.is_zero()).unwrap_or(plan.old);
        if old != plan.new.key && !old.is_zero() && !strangers.is_empty() {
            let survey = self.survey()?;
            let is_there = survey.is_none_or(|survey| !self.is_exclusive(&survey, old));
            for id in strangers {
                if is_there {
                    self.leave_over(id, old)?;
                } else {
                    self.memory.path(id).leave_over(old);
                }
            }
        }
        let mut preempted = Vec::new();
        let mut stays = false;
        for (id, key, _) in &away {
            if preempted.contains(key) || done.contains(id) {
                continue;
            }
            match self.end_away(plan, done, *id, *key)? {
                Ended::Preempted => preempted.push(*key),
                Ended::Stays => {
                    self.leave_over(*id, *key)?;
                    let holder = plan.survey.as_ref().and_then(Survey::holder);
                    stays |= holder.is_some_and(|holder| self.identity(*id) == Some(&holder.identity));
                }
                Ended::Otherwise => {}
                Ended::Tells(answer) => return Ok(Some(answer)),
            }
        }
        if stays {
            // The reservation is held with the old key, and one disk would have it with the new one.
            self.set_user(User::Registered(plan.new))?;
            return Ok(Some(Answer::failure("the path that holds the reservation did not answer".to_owned())));
        }
        Ok(None)
    }

    /// Preempts a key from a path that is away, if nobody else has it.
    fn end_away(&mut self, plan: &Plan, done: &[PathId], id: PathId, key: ReservationKey) -> Result<Ended, I::Stop> {
        let Some(identity) = self.identity(id).cloned() else { return Ok(Ended::Stays) };
        let Some(survey) = self.survey()? else { return Ok(Ended::Stays) };
        if survey.of(&identity).is_none_or(|registrant| registrant.key != key) {
            if survey.of(&identity).is_none() && !plan.key.is_zero() && key == plan.key {
                // Somebody has preempted the key that this command changes, and was told that it worked.
                return self.fenced(plan, done).map(Ended::Tells);
            }
            return Ok(Ended::Otherwise);
        }
        let Some(from) = done.first().copied().filter(|_| self.is_exclusive(&survey, key)) else {
            return Ok(Ended::Stays);
        };
        // With the key of the path that holds the reservation this is preempted, too, whichever path is looked at.
        let kind = survey.holder().filter(|holder| holder.key == key).and_then(|holder| holder.holds);
        let kind = kind.unwrap_or(survey.type_for_preempting());
        let (cdb, list) = parts(&PrOut::new(OutAction::Preempt, kind, BasicParameters::keys(plan.new.key, key)));
        // The path that is away is told of this when it comes back, and the user did it itself.
        self.expect_on_others(done)?;
        match self.send_to_all(&[from], &cdb, &list)?.pop().map(|(_, result)| result.class()) {
            Some(Class::Good) => return Ok(Ended::Preempted),
            Some(Class::Conflict) => {}
            _ => return Ok(Ended::Stays),
        }
        // Either key is gone: the old one, or the new.
        let after = self.survey()?;
        let is_gone = after.as_ref().is_some_and(|survey| !survey.has(key));
        // multipathd has registered the path with the new key, should it have come back.
        let has_new = after.as_ref().and_then(|survey| survey.of(&identity));
        if is_gone && key == plan.key && has_new.is_none() {
            return self.fenced(plan, done).map(Ended::Tells);
        }
        if !self.prove(done, plan.new)?.lacks.is_empty() {
            return self.preempted(plan).map(Ended::Tells);
        }
        Ok(if is_gone { Ended::Otherwise } else { Ended::Stays })
    }

    /// Paths other than these are told of a registration that the engine ends.
    fn expect_on_others(&mut self, done: &[PathId]) -> Result<(), I::Stop> {
        for path in self.memory.paths.iter_mut().filter(|path| !done.contains(&path.id)) {
            path.expect(SenseCode::REGISTRATIONS_PREEMPTED);
        }
        self.keep()
    }

    /// Paths that carry no I/O and of which it is not known who they are to the logical unit.
    fn inactive_unknown(&self) -> Vec<PathId> {
        let paths = self.paths.iter().filter(|path| !path.active).map(|path| path.id);
        paths.filter(|id| self.identity(*id).is_none()).collect()
    }

    /// A key stays behind on a path that is away, and has to be taken from it when it comes back.
    pub fn leave_over(&mut self, id: PathId, key: ReservationKey) -> Result<(), I::Stop> {
        self.memory.path(id).leave_over(key);
        self.notes.push(format!("path {}, which is away, is still registered with key {key}", self.name(id)));
        self.keep()
    }

    /// Of paths that did not answer, those that may have the key, as far as others know.
    pub fn still_registered(&mut self, paths: &[PathId], key: ReservationKey) -> Result<Vec<PathId>, I::Stop> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let survey = self.survey()?;
        let is_free = |engine: &Self, id: &PathId| {
            let survey = survey.as_ref()?;
            match engine.identity(*id) {
                Some(identity) => Some(survey.of(identity).is_none_or(|registrant| registrant.key != key)),
                None => Some(!survey.has(key)),
            }
        };
        Ok(paths.iter().copied().filter(|id| is_free(self, id) != Some(true)).collect())
    }

    /// Of paths that did not answer, those that may have the key: they are looked at later, and an administrator is told.
    pub fn may_be_registered(&mut self, paths: &[PathId], key: ReservationKey) -> Result<Vec<PathId>, I::Stop> {
        let may = self.still_registered(paths, key)?;
        for id in &may {
            self.memory.path(*id).unsettled = true;
            let name = self.name(*id);
            self.notes.push(format!("path {name} may be registered with key {key}"));
        }
        Ok(may)
    }

    /// The path that holds the reservation is away, and its key, which has to be preempted, may be another node's as well.
    pub fn cannot_be_moved(&self, path: PathId, key: ReservationKey) -> Answer {
        Answer::failure(format!(
            "path {}, which is away, holds the reservation under key {key}, and so does a registration that is not \
             known to be this host's: it cannot be moved; bring the path back, or take it out of the target",
            self.name(path)
        ))
    }

    /// Who holds the reservation under the user's key may be a path that is away, or another node.
    pub fn unknown_holder(&self, path: PathId, key: ReservationKey) -> Answer {
        Answer::failure(format!(
            "path {}, which is away or does not answer, may hold the reservation under key {key}, or another node does that \
             uses the same key; bring the path back, or take it out of the map",
            self.name(path)
        ))
    }
}
