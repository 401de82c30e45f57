//! REGISTER and REGISTER AND IGNORE EXISTING KEY.
//!
//! The user's own command goes to one path first: the judge. The same command goes to the others, so that each checks the
//! key. A path that refuses although it had the key shows that somebody else has acted: the node is fenced. One that
//! never had it is set, and only while another path confirms that it still is registered. A path that holds the
//! reservation comes last: until then another node that preempts the old key takes the reservation over as it would from
//! one disk.

use scsi_persistent_reservations::{BasicParameters, OutAction, PrOut, ReservationKey, SenseCode, Status};

use crate::{
    Class, Identity, Io, Multipathd, PathId, Registration, Step, User,
    ask::{Proof, parts},
    engine::{Answer, Engine, Request},
    identify::Identified,
    survey::{Registrant, Survey},
};

/// How often paths that came back meanwhile are looked for.
const ROUNDS: usize = 3;

/// What a registration needs to know before it begins.
pub(crate) struct Plan {
    pub action: OutAction,
    /// The key that the command names; zero for REGISTER AND IGNORE EXISTING KEY as well.
    pub key: ReservationKey,
    pub new: Registration,
    /// The key that is replaced, as far as that is known: the one that the command names, or the one that is there.
    pub old: ReservationKey,
    pub survey: Option<Survey>,
    /// Those paths that are known to have the key that is replaced.
    pub had: Vec<PathId>,
    /// Those that have said before the command that they have not the new key, because nobody else knows who they are.
    pub lacked: Vec<PathId>,
    /// The active path that holds the reservation.
    pub holder: Option<PathId>,
    /// Keys on paths that carry no I/O, and whether one of these holds the reservation (its scope and type).
    pub away: Vec<(PathId, ReservationKey, Option<u8>)>,
}

impl Plan {
    /// What was registered before by whoever this is.
    pub fn registrant(&self, identity: Option<&Identity>) -> Option<&Registrant> {
        self.survey.as_ref()?.of(identity?)
    }

    /// Whether more have the key that is replaced than the paths that are known to have it.
    pub fn is_shared(&self) -> bool {
        let same = |survey: &Survey| survey.registrants.iter().filter(|registrant| registrant.key == self.old).count();
        self.survey.as_ref().is_some_and(|survey| same(survey) > self.had.len())
    }
}

/// How the paths stand.
#[derive(Default)]
pub(crate) struct Progress {
    pub done: Vec<PathId>,
    /// Without the key, and known to have been so before.
    pub behind: Vec<PathId>,
    pub silent: Vec<PathId>,
    /// Not ready: no path for I/O.
    pub unready: Vec<PathId>,
    /// Those whose answer was lost before.
    pub lost: Vec<PathId>,
    /// A path that had the key has lost it.
    pub fenced: bool,
}

