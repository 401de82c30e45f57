//! A change of the registration that holds the reservation.

use scsi_persistent_reservations::{BasicParameters, OutAction, Status};

use crate::{
    Budget, Class, Io, PathId, Registration, Step,
    engine::{Answer, Engine, Request},
    register::Plan,
};

impl<I: Io> Engine<'_, I> {
    /// Scope and type of a reservation that a path of ours holds under the key that the command replaces, if other paths
    /// have the key as well and nobody else has.
    pub fn held_alone(&self, plan: &Plan) -> Option<u8> {
        let survey = plan.survey.as_ref()?;
        let holder = survey.holder().filter(|holder| self.is_own(&holder.identity))?;
        let several = survey.registrants.iter().filter(|registrant| registrant.key == plan.old).count() > 1;
        let fits = holder.key == plan.old
            && plan.new.key != plan.old
            && several
            && !plan.had.is_empty()
            && self.is_exclusive(survey, plan.old);
        holder.holds.filter(|_| fits)
    }

    /// The path that holds, if all others that have the key can give it up by themselves: each is known to be another nexus,
    /// and none is away. Nothing has to be preempted then, and another node that has come to use the key keeps it.
    fn holder_to_be_left_alone(&self, plan: &Plan, own: Registration) -> Option<PathId> {
        let is_away = plan.away.iter().any(|(_, key, _)| *key == plan.old);
        let mut known = Vec::new();
        for id in self.active() {
            let identity = self.identity(id)?;
            if known.contains(&identity) {
                return None;
            }
            known.push(identity);
        }
        plan.holder.filter(|_| !is_away && !own.all_target_ports)
    }

    /// Changes a registration that holds the reservation. Path after path it would be a reservation under one key and
    /// registrations under two, and another node that preempts one of them would get half of what one disk gives. So the
    /// other paths give the key up first, or it is preempted from them; it is changed where it is left, and given to the
    /// others again.
    pub fn change_held(&mut self, request: &Request<'_>, plan: &Plan, held: u8) -> Result<Answer, I::Stop> {
        let own = self.own(plan.old, plan.survey.as_ref())?;
        let list = BasicParameters::keys(plan.old, plan.old).to_bytes();
        let take = Request::preempting_own(plan.old, held, Budget::Path, &list);
        let new = plan.new;
        let aside = self.holder_to_be_left_alone(plan, own);
        let answer = self.take_over(&take, own, aside, |engine, path| {
            engine.set_step(Step::Registering { before: Some(own.key), new })?;
            let results = engine.send_to_all(&[path], &request.cdb, request.list)?;
            let Some((_, result)) = results.into_iter().next() else { return Ok((Answer::CONFLICT, own)) };
            engine.ran_out = result.class() == Class::Unsent;
            match result.class() {
                Class::Good => Ok((Answer::GOOD, new)),
                Class::Conflict => Ok((Answer::CONFLICT, Registration::NONE)),
                Class::Lost => {
                    let changed = engine.find(&[path], new)?;
                    if !changed.has.is_empty() && !new.key.is_zero() {
                        return Ok((Answer::GOOD, new));
                    }
                    let kept = engine.find(&[path], own)?;
                    match (kept.lacks.is_empty(), new.key.is_zero()) {
                        (false, true) => Ok((Answer::GOOD, new)),
                        (false, false) => Ok((Answer::CONFLICT, Registration::NONE)),
                        (true, _) => Ok((result.into(), own)),
                    }
                }
                Class::UnitAttention(_) | Class::Verdict | Class::NotThisPath | Class::Busy | Class::Unsent => {
                    Ok((result.into(), own))
                }
            }
        })?;
        if answer.status == Status::GOOD && new.key.is_zero() {
            self.hold(false)?;
        }
        if answer.status == Status::RESERVATION_CONFLICT && plan.action == OutAction::RegisterAndIgnoreExistingKey {
            // Another node has preempted this host before. The command registers it all the same.
            let survey = self.survey()?;
            let plan = self.plan(plan.action, request, survey)?;
            return self.spread(request, &plan);
        }
        Ok(answer)
    }
}
