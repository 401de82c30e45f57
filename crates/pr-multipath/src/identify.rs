//! Which path holds the reservation, where neither the host nor an earlier registration tells who the paths are.

use scsi_persistent_reservations::{BasicParameters, OutAction, PrOut, ReservationKey};

use crate::{
    Class, Io, PathId,
    ask::{REPEATS, parts},
    engine::{Answer, Engine},
    survey::{Registrant, Survey},
};

/// What is known before a command that depends on which path holds the reservation.
pub(crate) struct Identified {
    pub survey: Option<Survey>,
    /// A path that may hold the reservation: it did not say.
    pub silent: Option<PathId>,
}

impl<I: Io> Engine<'_, I> {
    /// [`Self::survey_or_answer`], and the path that holds the reservation is known, if it is one that answers.
    pub fn survey_and_holder(&mut self) -> Result<Result<Identified, Answer>, I::Stop> {
        let mut survey = match self.survey_or_answer()? {
            Ok(survey) => survey,
            Err(answer) => return Ok(Err(answer)),
        };
        let mut silent = None;
        for _ in 0..REPEATS {
            let Some(before) = &survey else { break };
            let Some((holder, scope_type)) = self.unknown_path_that_holds(before) else { break };
            let said = self.reserve_again(&holder, scope_type)?;
            silent = said.silent;
            let Some(path) = said.path else { break };
            let generation = before.generation;
            survey = self.survey()?;
            let Some(after) = &survey else {
                silent = Some(path);
                break;
            };
            if after.holder() != Some(&holder) {
                self.undo_reserve(path, &holder, scope_type)?;
                survey = self.survey()?;
            } else if after.generation == generation {
                // Nothing has happened in between: it was the holder all the time.
                silent = None;
                self.memory.path(path).identity = Some(holder.identity);
                // It may have left the map and come back under another device number.
                self.merge_renamed();
                self.keep()?;
            }
        }
        Ok(self.news()?.map_or(Ok(Identified { survey, silent }), Err))
    }

    /// The holder of a reservation under the user's key, with its scope and type, if it may be a path that is not known.
    fn unknown_path_that_holds(&self, survey: &Survey) -> Option<(Registrant, u8)> {
        let holder = survey.holder()?;
        let is_users = self.memory.key().is_none_or(|key| key == holder.key);
        // A registration on all target ports says nothing of the port.
        let may_be_ours = is_users && !holder.all_target_ports && !self.is_in_the_map(&holder.identity);
        Some((holder.clone(), holder.holds.filter(|_| may_be_ours)?))
    }

    /// RESERVE with the scope and type of the reservation, on paths of which it is not known who they are: it is GOOD and
    /// changes nothing if the holder sends it, and a conflict if anybody else does (SPC-4 5.13.9).
    fn reserve_again(&mut self, holder: &Registrant, scope_type: u8) -> Result<Said, I::Stop> {
        let (cdb, list) = reservation(OutAction::Reserve, holder, scope_type);
        let mut said = Said::default();
        let unknown: Vec<PathId> = self.active().into_iter().filter(|id| self.identity(*id).is_none()).collect();
        for id in unknown {
            match self.send_to_all(&[id], &cdb, &list)?.pop().map(|(_, result)| result.class()) {
                Some(Class::Good) => {
                    said.path = Some(id);
                    break;
                }
                Some(Class::Conflict | Class::Verdict) => {}
                _ => said.silent = Some(id),
            }
        }
        Ok(said)
    }

    /// The holder, another node with the user's key, has released the reservation in that moment, and RESERVE has made one.
    fn undo_reserve(&mut self, path: PathId, holder: &Registrant, scope_type: u8) -> Result<(), I::Stop> {
        let (cdb, list) = reservation(OutAction::Release, holder, scope_type);
        let results = self.send_to_all(&[path], &cdb, &list)?;
        if !results.iter().all(|(_, result)| matches!(result.class(), Class::Good | Class::Conflict)) {
            let name = self.name(path);
            self.notes.push(format!("path {name} may hold a reservation under key {}; release it", holder.key));
        }
        Ok(())
    }
}

/// Who has said that it holds the reservation, and one that has not said anything.
#[derive(Default)]
struct Said {
    path: Option<PathId>,
    silent: Option<PathId>,
}

fn reservation(action: OutAction, holder: &Registrant, scope_type: u8) -> (scsi_persistent_reservations::Cdb, Vec<u8>) {
    parts(&PrOut::new(action, scope_type, BasicParameters::keys(holder.key, ReservationKey::ZERO)))
}