impl<I: Io> Engine<'_, I> {
    pub fn register(&mut self, action: OutAction, request: &Request<'_>) -> Result<Answer, I::Stop> {
        if let Some(answer) = self.reach_all()? {
            return Ok(answer);
        }
        let Identified { survey, silent } = match self.survey_and_holder()? {
            Ok(identified) => identified,
            Err(answer) => return Ok(answer),
        };
        let plan = self.plan(action, request, survey)?;
        if let Some(news) = self.news()? {
            return Ok(news);
        }
        if let Some((path, key, _)) =
            plan.away.iter().find(|(_, key, held)| held.is_some() && !self.may_preempt(&plan, *key))
        {
            return Ok(self.cannot_be_moved(*path, *key));
        }
        let ignores = plan.action == OutAction::RegisterAndIgnoreExistingKey;
        let replaces = |key: ReservationKey| key != plan.new.key && (key == plan.old || ignores && plan.old.is_zero());
        let alone = plan.survey.as_ref().and_then(Survey::holder);
        let holds =
            |r: &&Registrant| replaces(r.key) && r.holds.is_some() && (alone.is_some() || plan.new.key.is_zero());
        let holders: Vec<Registrant> =
            plan.survey.iter().flat_map(|survey| survey.registrants.iter().filter(holds).cloned()).collect();
        if let Some((path, key)) = holders.iter().find_map(|holder| Some((self.may_be(holder).or(silent)?, holder.key)))
        {
            return Ok(self.unknown_holder(path, key));
        }
        let unregisters = plan.new.key.is_zero() && !plan.had.is_empty();
        let is_users = ignores && self.memory.key().is_some_and(|own| own != plan.new.key);
        let changes = is_users || !plan.had.is_empty() && plan.new.key != plan.old;
        if changes {
            // A path that comes back from now on gets no key. From 0.13 on it would lose the new one, as long as multipathd
            // knows the old one, and with it the reservation.
            self.tell_multipathd(Multipathd::Forget)?;
        }
        let answer = if let Some(held) = self.held_alone(&plan) {
            self.change_held(request, &plan, held)?
        } else if unregisters && plan.away.iter().any(|(_, key, _)| *key == plan.old) {
            self.leave(request, &plan)?
        } else {
            self.spread(request, &plan)?
        };
        if plan.new.key.is_zero() && answer.is_done() && self.memory.user == User::Unregistered {
            self.drop_reported_change()?;
        }
        if answer.status != Status::GOOD && self.told.is_some() {
            self.tell_user()?;
        }
        let holds = |survey: &Survey| survey.registrants.iter().any(|r| r.holds.is_some() && self.is_own(&r.identity));
        if changes && self.memory.key().is_some() && plan.survey.as_ref().is_some_and(holds) {
            // It has forgotten that as well.
            self.hold(true)?;
        }
        Ok(answer)
    }

    pub fn plan(&mut self, action: OutAction, request: &Request<'_>, survey: Option<Survey>) -> Result<Plan, I::Stop> {
        let BasicParameters { key, service_action_key, activate_persist, all_target_ports, .. } = request.parameters;
        let new = Registration { key: service_action_key, persist: activate_persist, all_target_ports };
        let key = if action == OutAction::Register { key } else { ReservationKey::ZERO };
        let active = self.active();
        let registered = |engine: &Self, id: PathId| {
            let registrant = survey.as_ref()?.of(engine.identity(id)?);
            Some(registrant.map_or(ReservationKey::ZERO, |registrant| registrant.key))
        };
        let mut had = Vec::new();
        if !key.is_zero() {
            let mut unknown = Vec::new();
            for id in &active {
                match registered(self, *id) {
                    Some(has) if has == key => had.push(*id),
                    Some(_) => {}
                    None => unknown.push(*id),
                }
            }
            if !unknown.is_empty() {
                let own = Registration { all_target_ports, ..self.own(key, survey.as_ref())? };
                had.extend(self.prove(&unknown, own)?.has);
            }
        } else if action == OutAction::Register && self.memory.user == User::Unregistered {
            // Keys that the user has given up, on paths that have come back. Any other is somebody else's, who uses the
            // same paths.
            let keyed: Vec<PathId> =
                active.iter().copied().filter(|id| registered(self, *id).is_some_and(|key| !key.is_zero())).collect();
            self.take_leftovers(&keyed)?;
        }
        let mut old = key;
        if action == OutAction::RegisterAndIgnoreExistingKey {
            let keyed: Vec<(PathId, ReservationKey)> = active
                .iter()
                .filter_map(|id| Some((*id, registered(self, *id).filter(|key| !key.is_zero())?)))
                .collect();
            // What a path has that just came back may be a key of the past.
            let users = keyed.iter().find(|(_, key)| Some(*key) == self.memory.key());
            if let Some((_, first)) = users.or(keyed.first()) {
                old = *first;
                had = keyed.iter().filter(|(_, key)| key == first).map(|(id, _)| *id).collect();
            }
        }
        let mut lacked = Vec::new();
        if let Some(known) = &survey
            && known.registrants.iter().any(|r| r.key == new.key && !self.is_in_the_map(&r.identity))
        {
            // Each of these may be whoever has the new key already. Should its answer be lost, it is known what was there.
            let unknown: Vec<PathId> =
                active.iter().copied().filter(|id| self.identity(*id).is_none() && !had.contains(id)).collect();
            if !unknown.is_empty() {
                let own = Registration { all_target_ports, ..self.own(new.key, Some(known))? };
                lacked = self.prove(&unknown, own)?.lacks;
            }
        }
        let holder = survey.as_ref().and_then(Survey::holder).map(|holder| &holder.identity);
        let holder = active.iter().copied().find(|id| holder.is_some() && self.identity(*id) == holder);
        let mut away = Vec::new();
        for id in self.unusable() {
            if let Some(registrant) = survey.as_ref().and_then(|survey| survey.of(self.identity(id)?))
                && registrant.key != new.key
            {
                let alone = survey.as_ref().and_then(Survey::holder).is_some_and(|holder| holder == registrant);
                // What all registrants hold lasts as long as one of them is registered.
                away.push((id, registrant.key, registrant.holds.filter(|_| alone || new.key.is_zero())));
            }
        }
        Ok(Plan { action, key, new, old, survey, had, lacked, holder, away })
    }

    /// Whether a key can be preempted without hitting anybody else.
    pub fn may_preempt(&self, plan: &Plan, key: ReservationKey) -> bool {
        plan.survey.as_ref().is_some_and(|survey| self.is_exclusive(survey, key))
    }

    /// Puts the registration on every path.
    pub fn spread(&mut self, request: &Request<'_>, plan: &Plan) -> Result<Answer, I::Stop> {
        let active = self.active();
        let mut order = active.clone();
        if plan.key.is_zero() && plan.action == OutAction::Register && self.memory.user != User::Unregistered {
            // Who has a key where none should be is asked first: it is the one that refuses.
            let has_none = |id: &PathId| plan.registrant(self.identity(*id)).is_none();
            order.sort_by_key(has_none);
        } else {
            order.sort_by_key(|id| (Some(*id) == plan.holder, !plan.key.is_zero() && !plan.had.contains(id)));
        }
        let before = (plan.action == OutAction::Register).then_some(plan.key);
        self.set_step(Step::Registering { before, new: plan.new })?;
        if plan.new.key.is_zero() {
            // With the holder's registration its reservation ends, and the other paths are told.
            self.own.push(SenseCode::RESERVATIONS_RELEASED);
        }

        let judged = self.judge(&order, request)?;
        let mut judge = judged.path;
        if judged.result.class() != Class::Good {
            // An answer that was lost may have been a GOOD: then the path has the new key.
            let mut executed = None;
            if !judged.lost.is_empty()
                && !plan.new.key.is_zero()
                && matches!(judged.result.class(), Class::Lost | Class::Conflict | Class::NotThisPath | Class::Busy)
            {
                let fresh: Vec<PathId> = judged.lost.iter().copied().filter(|id| self.is_fresh(plan, *id)).collect();
                executed = self.prove(&fresh, plan.new)?.has.first().copied();
            }
            if executed.is_none() {
                return self.give_up(plan, &judged.lost, &judged.unready, judged.result.into());
            }
            judge = executed;
        }
        let Some(judge) = judge else { return Ok(judged.result.into()) };
        self.learn_by(judge, plan)?;

        let mut progress = Progress { done: vec![judge], lost: judged.lost, ..Progress::default() };
        let rest: Vec<PathId> = active.iter().copied().filter(|id| *id != judge && Some(*id) != plan.holder).collect();
        self.tell(request, plan, &rest, &mut progress)?;
        if let Some(holder) = plan.holder.filter(|holder| *holder != judge) {
            if progress.fenced {
                return self.fenced(plan, &active);
            }
            self.tell(request, plan, &[holder], &mut progress)?;
            if progress.silent.contains(&holder)
                && !plan.new.key.is_zero()
                && plan.new.key != plan.old
                && !self.may_preempt(plan, plan.old)
                && self.still_registered(&[holder], plan.old)?.contains(&holder)
            {
                return self.put_back(plan, &progress.done, holder);
            }
        }
        if progress.fenced {
            return self.fenced(plan, &active);
        }
        if plan.new.key.is_zero() {
            return self.left(plan, &progress);
        }
        self.complete(plan, progress)
    }

    /// The path that holds the reservation keeps the old key, which another node has as well: it cannot be preempted, and the
    /// reservation cannot follow the others to the new one. They get the old one back.
    fn put_back(&mut self, plan: &Plan, done: &[PathId], holder: PathId) -> Result<Answer, I::Stop> {
        let unsure = self.replace(done, plan.new, Registration { key: plan.old, ..plan.new })?;
        self.may_be_registered(&unsure, plan.new.key)?;
        let unfit = self.carrying(&[holder])?;
        self.fail(&unfit, &format!("could not be registered with key {}", plan.new.key))?;
        Ok(self.cannot_be_moved(holder, plan.old))
    }

    /// Whether a path is known not to have had the new key before the command, or to have had it as the old one.
    pub fn is_fresh(&self, plan: &Plan, id: PathId) -> bool {
        if plan.had.contains(&id) || plan.lacked.contains(&id) {
            return true;
        }
        let Some(survey) = &plan.survey else { return false };
        match self.identity(id) {
            Some(identity) => survey.of(identity).is_none_or(|registrant| registrant.key != plan.new.key),
            None => !survey.has(plan.new.key),
        }
    }

    /// Sends the command to further paths.
    fn tell(
        &mut self,
        request: &Request<'_>,
        plan: &Plan,
        paths: &[PathId],
        progress: &mut Progress,
    ) -> Result<(), I::Stop> {
        // Initiator ports in the list are the judge's to register.
        let parameters = BasicParameters { initiator_ports: None, ..request.parameters };
        let (cdb, list) = parts(&PrOut::new(plan.action, request.scope_type, parameters));
        let learns = plan.survey.is_some() && !plan.new.key.is_zero();
        let (unknown, known): (Vec<PathId>, Vec<PathId>) =
            paths.iter().partition(|id| learns && self.identity(**id).is_none());
        let mut groups: Vec<Vec<PathId>> = unknown.into_iter().map(|id| vec![id]).collect();
        groups.push(known);
        for group in groups {
            for (id, result) in self.send_to_all(&group, &cdb, &list)? {
                match result.class().carried_out() {
                    Some(true) => {
                        progress.done.push(id);
                        self.learn_by(id, plan)?;
                    }
                    Some(false) => self.refused(plan, id, progress)?,
                    None => progress.silent.push(id),
                }
            }
        }
        Ok(())
    }

    /// A path says that it has not the key that the command names.
    fn refused(&mut self, plan: &Plan, id: PathId, progress: &mut Progress) -> Result<(), I::Stop> {
        // It may have the new one already: all target ports were registered at once, or an answer was lost.
        let has_new = !plan.new.key.is_zero() && self.prove(&[id], plan.new)?.has.contains(&id);
        let shares = plan.new.all_target_ports
            || progress
                .done
                .iter()
                .any(|done| self.identity(*done).is_some() && self.identity(*done) == self.identity(id));
        // What was lost may have been carried out.
        let was_told = progress.lost.contains(&id);
        // It is looked at again before the command ends.
        let was_registered = !plan.new.key.is_zero() && was_told && plan.old.is_zero() && self.is_fresh(plan, id);
        if has_new || was_registered || (plan.new.key.is_zero() && (shares || was_told)) {
            progress.done.push(id);
        } else if plan.old.is_zero() && !self.memory.path(id).leftovers.is_empty() {
            // It has just come back, with a key that the user has given up.
            if plan.new.key.is_zero() {
                self.take_leftovers(&[id])?;
                progress.done.push(id);
            } else {
                progress.behind.push(id);
            }
        } else if plan.new.key.is_zero() && !plan.old.is_zero() && plan.is_shared() {
            // Another node has the same key. If it has preempted its own, as it may, that is gone as well: then this
            // command came first.
            match self.survey()? {
                Some(after) if after.has(plan.old) => progress.fenced = true,
                _ => progress.done.push(id),
            }
        } else if plan.had.contains(&id) || plan.old.is_zero() {
            progress.fenced = true;
        } else if plan.new.key.is_zero() {
            // It had another key, or none: a leftover is not the user's any more.
            let leftover = plan.registrant(self.identity(id)).map(|registrant| registrant.key);
            if let Some(key) = leftover {
                self.take_back(&[id], Registration { key, ..plan.new })?;
            }
            progress.done.push(id);
        } else {
            progress.behind.push(id);
        }
        Ok(())
    }

    /// Every path that carries I/O gets the key that the others have, or carries none.
    fn complete(&mut self, plan: &Plan, mut progress: Progress) -> Result<Answer, I::Stop> {
        for round in 0..ROUNDS {
            if !progress.behind.is_empty() {
                let set = self.set(&progress.behind, plan.new)?;
                progress.behind.clear();
                progress.done.extend(set.has);
                progress.silent.extend(set.silent);
                progress.silent.extend(set.lacks);
            }
            // Everybody who said yes is asked again: whoever was preempted in between is out, and so are all.
            let (confirmed, survey) = self.confirm(&progress.done, plan.new)?;
            if !confirmed.lacks.is_empty() {
                return self.preempted(plan);
            }
            progress.silent.extend(&confirmed.silent);
            progress.done = confirmed.has;
            if progress.done.is_empty() {
                let silent = progress.silent.clone();
                return self.give_up(plan, &silent, &[], Answer::check(SenseCode::COMMUNICATION_FAILURE));
            }
            let silent: Vec<PathId> =
                progress.silent.iter().copied().filter(|id| !progress.unready.contains(id)).collect();
            let unfit = self.carrying(&silent)?;
            progress.unready.extend(silent.iter().filter(|id| !unfit.contains(id)));
            self.fail(&unfit, &format!("could not be registered with key {}", plan.new.key))?;
            // A path that comes back from now on gets the new key. From 0.13 on multipathd gives it to all paths at once if the
            // logical unit has it: before all were seen to have it, that could undo what another node has done.
            let is_first = self.memory.key().is_none();
            self.tell_multipathd(Multipathd::Register { key: plan.new.key, persist: plan.new.persist })?;
            if is_first
                && let Some(survey) = survey
                && self.may_be_given_again(&survey, progress.done.len())?
            {
                return self.preempted(plan);
            }
            self.look()?;
            let missing: Vec<PathId> = self.active().into_iter().filter(|id| !progress.done.contains(id)).collect();
            if missing.is_empty() {
                break;
            }
            // It came back, or could not be failed.
            if round + 1 == ROUNDS {
                self.fail(&missing, &format!("came back without key {}", plan.new.key))?;
            } else {
                let proof = self.prove(&missing, plan.new)?;
                progress.done.extend(proof.has);
                progress.behind = proof.lacks;
                progress.silent = proof.silent;
            }
        }
        for id in &progress.done {
            self.memory.path(*id).settled();
        }
        for id in progress.silent.iter().filter(|id| !progress.done.contains(id)) {
            // It may carry this out when nobody waits for it any more.
            self.memory.path(*id).leave_over(plan.new.key);
        }
        if let Some(answer) = self.clean_up(plan, &progress.done)? {
            return Ok(answer);
        }
        self.set_user(User::Registered(plan.new))?;
        Ok(Answer::GOOD)
    }

    /// Whether those that were registered still are: one survey says so of all of them, where it is known who they are.
    /// What it does not say of each path they are asked themselves.
    fn confirm(&mut self, paths: &[PathId], own: Registration) -> Result<(Proof, Option<Survey>), I::Stop> {
        if paths.iter().all(|id| self.identity(*id).is_some())
            && let Some(survey) = self.survey()?
            && paths.iter().all(|id| self.is_registered(&survey, *id, own.key))
        {
            return Ok((Proof::of(paths), Some(survey)));
        }
        Ok((self.find(paths, own)?, None))
    }

    /// Whether multipathd may have registered so many paths again, since the survey was made, that another node had preempted
    /// and whose key it has registered itself: that takes a registration for each of them and the two of the other node.
    fn may_be_given_again(&mut self, before: &Survey, paths: usize) -> Result<bool, I::Stop> {
        if before.registrants.iter().all(|registrant| self.is_own(&registrant.identity)) {
            return Ok(false);
        }
        let Some(after) = self.survey()? else { return Ok(false) };
        let changes = after.generation.wrapping_sub(before.generation);
        Ok(usize::try_from(changes).is_ok_and(|changes| changes >= paths + 2))
    }

    /// Of paths that did not register, those that could carry I/O all the same: who is not ready carries none.
    pub fn carrying(&mut self, silent: &[PathId]) -> Result<Vec<PathId>, I::Stop> {
        let mut carrying = Vec::new();
        for (id, result) in self.probe(silent)? {
            self.memory.path(id).unsettled = true;
            if result.class() == Class::NotThisPath {
                let (name, sense) = (self.name(id), result.sense);
                self.notes.push(format!("path {name} is not ready ({sense}) and lacks the registration until it is"));
            } else {
                carrying.push(id);
            }
        }
        Ok(carrying)
    }

    /// No path has carried the command out, as far as is known. Those of which it is not known are put back.
    pub fn give_up(
        &mut self,
        plan: &Plan,
        lost: &[PathId],
        refused: &[PathId],
        mut answer: Answer,
    ) -> Result<Answer, I::Stop> {
        // One that hangs may carry it out when nobody waits for it any more.
        let is_new = self.memory.key() != Some(plan.new.key);
        for id in lost.iter().filter(|_| is_new) {
            let known = self.memory.path(*id);
            known.unsettled = true;
            known.leave_over(plan.new.key);
        }
        // The kernel's own target registers and then answers NOT READY if it cannot write its file (target_core_pr.c).
        let doubtful: Vec<PathId> = if plan.action == OutAction::Register && !plan.new.key.is_zero() {
            lost.iter().chain(refused).copied().filter(|id| self.is_fresh(plan, *id)).collect()
        } else {
            Vec::new()
        };
        if !doubtful.is_empty() {
            let before = Registration { key: plan.key, ..plan.new };
            let unsure = self.replace(&doubtful, plan.new, before)?;
            self.may_be_registered(&unsure, plan.new.key)?;
        }
        let mut unsure: Vec<PathId> = lost.iter().copied().filter(|id| !doubtful.contains(id)).collect();
        let rest: Vec<PathId> = refused.iter().copied().filter(|id| !doubtful.contains(id)).collect();
        if !rest.is_empty() && !plan.new.key.is_zero() {
            unsure.extend(self.registered_though_unready(plan, &rest)?);
        }
        for id in &unsure {
            let known = self.memory.path(*id);
            known.unsettled = true;
            if is_new {
                known.leave_over(plan.new.key);
            }
            let name = self.name(*id);
            self.notes.push(format!("path {name} may have carried the command out: key {}", plan.new.key));
        }
        if answer.status == Status::RESERVATION_CONFLICT && !lost.is_empty() {
            answer.notes.push("a path gave no answer".to_owned());
        }
        Ok(answer)
    }

    /// Of paths that were not ready, those that may have registered the new key all the same. One that is known, and has, is
    /// given back what it had.
    fn registered_though_unready(&mut self, plan: &Plan, unready: &[PathId]) -> Result<Vec<PathId>, I::Stop> {
        let Some(after) = self.survey()? else { return Ok(Vec::new()) };
        let (known, unknown): (Vec<PathId>, Vec<PathId>) = unready.iter().partition(|id| self.identity(**id).is_some());
        for id in known {
            let before = plan.registrant(self.identity(id)).map_or(ReservationKey::ZERO, |registrant| registrant.key);
            if before != plan.new.key && self.is_fresh(plan, id) && self.is_registered(&after, id, plan.new.key) {
                let unsure = self.replace(&[id], plan.new, Registration { key: before, ..plan.new })?;
                self.may_be_registered(&unsure, plan.new.key)?;
            }
        }
        // Of the others it is known only whether there is one registrant more that may be any of them.
        let strangers = |survey: &Survey| {
            let same = survey.registrants.iter().filter(|registrant| registrant.key == plan.new.key);
            same.filter(|registrant| !self.is_in_the_map(&registrant.identity)).count()
        };
        let is_one_more = plan.survey.as_ref().is_some_and(|before| strangers(&after) > strangers(before));
        Ok(if is_one_more { unknown } else { Vec::new() })
    }

    fn learn_by(&mut self, id: PathId, plan: &Plan) -> Result<(), I::Stop> {
        let Some(before) = &plan.survey else { return Ok(()) };
        if self.identity(id).is_none()
            && !plan.new.key.is_zero()
            && let Some(after) = self.survey()?
        {
            let is_changed = plan.action == OutAction::Register && plan.key != plan.new.key;
            self.learn(id, plan.new.key, is_changed, [before, &after]);
            self.keep()?;
        }
        Ok(())
    }
}
