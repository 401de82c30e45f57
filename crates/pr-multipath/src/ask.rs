//! Commands of the engine's to paths, and what their answers say together.

use scsi_persistent_reservations::{BasicParameters, Cdb, OutAction, PrOut, ReservationKey, SenseCode};

use crate::{
    Budget, Class, CommandResult, Io, PathCommand, PathId, Registration,
    engine::{Engine, Request},
};

/// How often a command is sent again to a path that answers with a unit attention, or is in transition.
pub(crate) const REPEATS: usize = 4;

/// TEST UNIT READY, which reports a pending unit attention and does nothing else.
const TEST_UNIT_READY: [u8; 16] = [0; 16];

/// What asking one path after the other came to.
pub(crate) struct Judgement {
    /// The best answer, by [`Class`].
    pub result: CommandResult,
    /// The path that gave it.
    pub path: Option<PathId>,
    /// The paths that gave no answer, and so may have carried the command out.
    pub lost: Vec<PathId>,
    /// The paths that answered with a conflict, or were not ready, as the kernel's own target says of a nexus without a
    /// registration (02/08/00, `target_core_pr.c`).
    pub refused: Vec<PathId>,
    /// Those of them that were not ready.
    pub unready: Vec<PathId>,
    /// Those that answered with a conflict before any answer was lost: it was not this command's own doing.
    pub early: Vec<PathId>,
}

impl Judgement {
    /// A path that gave no answer and has the key now: where that should have ended its registration, it was not carried
    /// out there, or has left it.
    pub fn kept(&self, now: &Proof) -> Option<PathId> {
        now.has.iter().copied().find(|id| self.lost.contains(id))
    }
}

/// Which paths have a key.
#[derive(Debug, Default)]
pub(crate) struct Proof {
    /// They said so.
    pub has: Vec<PathId>,
    /// They said that they have not.
    pub lacks: Vec<PathId>,
    /// They said neither.
    pub silent: Vec<PathId>,
}

impl Proof {
    /// All of these have it.
    pub fn of(paths: &[PathId]) -> Self {
        Self { has: paths.to_vec(), ..Self::default() }
    }

    /// All that were asked have said that they have not.
    pub fn shows_none(&self) -> bool {
        self.has.is_empty() && self.silent.is_empty() && !self.lacks.is_empty()
    }
}

