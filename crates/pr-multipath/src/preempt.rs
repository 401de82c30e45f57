//! PREEMPT and PREEMPT AND ABORT.
//!
//! To preempt somebody else is one path's business. To preempt one's own key (a guest that was migrated does that, and
//! `fence_scsi`) removes it from every path but the one that says so; if the logical unit leaves the registration there,
//! it is given back to the others, and the map is suspended meanwhile, so that no write fails.

use scsi_persistent_reservations::{ReservationKey, SenseCode, Status};

use crate::{
    Budget, Class, Io, PathId, Registration, Step, User,
    ask::Proof,
    engine::{Answer, Engine, Request},
    survey::Survey,
};

impl<I: Io> Engine<'_, I> {
    pub fn preempt(&mut self, request: &Request<'_>) -> Result<Answer, I::Stop> {
        let (key, victim) = (request.parameters.key, request.parameters.service_action_key);
        // A key of zero takes an all-registrants reservation over from everybody, our other paths among them.
        if victim != key && !victim.is_zero() {
            return self.preempt_others(request);
        }
        let survey = match self.survey_or_answer()? {
            Ok(survey) => survey,
            Err(answer) => return Ok(answer),
        };
        let active = self.active();
        let own = self.own(key, survey.as_ref())?;
        let proof = self.prove(&active, own)?;
        if let Some(news) = self.news()? {
            return Ok(news);
        }
        if proof.has.is_empty() && !proof.silent.is_empty() {
            return Ok(Answer::failure("no path says whether it is registered".to_owned()));
        }
        if proof.has.is_empty() {
            // The logical unit says what is wrong. It cannot be right.
            let judged = self.judge(&active, request)?;
            return Ok(judged.result.into());
        }
        // Where no reservation is, or one that is not taken over, the registration ends on every path: as on one disk.
        let stays = survey.as_ref().is_none_or(|survey| {
            let holder = survey.holder().is_some_and(|holder| holder.key == victim);
            holder || victim.is_zero() && survey.is_held_by_all()
        });
        if !stays {
            let is_held_by_all = survey.as_ref().is_some_and(Survey::is_held_by_all);
            return self.preempt_and_leave(request, own, &proof.has, is_held_by_all);
        }
        if let Some(answer) = self.reach_all()? {
            return Ok(answer);
        }
        let answer = self.take_over(request, own, None, |_, _| Ok((Answer::GOOD, own)))?;
        if answer.status == Status::GOOD {
            if victim.is_zero() {
                self.hold(true)?;
            }
            self.say_who_writes(request, active.first().copied());
        }
        Ok(answer)
    }

    /// Preempts the own key where that ends its registration, on one path as on all. The kernel's own target leaves the path
    /// registered that says so while all registrants hold the reservation (`target_core_pr.c`), and a reservation may come
    /// about in between; then the others get the key back, and where that is to be expected the map is suspended meanwhile.
    fn preempt_and_leave(
        &mut self,
        request: &Request<'_>,
        own: Registration,
        has: &[PathId],
        may_stay: bool,
    ) -> Result<Answer, I::Stop> {
        if may_stay && let Some(answer) = self.reach_all()? {
            return Ok(answer);
        }
        self.own.push(SenseCode::REGISTRATIONS_PREEMPTED);
        self.own.push(SenseCode::RESERVATIONS_RELEASED);
        self.begin_preempting(own, may_stay)?;
        let active = self.active();
        let mut judged = self.judge(has, request)?;
        let mut left = self.find(&active, own)?;
        let mut may_be_done = judged.result.class() == Class::Good || !judged.lost.is_empty();
        let kept = judged.kept(&left);
        if let Some(kept) = kept.filter(|_| judged.result.class() != Class::Good) {
            // It was not carried out, or has left this path registered, and means the same once more.
            judged = self.judge(&[kept], request)?;
            left = self.find(&active, own)?;
            may_be_done = true;
        }
        let class = judged.result.class();
        (self.took_over, self.ran_out) = (may_stay, class == Class::Unsent);
        let mut answer = Answer::from(judged.result);
        if let Some(from) = left.has.first().copied().filter(|_| may_be_done) {
            self.restore(from, own)?;
        } else if left.has.is_empty() && left.silent.is_empty() {
            if class != Class::Good && !judged.lost.is_empty() && request.parameters.service_action_key == own.key {
                answer = Answer::GOOD;
            }
            self.let_go()?;
            self.drain(&active)?;
            self.set_user(User::Unregistered)?;
        } else if left.has.is_empty() {
            // Nobody says whether it is there: that is seen when a path answers. The one that has done it may have the key.
            let is_other = |id: &PathId| class == Class::Good && judged.path != Some(*id);
            let others: Vec<PathId> = left.silent.into_iter().filter(is_other).collect();
            let unfit = self.carrying(&others)?;
            self.fail(&unfit, &format!("may lack key {}", own.key))?;
            self.let_go()?;
            self.drain(&active)?;
            return Ok(answer);
        }
        self.let_go()?;
        self.drain(&active)?;
        self.set_step(Step::Idle)?;
        Ok(answer)
    }

    /// It is to be known from now on that paths may lack the key that one of them has.
    fn begin_preempting(&mut self, own: Registration, suspends: bool) -> Result<(), I::Stop> {
        self.memory.step = Step::Preempting { own };
        self.memory.suspended = suspends;
        self.keep()?;
        if suspends {
            self.memory.suspended = self.io.suspend()?;
            self.keep()?;
        }
        Ok(())
    }

    fn preempt_others(&mut self, request: &Request<'_>) -> Result<Answer, I::Stop> {
        // Should the answer be lost, it is known what has changed.
        let before = self.survey()?;
        if let Some(news) = self.news()? {
            return Ok(news);
        }
        let active = self.active();
        let (key, victim) = (request.parameters.key, request.parameters.service_action_key);
        let holder = before.as_ref().filter(|survey| !survey.is_held_by_all()).and_then(Survey::holder);
        let takes_over = holder.is_some_and(|holder| holder.key == victim);
        self.own.push(SenseCode::RESERVATIONS_RELEASED);
        // One that has the key speaks for all. What is out on a path that hangs might preempt whoever uses the key later.
        let has_key = |id: &PathId| before.as_ref().is_some_and(|survey| self.is_registered(survey, *id, key));
        let registered: Vec<PathId> = active.iter().copied().filter(has_key).collect();
        let judged = self.judge_by(&active, &registered, request)?;
        let class = judged.result.class();
        let mut answer = Answer::from(judged.result);
        if class == Class::Good {
            self.give_back(&judged.refused, key)?;
            let others: Vec<PathId> = active.into_iter().filter(|id| Some(*id) != judged.path).collect();
            self.drain(&others)?;
            self.say_who_writes(request, judged.path);
        } else if !judged.lost.is_empty() && class > Class::Verdict {
            // Carried out, and the answer lost? Then the victim is gone, and we are still there.
            let survey = self.survey()?;
            let own = self.own(key, survey.as_ref())?;
            let is_done =
                before.is_some_and(|survey| survey.has(victim)) && survey.is_some_and(|survey| !survey.has(victim));
            let has = self.prove(&active, own)?.has;
            if judged.early.iter().any(|id| has.contains(id)) {
                // A path with the key was refused: the victim was not there.
                return Ok(Answer::CONFLICT);
            }
            if is_done && !has.is_empty() && request.budget == Budget::Command {
                // PREEMPT AND ABORT: nobody else can tell whether it came to its end.
                answer = Answer::failure(format!(
                    "the answer was lost, and key {victim} is gone; whether all commands of its registrants were aborted is \
                     not known"
                ));
            } else if is_done && !has.is_empty() {
                answer = Answer::GOOD;
                answer.notes.push(format!("the answer was lost, and key {victim} is gone"));
            } else if answer.status == Status::RESERVATION_CONFLICT {
                answer = Answer::failure("a path gave no answer, and the others refuse the command".to_owned());
            }
        }
        if takes_over && answer.status == Status::GOOD {
            self.hold(true)?;
        }
        Ok(answer)
    }

    /// Preempts the own key on one path, so that one nexus has it as on one disk, and gives it back to the others, while
    /// the map is suspended. What `then` does comes in between, on that path; it returns the registration that the path
    /// has then. Beside a path to be left alone the others give the key up by themselves, as long as they say that they
    /// have.
    pub fn take_over(
        &mut self,
        request: &Request<'_>,
        own: Registration,
        alone: Option<PathId>,
        then: impl FnOnce(&mut Self, PathId) -> Result<(Answer, Registration), I::Stop>,
    ) -> Result<Answer, I::Stop> {
        self.own.push(SenseCode::REGISTRATIONS_PREEMPTED);
        self.own.push(SenseCode::RESERVATIONS_RELEASED);
        let before = self.prove(&self.active(), own)?;
        if before.has.is_empty() && before.silent.is_empty() {
            // Preempted in between: the logical unit says so.
            return Ok(self.judge(&self.active(), request)?.result.into());
        }
        self.took_over = true;
        self.begin_preempting(own, true)?;

        let mut answer = Answer::GOOD;
        let mut asked = before.has.clone();
        let mut path = match alone.filter(|id| before.has.contains(id) && before.silent.is_empty()) {
            Some(alone) => {
                let others: Vec<PathId> = before.has.iter().copied().filter(|id| *id != alone).collect();
                let unsure = self.take_back(&others, own)?;
                // Who has given the key up refuses everything from now on, and that is no conflict.
                asked.retain(|id| *id == alone || unsure.contains(id));
                Some(alone).filter(|_| unsure.is_empty())
            }
            None => None,
        };
        if path.is_none() {
            (path, answer) = self.preempt_own(request, own, &before, &asked)?;
        }
        let gives_again = path.is_none() && asked.len() < before.has.len();
        if let Some(path) = path {
            let registration;
            (answer, registration) = then(self, path)?;
            if registration.key.is_zero() {
                let others = self.active();
                self.drain(&others)?;
                self.set_user(User::Unregistered)?;
                // multipathd may have registered a path that came back meanwhile.
                let others: Vec<PathId> = self.active().into_iter().filter(|id| *id != path).collect();
                self.take_back(&others, own)?;
            } else {
                self.restore(path, registration)?;
            }
        } else if gives_again {
            self.give_again(&before.has, own)?;
        }
        self.let_go()?;
        if gives_again && self.ran_out {
            // There was no time for that while the map was suspended.
            self.give_again(&before.has, own)?;
        }
        self.memory.step = Step::Idle;
        self.keep()?;
        Ok(answer)
    }

    /// Nobody could preempt the own key, and paths have given it up already: as long as one has kept it they get it back.
    fn give_again(&mut self, paths: &[PathId], own: Registration) -> Result<(), I::Stop> {
        let found = self.find(paths, own)?;
        if let Some(from) = found.has.first() {
            return self.restore(*from, own);
        }
        for id in found.lacks.iter().filter(|_| !found.silent.is_empty()) {
            self.memory.path(*id).unsettled = true;
            let name = self.name(*id);
            self.notes.push(format!("path {name} lacks key {}, which no path confirms", own.key));
        }
        Ok(())
    }

    /// Has one of the paths that are asked preempt the own key; which one has it now, if any has done so, and what is told.
    fn preempt_own(
        &mut self,
        request: &Request<'_>,
        own: Registration,
        before: &Proof,
        asked: &[PathId],
    ) -> Result<(Option<PathId>, Answer), I::Stop> {
        let judged = self.judge(asked, request)?;
        let class = judged.result.class();
        self.ran_out = class == Class::Unsent;
        let mut path = judged.path.filter(|_| class == Class::Good);
        if path.is_none() && !judged.lost.is_empty() {
            let after = self.find(&before.has, own)?;
            if let Some(kept) = judged.kept(&after) {
                // The path that did it has kept the key, and means the same once more.
                let again = self.judge(&[kept], request)?;
                let alone = after.has.len() == 1 && before.has.len() > 1;
                // What all registrants held is one path's now: that cannot be taken over a second time.
                let taken = again.result.class() == Class::Verdict && self.holds_alone(own.key, request.scope_type)?;
                if again.result.class() == Class::Good || alone || taken {
                    path = Some(kept);
                }
            }
        }
        Ok((path, judged.result.into()))
    }

    /// Whether one registrant holds the reservation, with this key and this scope and type.
    fn holds_alone(&mut self, key: ReservationKey, scope_type: u8) -> Result<bool, I::Stop> {
        let survey = self.survey()?;
        let holder = survey.as_ref().and_then(Survey::holder);
        Ok(holder.is_some_and(|holder| holder.key == key && holder.holds == Some(scope_type)))
    }

    /// Gives the key to all paths but the one that has it. Those that do not take it carry no I/O; if somebody else has
    /// preempted it meanwhile, nobody has it.
    fn restore(&mut self, from: PathId, own: Registration) -> Result<(), I::Stop> {
        self.fail_hung()?;
        let others: Vec<PathId> = self.active().into_iter().filter(|id| *id != from).collect();
        self.drain(&others)?;
        let given = self.set(&others, own)?;
        let mut has = given.has;
        has.push(from);
        let confirmed = self.find(&has, own)?;
        if !confirmed.lacks.is_empty() {
            let all = self.active();
            self.withdraw(own, &all)?;
            return Ok(());
        }
        // The one that has had it all the time has it, whether there was time to ask it again or not.
        let silent = given.silent.into_iter().chain(given.lacks).chain(confirmed.silent).filter(|id| *id != from);
        let unfit = self.carrying(&silent.collect::<Vec<_>>())?;
        self.fail(&unfit, &format!("could not be given key {}", own.key))?;
        self.set_user(User::Registered(own))
    }

    /// Which paths have a key, by their own word, or by what others know of those that do not answer.
    pub fn find(&mut self, paths: &[PathId], own: Registration) -> Result<Proof, I::Stop> {
        let mut proof = self.prove(paths, own)?;
        if proof.silent.is_empty() {
            return Ok(proof);
        }
        let Some(survey) = self.survey()? else { return Ok(proof) };
        for id in std::mem::take(&mut proof.silent) {
            let registrant = self.identity(id).map(|identity| survey.of(identity));
            match registrant {
                Some(Some(registrant)) if registrant.key == own.key => proof.has.push(id),
                Some(_) => proof.lacks.push(id),
                None if !survey.has(own.key) => proof.lacks.push(id),
                None => proof.silent.push(id),
            }
        }
        Ok(proof)
    }

    /// Resumes the map, if it is we who have suspended it.
    pub fn let_go(&mut self) -> Result<(), I::Stop> {
        if self.memory.suspended {
            if self.io.resume()? {
                self.memory.suspended = false;
                for (id, why) in std::mem::take(&mut self.to_fail) {
                    self.fail(&[id], &why)?;
                }
            } else {
                self.notes.push("the map stays suspended; resume it: dmsetup resume".to_owned());
            }
            self.keep()?;
            self.tell_later()?;
        }
        Ok(())
    }

    /// Gives paths a key that others have, as long as these confirm it; those that do not get it carry no I/O.
    pub fn give(&mut self, paths: &[PathId], own: Registration) -> Result<bool, I::Stop> {
        let provers: Vec<PathId> = self.active().into_iter().filter(|id| !paths.contains(id)).collect();
        let mut provers = self.prove(&provers, own)?.has;
        if provers.is_empty() {
            // One that is away may still be registered, as far as the logical unit tells.
            let away = self.unusable();
            let survey = self.survey()?;
            let has = |id: &PathId| survey.as_ref().is_some_and(|survey| self.is_registered(survey, *id, own.key));
            provers = away.into_iter().filter(has).collect();
        }
        if provers.is_empty() {
            return Ok(false);
        }
        let given = self.set(paths, own)?;
        let confirmed = self.find(&provers, own)?;
        if !confirmed.lacks.is_empty() {
            self.withdraw(own, paths)?;
            return Ok(false);
        }
        if confirmed.has.is_empty() {
            // Nobody is left to confirm it: what was given is taken again, and tried later.
            let unsure = self.take_back(&given.has, own)?;
            let unsure = self.still_registered(&unsure, own.key)?;
            self.fail(&unsure, &format!("was given key {}, which no other path confirms", own.key))?;
            let given: Vec<PathId> = given.has.into_iter().filter(|id| !unsure.contains(id)).collect();
            self.fail(&given, &format!("lacks key {}, which no other path confirms", own.key))?;
            return Ok(false);
        }
        for id in &given.has {
            self.memory.path(*id).settled();
        }
        self.keep()?;
        let silent: Vec<PathId> = given.silent.into_iter().chain(given.lacks).collect();
        let active = self.active();
        let silent: Vec<PathId> = silent.into_iter().filter(|id| active.contains(id)).collect();
        let unfit = self.carrying(&silent)?;
        self.fail(&unfit, &format!("could not be given key {}", own.key))?;
        Ok(true)
    }
}
