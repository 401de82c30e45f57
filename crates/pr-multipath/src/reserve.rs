//! RESERVE, RELEASE and CLEAR.

use scsi_persistent_reservations::{BasicParameters, ReservationKey, ReservationType, SenseCode, Status};

use crate::{
    Class, CommandResult, Io, Multipathd, PathId, User,
    engine::{Answer, Engine, Request},
    identify::Identified,
    survey::{Registrant, Survey},
};

impl<I: Io> Engine<'_, I> {
    /// RESERVE. The holder may repeat it, but the logical unit knows the holder by its path.
    pub fn reserve(&mut self, request: &Request<'_>) -> Result<Answer, I::Stop> {
        let active = self.active();
        let judged = self.judge(&active, request)?;
        let class = judged.result.class();
        let key = request.parameters.key;
        let mut answer = Answer::from(judged.result);
        if class == Class::Good {
            self.give_back(&judged.refused, key)?;
        } else if matches!(class, Class::Conflict | Class::NotThisPath | Class::Busy | Class::Lost | Class::Unsent) {
            // A path that is away may hold what is asked for; so may one whose answer was lost.
            let survey = match self.survey_first()? {
                Ok(survey) => survey,
                Err(failure) => return Ok(failure),
            };
            let held = survey.as_ref().and_then(Survey::holder).filter(|holder| {
                holder.key == key && holder.holds == Some(request.scope_type) && self.is_own(&holder.identity)
            });
            let is_ours = held.is_some() || self.all_hold(survey.as_ref(), request);
            if !is_ours {
                let looks_alike = survey.as_ref().is_some_and(|survey| {
                    let alike = |r: &Registrant| r.key == key && r.holds == Some(request.scope_type);
                    survey.registrants.iter().any(alike)
                });
                let holder = survey.as_ref().and_then(Survey::holder).filter(|holder| holder.key == key);
                let is_silent = |id: &&PathId| self.identity(**id).is_none() && self.active().contains(*id);
                let silent = judged.unready.iter().chain(&judged.lost).find(is_silent).copied();
                let is_other = |holder: &&Registrant| !self.is_own(&holder.identity);
                let suspect = holder.and_then(|h| self.may_be(h)).or(holder.filter(is_other).and(silent));
                if let Some(path) = suspect {
                    return Ok(self.unknown_holder(path, key));
                }
                if looks_alike && !judged.lost.is_empty() {
                    // It may be what this command has done, or another node's with the same key.
                    return Ok(Answer::failure("a path gave no answer, and the others refuse the command".to_owned()));
                }
                return Ok(answer);
            }
            answer = Answer::GOOD;
            answer.notes.push("the reservation is held by a path that is away or gave no answer".to_owned());
        } else {
            return Ok(answer);
        }
        self.hold(true)?;
        self.say_who_writes(request, judged.path);
        Ok(answer)
    }

    /// An all-registrants reservation of the type that is asked for, whose registrants we are among.
    fn all_hold(&self, survey: Option<&Survey>, request: &Request<'_>) -> bool {
        ReservationType::from_scope_type(request.scope_type).is_some_and(ReservationType::is_all_registrants)
            && survey.is_some_and(|survey| {
                survey.registrants.iter().any(|registrant| {
                    registrant.key == request.parameters.key
                        && registrant.holds == Some(request.scope_type)
                        && self.is_own(&registrant.identity)
                })
            })
    }

    /// Write Exclusive and Exclusive Access admit the nexus that holds the reservation, and no other path's.
    pub fn say_who_writes(&mut self, request: &Request<'_>, path: Option<PathId>) {
        let kind = ReservationType::from_scope_type(request.scope_type);
        if let (Some(kind), Some(path)) = (kind.filter(|kind| !kind.admits_registrants()), path)
            && self.active().len() > 1
        {
            let name = self.name(path);
            self.notes.push(format!("{kind} admits path {name} alone; on a map use the registrants only types"));
        }
    }

    pub fn hold(&mut self, holds: bool) -> Result<(), I::Stop> {
        if self.memory.suspended {
            self.to_tell.push(Multipathd::Hold(holds));
            return Ok(());
        }
        self.has_told = true;
        if let Err(untold) = self.io.multipathd(Multipathd::Hold(holds))? {
            // What it does not know of a reservation, it asks the disk.
            self.notes.push(untold.words);
        }
        Ok(())
    }

    /// Paths that have lost the key, as another one that has it shows, get it back.
    pub fn give_back(&mut self, paths: &[PathId], key: ReservationKey) -> Result<(), I::Stop> {
        if paths.is_empty() {
            return Ok(());
        }
        let own = self.own(key, None)?;
        self.give(paths, own)?;
        Ok(())
    }

    /// RELEASE. Only the path that holds the reservation releases it; every other one is told GOOD, and nothing happens.
    pub fn release(&mut self, request: &Request<'_>) -> Result<Answer, I::Stop> {
        let Identified { survey, .. } = match self.survey_and_holder()? {
            Ok(identified) => identified,
            Err(answer) => return Ok(answer),
        };
        let answer = self.release_as(request, survey.as_ref())?;
        let holder = survey.as_ref().and_then(Survey::holder).filter(|holder| holder.key != request.parameters.key);
        if answer.is_done()
            && let Some(holder) = holder
            && (self.is_own(&holder.identity) || !self.is_key(request.parameters.key)?)
        {
            // The kernel's own target looks at the key only on the path that holds.
            return Ok(Answer::CONFLICT);
        }
        Ok(answer)
    }

    /// Whether the user is registered with this key, of whom it is known that it is registered.
    fn is_key(&mut self, key: ReservationKey) -> Result<bool, I::Stop> {
        if let Some(known) = self.memory.key() {
            return Ok(known == key);
        }
        if key.is_zero() {
            return Ok(false);
        }
        let own = self.own(key, None)?;
        Ok(!self.prove(&self.active(), own)?.shows_none())
    }

    fn release_as(&mut self, request: &Request<'_>, survey: Option<&Survey>) -> Result<Answer, I::Stop> {
        let active = self.active();
        let all_hold = survey.is_some_and(Survey::is_held_by_all);
        let holder = survey.and_then(Survey::holder).cloned();
        let key = request.parameters.key;
        self.own.push(SenseCode::RESERVATIONS_RELEASED);
        let mut order = active.clone();
        if let Some(holder) = &holder {
            order.sort_by_key(|id| self.identity(*id) != Some(&holder.identity));
        }
        let is_on =
            |engine: &Self, id: &PathId| holder.as_ref().is_some_and(|h| engine.identity(*id) == Some(&h.identity));
        let knows_holder = order.first().is_some_and(|id| is_on(self, id));
        if all_hold || knows_holder || (holder.is_none() && survey.is_some()) {
            // One path's word is enough; of an all-registrants reservation a second RELEASE might meet a newer one.
            let judged = self.judge(&order, request)?;
            let class = judged.result.class();
            let released_by = judged.path;
            let holding = order.first().filter(|_| knows_holder);
            if class == Class::Good
                && holding.is_some_and(|id| judged.refused.contains(id) && !judged.unready.contains(id))
            {
                // The kernel's own target looks at the key only on the path that holds.
                return Ok(Answer::CONFLICT);
            }
            if let Some(was) = holder.as_ref().filter(|_| knows_holder)
                && class == Class::Good
                && released_by != order.first().copied()
            {
                return self.release_lost(request, was, judged.result.into());
            }
            if let Some(was) = holder.as_ref().filter(|_| knows_holder)
                && class > Class::Verdict
                && order.first().is_some_and(|id| judged.lost.contains(id))
            {
                return self.release_lost(request, was, judged.result.into());
            }
            if class == Class::Good
                && let Some(was) = holder.as_ref().filter(|was| was.key == key)
                && let Some(after) = self.survey()?
                && after.holder() == Some(was)
            {
                // The kernel's own target says GOOD on a path that does not hold: it was not the one it was taken for.
                return self.release_anywhere(request, Some(&after));
            }
            let answer = Answer::from(judged.result);
            if class == Class::Good {
                let others: Vec<PathId> = active.into_iter().filter(|id| Some(*id) != released_by).collect();
                self.drain(&others)?;
                self.hold(false)?;
            }
            return Ok(answer);
        }
        if let Some(holder) = &holder
            && self.is_own(&holder.identity)
            && holder.key == key
        {
            return self.release_away(request, holder.holds.unwrap_or(request.scope_type), survey);
        }
        if holder.as_ref().is_some_and(|holder| holder.key != key && self.is_own(&holder.identity)) {
            // The kernel's own target looks at the key only on the path that holds, which is away.
            return Ok(Answer::CONFLICT);
        }
        if let Some(holder) = &holder
            && holder.key == key
            && let Some(path) = self.may_be(holder)
        {
            return Ok(self.unknown_holder(path, key));
        }
        self.release_anywhere(request, survey)
    }

    /// The reservation is somebody else's, as far as is known; or nobody tells. Each path is asked by itself, until the
    /// reservation is gone.
    fn release_anywhere(&mut self, request: &Request<'_>, survey: Option<&Survey>) -> Result<Answer, I::Stop> {
        let holder = survey.and_then(Survey::holder);
        let mut best: Option<CommandResult> = None;
        let mut silent = None;
        let mut refused = Vec::new();
        for id in self.active() {
            let Some((_, result)) = self.send_to_all(&[id], &request.cdb, request.list)?.pop() else { continue };
            let class = result.class();
            if class == Class::Conflict {
                refused.push(id);
            }
            if class > Class::Conflict && self.identity(id).is_none() {
                silent = Some(id);
            }
            if class == Class::Good
                && holder.is_some()
                && self.survey()?.is_some_and(|survey| survey.holder().is_none())
            {
                best = Some(result);
                break;
            }
            // Of a wrong type only the path that holds has a word to say.
            if class == Class::Verdict || best.as_ref().is_none_or(|best| class < best.class()) {
                best = Some(result);
            }
            if class == Class::Verdict {
                break;
            }
        }
        let others: Vec<PathId> = self.active();
        self.drain(&others)?;
        // The kernel's own target looks at key and type only on the path that holds, and says GOOD on every other one.
        let key = request.parameters.key;
        if best.as_ref().is_some_and(|best| best.class() == Class::Good)
            && let Some(holder) = holder.filter(|holder| holder.key == key || self.memory.key().is_none())
            && self.was_refused_by(&refused, holder, key)?
        {
            return Ok(Answer::CONFLICT);
        }
        if let Some(id) = silent
            && holder.is_some_and(|holder| holder.key == request.parameters.key)
            && best.as_ref().is_some_and(|best| best.class() == Class::Good)
        {
            if self.survey()?.is_none_or(|survey| survey.holder() == holder) {
                return Ok(self.unknown_holder(id, request.parameters.key));
            }
            // If that path held it, another node has preempted this host meanwhile: then a path that has just been registered
            // is not any more, and none is.
            let own = self.own(key, None)?;
            let proof = self.prove(&self.active(), own)?;
            if proof.has.is_empty() && !proof.lacks.is_empty() {
                return Ok(Answer::CONFLICT);
            }
        }
        Ok(best.map_or(Answer::CONFLICT, Answer::from))
    }

    /// Whether one of these paths, which have refused a RELEASE with this key, has the key that the holder of the reservation
    /// has: it is the holder then. If no path has it any more, this host was preempted meanwhile, and that is a conflict.
    fn was_refused_by(
        &mut self,
        refused: &[PathId],
        holder: &Registrant,
        key: ReservationKey,
    ) -> Result<bool, I::Stop> {
        let unknown: Vec<PathId> = refused.iter().copied().filter(|id| self.identity(*id).is_none()).collect();
        if unknown.is_empty() {
            return Ok(false);
        }
        let own = self.own(holder.key, None)?;
        let proof = self.prove(&self.active(), own)?;
        Ok(unknown.iter().any(|id| proof.has.contains(id)) || holder.key == key && proof.shows_none())
    }

    /// The path that holds the reservation gave no answer to RELEASE.
    fn release_lost(&mut self, request: &Request<'_>, was: &Registrant, told: Answer) -> Result<Answer, I::Stop> {
        let Some(survey) = self.survey()? else {
            return Ok(Answer::failure("the path that holds the reservation gave no answer".to_owned()));
        };
        match survey.holder().cloned() {
            Some(holder) if self.is_own(&holder.identity) && holder.key == request.parameters.key => {
                self.release_away(request, holder.holds.unwrap_or(request.scope_type), Some(&survey))
            }
            // The kernel's own target looks at the key only on the path that holds.
            Some(holder) if self.is_own(&holder.identity) => Ok(Answer::CONFLICT),
            _ if survey.registrants.iter().any(|r| r.holds.is_some() && self.is_own(&r.identity)) => Ok(told),
            _ if survey.of(&was.identity).is_none() => Ok(Answer::failure(
                "a path gave no answer, and another node has preempted this host meanwhile".to_owned(),
            )),
            _ => {
                let others = self.active();
                self.drain(&others)?;
                self.hold(false)?;
                Ok(Answer::GOOD)
            }
        }
    }

    /// The reservation is held by a path of ours that does not answer: another one takes it over and releases it.
    fn release_away(&mut self, request: &Request<'_>, held: u8, survey: Option<&Survey>) -> Result<Answer, I::Stop> {
        let key = request.parameters.key;
        if held != request.scope_type {
            return Ok(Answer::check(SenseCode::INVALID_RELEASE));
        }
        if !survey.is_some_and(|survey| self.is_exclusive(survey, key)) {
            return Ok(Answer::failure(format!(
                "a path that is away holds the reservation under key {key}, and so does a registration that is not known \
                 to be this host's: it cannot be taken over; bring the path back"
            )));
        }
        if let Some(answer) = self.reach_all()? {
            return Ok(answer);
        }
        let list = BasicParameters::keys(key, key).to_bytes();
        let take = Request::preempting_own(key, held, request.budget, &list);
        let own = self.own(key, survey)?;
        let taken = self.take_over(&take, own, None, |engine, path| {
            let results = engine.send_to_all(&[path], &request.cdb, request.list)?;
            Ok((results.into_iter().next().map_or(Answer::CONFLICT, |(_, result)| result.into()), own))
        })?;
        if taken.status == Status::GOOD {
            self.hold(false)?;
        }
        Ok(taken)
    }

    /// No path is registered; but what is out on one may yet be carried out.
    fn forget_leftovers(&mut self) {
        let is_busy = |id: PathId| self.paths.iter().any(|path| path.id == id && path.busy);
        for path in self.memory.paths.iter_mut().filter(|path| !is_busy(path.id)) {
            path.leftovers.clear();
        }
    }

    /// CLEAR. With one path's word all registrations are gone.
    pub fn clear(&mut self, request: &Request<'_>) -> Result<Answer, I::Stop> {
        // Should the answer be lost, it is known what has changed.
        let before = match self.survey_or_answer()? {
            Ok(survey) => survey,
            Err(answer) => return Ok(answer),
        };
        let active = self.active();
        self.own.push(SenseCode::RESERVATIONS_PREEMPTED);
        let judged = self.judge(&active, request)?;
        let class = judged.result.class();
        let mut answer = Answer::from(judged.result);
        if !judged.lost.is_empty() && class != Class::Good {
            // Nobody keeps a registration. Where somebody does, another node has preempted this host.
            let cleared = self.survey()?.is_some_and(|survey| survey.registrants.is_empty());
            let key = request.parameters.key;
            let was_registered = before.is_some_and(|survey| {
                survey.registrants.iter().any(|registrant| registrant.key == key && self.is_own(&registrant.identity))
            });
            if !cleared || !was_registered {
                answer.notes.push("a path gave no answer, and may have carried the command out".to_owned());
                if answer.status == Status::RESERVATION_CONFLICT && cleared {
                    answer = Answer { notes: answer.notes, ..Answer::check(SenseCode::COMMUNICATION_FAILURE) };
                }
                return Ok(answer);
            }
            answer = Answer::GOOD;
        }
        if answer.status != Status::GOOD && class != Class::Good {
            return Ok(answer);
        }
        let others: Vec<PathId> =
            self.active().into_iter().filter(|id| class != Class::Good || Some(*id) != judged.path).collect();
        self.drain(&others)?;
        self.forget_leftovers();
        self.set_user(User::Unregistered)?;
        Ok(answer)
    }
}