impl<I: Io> Engine<'_, I> {
    pub fn command(path: PathId, cdb: &Cdb, list: &[u8], room: usize, budget: Budget) -> PathCommand {
        PathCommand { path, cdb: *cdb.as_bytes(), list: list.to_vec(), room, budget }
    }

    /// Sends one command.
    pub fn send(&mut self, command: PathCommand) -> Result<CommandResult, I::Stop> {
        let mut results = self.io.send(&[command])?;
        Ok(results.pop().unwrap_or(CommandResult::lost(SenseCode::COMMUNICATION_FAILURE)))
    }

    /// Sends the same command to several paths at once, again to those that only had a unit attention to tell, that are
    /// busy or in transition. The attentions are those of nexuses that the user does not know of.
    pub fn send_to_all(
        &mut self,
        paths: &[PathId],
        cdb: &Cdb,
        list: &[u8],
    ) -> Result<Vec<(PathId, CommandResult)>, I::Stop> {
        let mut results: Vec<(PathId, CommandResult)> = Vec::new();
        let mut due: Vec<PathId> = paths.to_vec();
        for _ in 0..REPEATS {
            if due.is_empty() {
                break;
            }
            let commands: Vec<_> = due.iter().map(|id| Self::command(*id, cdb, list, 0, Budget::Path)).collect();
            let came = self.io.send(&commands)?;
            for (id, result) in due.iter().zip(&came) {
                if let Class::UnitAttention(code) = result.class() {
                    self.attend(*id, code)?;
                }
            }
            results.retain(|(id, _)| !due.contains(id));
            results.extend(due.iter().copied().zip(came));
            let again: Vec<PathId> = results.iter().filter(|(_, r)| is_passing(r)).map(|(id, _)| *id).collect();
            let waits = results.iter().any(|(_, result)| is_in_transition(result));
            due = again;
            if waits && !self.io.wait()? {
                break;
            }
        }
        Ok(results)
    }

    /// Sends a command to one path after the other until one settles it. A unit attention settles it: it is the
    /// device's word to whoever sends the command.
    pub fn judge(&mut self, paths: &[PathId], request: &Request<'_>) -> Result<Judgement, I::Stop> {
        self.judge_by(paths, &[], request)
    }

    /// The same, where a conflict of a path that is known to be registered settles it as well.
    pub fn judge_by(
        &mut self,
        paths: &[PathId],
        registered: &[PathId],
        request: &Request<'_>,
    ) -> Result<Judgement, I::Stop> {
        let mut judgement = Judgement {
            result: CommandResult::lost(SenseCode::NO_RESPONSE_TO_SELECTION),
            path: None,
            lost: Vec::new(),
            refused: Vec::new(),
            unready: Vec::new(),
            early: Vec::new(),
        };
        let mut lost = None;
        for id in paths {
            let mut result = self.send(Self::command(*id, &request.cdb, request.list, 0, request.budget))?;
            for _ in 1..REPEATS {
                // Of the command itself, whose answer was lost on another path.
                let is_own = if let Class::UnitAttention(code) = result.class() {
                    self.memory.path(*id).takes_expected(code) || self.own.contains(&code) && !judgement.lost.is_empty()
                } else {
                    false
                };
                if !is_own && (!is_in_transition(&result) || !self.io.wait()?) {
                    break;
                }
                result = self.send(Self::command(*id, &request.cdb, request.list, 0, request.budget))?;
            }
            let class = result.class();
            match class {
                Class::Lost => {
                    judgement.lost.push(*id);
                    lost.get_or_insert_with(|| result.clone());
                }
                Class::Conflict => {
                    judgement.refused.push(*id);
                    if judgement.lost.is_empty() {
                        judgement.early.push(*id);
                    }
                }
                Class::NotThisPath => {
                    judgement.refused.push(*id);
                    judgement.unready.push(*id);
                }
                Class::Good | Class::UnitAttention(_) | Class::Verdict | Class::Busy | Class::Unsent => {}
            }
            // The first of equals stays: it is the path that the map uses.
            if judgement.path.is_none() || class < judgement.result.class() {
                judgement.result = result;
                judgement.path = Some(*id);
            }
            if class <= Class::Verdict || class == Class::Conflict && registered.contains(id) {
                break;
            }
        }
        if let Some(lost) = lost
            && matches!(judgement.result.class(), Class::NotThisPath | Class::Busy)
        {
            // "Not carried out" of one path says nothing of the one that gave no answer.
            judgement.result = lost;
        }
        if let Class::UnitAttention(code) = judgement.result.class() {
            // The other paths have the same to tell; once is enough.
            let others: Vec<PathId> = paths.iter().copied().filter(|id| Some(*id) != judgement.path).collect();
            self.own.push(code);
            self.drain(&others)?;
        }
        Ok(judgement)
    }

    /// Takes unit attentions from paths that the user knows nothing of, because it has been told, or did it itself. One
    /// that is none of these is kept for it.
    pub fn drain(&mut self, paths: &[PathId]) -> Result<(), I::Stop> {
        let mut silent = Vec::new();
        let mut due = paths.to_vec();
        for _ in 0..REPEATS {
            let mut more = Vec::new();
            for (id, result) in self.probe(&due)? {
                match result.class() {
                    Class::UnitAttention(code) => {
                        self.attend(id, code)?;
                        more.push(id);
                    }
                    // It has nothing more to tell.
                    Class::Good => self.memory.path(id).expected.clear(),
                    Class::Verdict
                    | Class::Conflict
                    | Class::NotThisPath
                    | Class::Busy
                    | Class::Lost
                    | Class::Unsent => {
                        self.memory.path(id).unsettled = true;
                        silent.push(id);
                    }
                }
            }
            due = more;
        }
        silent.extend(self.paths.iter().filter(|path| !path.active || path.busy).map(|path| path.id));
        for id in silent {
            for code in self.own.clone() {
                self.memory.path(id).expect(code);
            }
        }
        self.keep()
    }

    /// TEST UNIT READY on each path.
    pub fn probe(&mut self, paths: &[PathId]) -> Result<Vec<(PathId, CommandResult)>, I::Stop> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let command = |path: &PathId| PathCommand {
            path: *path,
            cdb: TEST_UNIT_READY,
            list: Vec::new(),
            room: 0,
            budget: Budget::Path,
        };
        let results = self.io.send(&paths.iter().map(command).collect::<Vec<_>>())?;
        Ok(paths.iter().copied().zip(results).collect())
    }

    /// Those of the paths that are registered with this key, by their own word: the key is changed into itself.
    pub fn prove(&mut self, paths: &[PathId], registration: Registration) -> Result<Proof, I::Stop> {
        self.ask_each(paths, register_with(OutAction::Register, registration.key, registration))
    }

    /// Sets a registration on paths, whatever is there now, and learns who those are of which that is not known.
    pub fn set(&mut self, paths: &[PathId], new: Registration) -> Result<Proof, I::Stop> {
        let request = register_with(OutAction::RegisterAndIgnoreExistingKey, ReservationKey::ZERO, new);
        let (unknown, known): (Vec<PathId>, Vec<PathId>) =
            paths.iter().partition(|id| !new.key.is_zero() && self.identity(**id).is_none());
        let mut proof = self.ask_each(&known, request.clone())?;
        for id in unknown {
            let before = self.survey()?;
            let one = self.ask_each(&[id], request.clone())?;
            if !one.has.is_empty()
                && let Some(before) = before
                && let Some(after) = self.survey()?
            {
                self.learn(id, new.key, false, [&before, &after]);
                self.keep()?;
            }
            proof.has.extend(one.has);
            proof.lacks.extend(one.lacks);
            proof.silent.extend(one.silent);
        }
        Ok(proof)
    }

    /// What each path says to a registration.
    fn ask_each(&mut self, paths: &[PathId], (cdb, list): (Cdb, Vec<u8>)) -> Result<Proof, I::Stop> {
        let mut proof = Proof::default();
        for (id, result) in self.send_to_all(paths, &cdb, &list)? {
            match result.class().carried_out() {
                Some(true) => proof.has.push(id),
                Some(false) => proof.lacks.push(id),
                None => proof.silent.push(id),
            }
        }
        Ok(proof)
    }

    /// Takes a key from paths that may have it; returns those of which that is not sure.
    pub fn take_back(&mut self, paths: &[PathId], from: Registration) -> Result<Vec<PathId>, I::Stop> {
        self.replace(paths, from, Registration { key: ReservationKey::ZERO, ..from })
    }

    /// Changes a registration where it is that one; returns the paths of which it is not sure that it is not there any
    /// more.
    pub fn replace(&mut self, paths: &[PathId], from: Registration, to: Registration) -> Result<Vec<PathId>, I::Stop> {
        let (cdb, list) = register_with(OutAction::Register, from.key, to);
        let results = self.send_to_all(paths, &cdb, &list)?;
        let unsure = |(id, result): (PathId, CommandResult)| {
            let is_sure = matches!(result.class(), Class::Good | Class::Conflict);
            (!is_sure).then_some(id)
        };
        Ok(results.into_iter().filter_map(unsure).collect())
    }
}

/// The command was not carried out, and will be in a moment.
fn is_passing(result: &CommandResult) -> bool {
    matches!(result.class(), Class::UnitAttention(_)) || is_in_transition(result)
}

/// ASYMMETRIC ACCESS STATE TRANSITION, BUSY, TASK SET FULL.
pub(crate) fn is_in_transition(result: &CommandResult) -> bool {
    const TRANSITION: SenseCode = SenseCode::new(0x2, 0x04, 0x0a);
    result.class() == Class::Busy || result.is_from_device() && result.sense.code() == Some(TRANSITION)
}

/// A REGISTER of ours: from a key to a registration.
pub(crate) fn register_with(action: OutAction, from: ReservationKey, to: Registration) -> (Cdb, Vec<u8>) {
    let request = PrOut::new(action, 0, BasicParameters::keys(from, to.key));
    parts(&request.aptpl(to.persist).all_target_ports(to.all_target_ports))
}

/// A command of ours as it is sent.
pub(crate) fn parts(request: &PrOut<'_>) -> (Cdb, Vec<u8>) {
    (request.cdb(), request.list())
}
