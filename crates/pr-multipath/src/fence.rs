//! Another node has preempted this host while a command was under way.

use crate::{
    Io, PathId, Registration, User,
    engine::{Answer, Engine},
    register::Plan,
    survey::Survey,
};

impl<I: Io> Engine<'_, I> {
    /// Somebody has preempted this host while the command was under way, and before it by the order of things: what was
    /// registered is taken back.
    pub fn fenced(&mut self, plan: &Plan, paths: &[PathId]) -> Result<Answer, I::Stop> {
        let kept = self.withdraw(plan.new, paths)?;
        Ok(kept.unwrap_or(Answer::CONFLICT))
    }

    /// Somebody has preempted the new key: the command came first, and its effect is gone.
    pub fn preempted(&mut self, plan: &Plan) -> Result<Answer, I::Stop> {
        let paths = self.active();
        let kept = self.withdraw(plan.new, &paths)?;
        let survey = self.survey()?;
        let mut left = None;
        for path in self.paths.clone().into_iter().filter(|path| !path.active) {
            let registrant = self.identity(path.id).and_then(|identity| survey.as_ref()?.of(identity));
            let key = match (registrant, &survey) {
                (Some(registrant), _) => registrant.key,
                (None, Some(_)) => continue,
                (None, None) => plan.old,
            };
            self.leave_over(path.id, key)?;
            left = Some(Answer::failure("another node has preempted this host".to_owned()));
        }
        Ok(kept.or(left).unwrap_or(Answer::GOOD))
    }

    /// Takes a key from all paths, because another node has preempted this host. A path that holds the reservation is
    /// failed and not unregistered: with the reservation gone the user, who is fenced, could write again. Returns an
    /// answer if there is such a path.
    pub fn withdraw(&mut self, own: Registration, paths: &[PathId]) -> Result<Option<Answer>, I::Stop> {
        let survey = self.survey()?;
        let holder = survey.as_ref().and_then(Survey::holder).map(|holder| holder.identity.clone());
        let (keeps, gives): (Vec<PathId>, Vec<PathId>) =
            paths.iter().partition(|id| holder.is_some() && self.identity(**id) == holder.as_ref());
        if !own.key.is_zero() {
            let unsure = self.take_back(&gives, own)?;
            // Whatever key a path has now, the user has none.
            let after = self.survey()?;
            for id in gives {
                let kept = match (self.identity(id), &after) {
                    (Some(identity), Some(after)) => after.of(identity).map(|registrant| registrant.key),
                    _ => unsure.contains(&id).then_some(own.key),
                };
                if let Some(key) = kept {
                    self.fail(&[id], &format!("may have kept key {key}, and another node has preempted this host"))?;
                    self.memory.path(id).leave_over(key);
                }
            }
        }
        self.fail(&keeps, "holds the reservation, and another node has preempted this host")?;
        for id in &keeps {
            self.memory.path(*id).leave_over(own.key);
        }
        self.set_user(User::Unregistered)?;
        let stays = holder.filter(|holder| self.is_own(holder));
        Ok(stays.map(|_| {
            Answer::failure(
                "another node has preempted this host, and a path without I/O keeps the reservation".to_owned(),
            )
        }))
    }
}
