//! One way in which a command may go: the engine's world, and what happens in it between any two of the engine's steps.

use std::{
    collections::{BTreeSet, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use pr_multipath::{Budget, CommandResult, HostSays, Io, Memory, Multipathd, Path, PathCommand, PathId, Untold};
use scsi_persistent_reservations::{BasicParameters, Cdb, Command, OutAction, ReservationKey, SenseCode, Status};

use crate::{
    chooser::Chooser,
    world::{
        Act, Condition, Daemon, Event, OTHER, PathState, RENAMED, Release, Suspended, Tells, World, id, identity,
        number, told,
    },
};

/// Why a play ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The engine died.
    Died,
    /// From here on everything was played before.
    Known,
}

/// A deliberate mistake between the engine and the world. An exploration that does not find it proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mistake {
    /// Paths are not failed, though the engine is told so.
    FailsNoPath,
    /// The map is not resumed.
    DoesNotResume,
    /// Every path confirms every key.
    ConfirmsEveryKey,
    /// A REGISTER is sent as REGISTER AND IGNORE EXISTING KEY.
    IgnoresKeys,
    /// Nothing is kept for a successor.
    KeepsNothing,
    /// One path is not seen.
    OverlooksPath,
    /// All registrants look alike.
    ConfusesRegistrants,
    /// A lost answer is taken for GOOD.
    TakesLossForGood,
    /// A registration is never taken back.
    TakesNothingBack,
    /// RECOVERED ERROR is taken for a failure.
    TakesRecoveredForFailure,
    /// Unit attentions of other paths are left to the guest.
    LeavesAttentions,
}

impl Mistake {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::FailsNoPath,
        Self::DoesNotResume,
        Self::ConfirmsEveryKey,
        Self::IgnoresKeys,
        Self::KeepsNothing,
        Self::OverlooksPath,
        Self::ConfusesRegistrants,
        Self::TakesLossForGood,
        Self::TakesNothingBack,
        Self::TakesRecoveredForFailure,
        Self::LeavesAttentions,
    ];
}

/// What may go wrong on the way to the logical unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A path becomes like this.
    Path(Condition),
    /// A command gets lost.
    Lost,
    /// The answer gets lost.
    LostDone,
    /// BUSY.
    Busy,
    /// NOT READY, the target port is in transition.
    Transition,
    /// RECOVERED ERROR.
    Recovered,
    /// multipathd does not answer.
    Multipathd,
    /// multipathd looks at a path that it takes for one which has come back.
    Checked,
    /// The second is over for which a map may be suspended: nothing is sent any more until it is resumed.
    Late,
    /// The path that hangs carries the command out after all, when nobody waits for it any more.
    CarriedOutLater,
}

/// What may happen while a command is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How many events there may be in one command.
    pub events: u32,
    /// Whether the engine may die.
    pub deaths: bool,
    /// Whether paths may change and answers be lost.
    pub faults: bool,
    /// The only fault there is.
    pub only: Option<Fault>,
    /// Whether the other node acts.
    pub others: bool,
    /// A mistake that is made.
    pub mistake: Option<Mistake>,
}

/// What a play went through, apart from its outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Course {
    /// Paths on which something went wrong, or that did not work from the beginning.
    pub troubled: BTreeSet<usize>,
    /// All of the command's time was spent on a path that hangs.
    pub overdue: bool,
    /// It was spent while I/O was held back.
    pub held_back: bool,
    /// The map has been suspended for a second.
    pub late: bool,
}

/// One command being played.
pub struct Play<'a> {
    /// The world as it is now.
    pub world: World,
    /// Who decides.
    pub chooser: &'a mut Chooser,
    /// What may happen.
    pub rules: Rules,
    /// How many events may still happen.
    pub left: u32,
    /// What the other node did, and how it went.
    pub acts: Vec<(Act, Status)>,
    /// Whether anything but the other node interfered.
    pub disturbed: bool,
    /// Whether the logical unit has carried out, or refused, a PERSISTENT RESERVE OUT of the engine's.
    pub has_arrived: bool,
    /// What the play went through.
    pub course: Course,
    /// States seen in this way before.
    pub seen: Option<&'a mut HashSet<u64>>,
    /// What the engine has seen, in a number.
    pub history: u64,
    /// What happened, for a reader; kept only where `tells` is set.
    pub story: Vec<String>,
    /// Whether the story is kept.
    pub tells: bool,
    /// How often a path in transition may be waited for.
    pub waits: u32,
}

impl Play<'_> {
    fn tell(&mut self, text: impl FnOnce() -> String) {
        if self.tells {
            self.story.push(text());
        }
    }

    fn learn(&mut self, what: &impl Hash) {
        let mut hasher = DefaultHasher::new();
        (self.history, what).hash(&mut hasher);
        self.history = hasher.finish();
    }

    /// A moment in which anything may happen.
    fn moment(&mut self) -> Result<(), Stop> {
        // Two moments of one play are never the same, even if nothing has changed in between.
        self.learn(&"moment");
        if self.chooser.is_new()
            && let Some(seen) = &mut self.seen
        {
            let mut hasher = DefaultHasher::new();
            (self.history, self.left, self.world.fingerprint()).hash(&mut hasher);
            (self.disturbed, self.has_arrived, &self.course).hash(&mut hasher);
            for (act, status) in &self.acts {
                (act, status.0).hash(&mut hasher);
            }
            if !seen.insert(hasher.finish()) {
                return Err(Stop::Known);
            }
        }
        if self.left == 0 {
            return Ok(());
        }
        let mut events: Vec<Event> = Vec::new();
        if self.rules.others {
            let acts = self.world.acts().into_iter().filter(|act| !self.world.is_out_of_reach(act));
            events.extend(acts.map(Event::Other));
        }
        if self.rules.faults {
            for path in 0..self.world.paths.len() {
                let may_be = match self.world.paths[path].condition {
                    Condition::Up => &[Condition::Away, Condition::Hung, Condition::Standby][..],
                    _ => &[Condition::Up],
                };
                let may_be = may_be.iter().filter(|condition| self.may_go_wrong(Fault::Path(**condition)));
                events.extend(may_be.map(|condition| Event::Path(path, *condition)));
            }
            // Of one path that is the same as if the path changed.
            let several = |port: &u16| self.world.up_through(*port).count() > 1;
            let ports =
                [1, 2].into_iter().filter(several).filter(|_| self.may_go_wrong(Fault::Path(Condition::Standby)));
            events.extend(ports.map(|port| Event::Group(port, Condition::Standby)));
        }
        if self.rules.faults && self.may_go_wrong(Fault::Checked) {
            let paths = (0..self.world.paths.len()).filter(|path| self.world.may_be_checked(*path));
            events.extend(paths.map(Event::Checked));
        }
        if self.rules.deaths {
            events.push(Event::Death);
        }
        let chosen = self.chooser.choose(u32::try_from(events.len() + 1).unwrap_or(1));
        if chosen == 0 {
            return Ok(());
        }
        self.left -= 1;
        match events[usize::try_from(chosen - 1).unwrap_or(0)] {
            Event::Other(act) => {
                let target = self.world.target;
                let status = target.play(&act, &mut self.world.disk, OTHER).status;
                self.tell(|| format!("      other node: {act}: {status}"));
                self.acts.push((act, status));
            }
            Event::Path(path, Condition::Up) => {
                self.disturbed = true;
                self.course.troubled.insert(path);
                self.world.bring_back(path);
                self.world.came_back.insert(path);
                self.tell(|| format!("      path {path} comes back"));
            }
            Event::Path(path, condition) => {
                self.disturbed = true;
                self.course.troubled.insert(path);
                self.world.paths[path].condition = condition;
                self.tell(|| format!("      path {path} is {condition:?} now"));
            }
            Event::Group(port, condition) => {
                self.disturbed = true;
                let paths: Vec<usize> = self.world.up_through(port).collect();
                for path in paths {
                    self.course.troubled.insert(path);
                    self.world.paths[path].condition = condition;
                }
                self.tell(|| format!("      all paths through port {port} are {condition:?} now"));
            }
            Event::Checked(path) => {
                self.disturbed = true;
                self.world.give_by_multipathd(path);
                self.tell(|| format!("      multipathd looks after path {path}"));
            }
            Event::Death => {
                self.disturbed = true;
                self.tell(|| "      the engine dies".to_owned());
                return Err(Stop::Died);
            }
        }
        Ok(())
    }

    fn may_go_wrong(&self, fault: Fault) -> bool {
        self.rules.only.is_none_or(|only| only == fault)
    }

    /// What goes wrong, if anything does; each fault is an event.
    fn fault(&mut self, faults: &[Fault]) -> Option<Fault> {
        if self.left == 0 || !self.rules.faults {
            return None;
        }
        let possible: Vec<Fault> = faults.iter().copied().filter(|fault| self.may_go_wrong(*fault)).collect();
        let chosen = self.chooser.choose(u32::try_from(possible.len() + 1).unwrap_or(1));
        let fault = usize::try_from(chosen).ok()?.checked_sub(1).and_then(|at| possible.get(at).copied())?;
        self.left -= 1;
        self.disturbed = true;
        Some(fault)
    }

    fn makes(&self, mistake: Mistake) -> bool {
        self.rules.mistake == Some(mistake)
    }

    /// A command, with the mistake that is made.
    fn with_mistake(&mut self, path: usize, command: &PathCommand) -> CommandResult {
        let Ok(cdb) = Cdb::new(command.cdb) else {
            return if self.makes(Mistake::LeavesAttentions) {
                CommandResult::GOOD
            } else {
                self.carry_out(path, command)
            };
        };
        let keys = BasicParameters::parse(&command.list).unwrap_or_default();
        let is_register = matches!(cdb.command(), Command::Out(out) if out.action() == Some(OutAction::Register));
        let is_proof = is_register && keys.key == keys.service_action_key;
        let is_withdrawal = is_register && !keys.key.is_zero() && keys.service_action_key.is_zero();
        if is_proof && self.makes(Mistake::ConfirmsEveryKey) || is_withdrawal && self.makes(Mistake::TakesNothingBack) {
            return CommandResult::GOOD;
        }
        let mut command = command.clone();
        if is_register && self.makes(Mistake::IgnoresKeys) {
            command.cdb[1] = OutAction::RegisterAndIgnoreExistingKey.code();
        }
        let result = self.carry_out(path, &command);
        let is_recovered =
            result.sense.code().is_some_and(|code| code.key == scsi_persistent_reservations::SenseKey(1));
        if !result.is_from_device() && self.makes(Mistake::TakesLossForGood) {
            CommandResult::GOOD
        } else if is_recovered && self.makes(Mistake::TakesRecoveredForFailure) {
            CommandResult::check(SenseCode::INTERNAL_TARGET_FAILURE)
        } else if self.makes(Mistake::ConfusesRegistrants) && command.cdb[..2] == [0x5e, 3] {
            CommandResult { data: alike(result.data), ..result }
        } else {
            result
        }
    }

    fn carry_out(&mut self, path: usize, command: &PathCommand) -> CommandResult {
        const UNMAPPED: SenseCode = SenseCode::new(0x5, 0x25, 0x00);
        const STANDBY: SenseCode = SenseCode::new(0x2, 0x04, 0x0b);
        const TRANSITION: SenseCode = SenseCode::new(0x2, 0x04, 0x0a);
        const RECOVERED: SenseCode = SenseCode::new(0x1, 0x5d, 0x00);
        let is_held = self.world.suspended == Suspended::Ours;
        self.course.late |= is_held && self.fault(&[Fault::Late]).is_some();
        if is_held && self.course.late {
            return CommandResult::unsent(SenseCode::COMMAND_TIMEOUT);
        }
        let state = &mut self.world.paths[path];
        let is_out = command.cdb[0] == 0x5f;
        match state.condition {
            Condition::Away => return CommandResult::lost(SenseCode::NO_RESPONSE_TO_SELECTION),
            Condition::Hung => {
                state.busy = true;
                // PREEMPT AND ABORT takes as long as the commands that it aborts.
                let takes_all = command.budget == Budget::Command && command.cdb[..2] != [0x5f, 5];
                self.course.overdue |= takes_all;
                self.course.held_back |= takes_all && self.world.suspended == Suspended::Ours;
                let faults = [Fault::Path(Condition::Hung), Fault::CarriedOutLater];
                match if is_out { self.fault(&faults) } else { None } {
                    None => {}
                    Some(Fault::CarriedOutLater) => self.world.pending = Some((path, command.clone())),
                    Some(_) => {
                        self.has_arrived = true;
                        let _ = self.world.execute(path, command);
                    }
                }
                return CommandResult::lost(SenseCode::COMMAND_TIMEOUT);
            }
            Condition::Standby => return CommandResult::check(STANDBY),
            Condition::Unmapped => return CommandResult::check(UNMAPPED),
            Condition::Up => {}
        }
        let faults = [Fault::Lost, Fault::LostDone, Fault::Busy, Fault::Transition, Fault::Recovered];
        let fault = self.fault(if is_out { &faults } else { &faults[..1] });
        if fault.is_some() {
            self.course.troubled.insert(path);
        }
        self.has_arrived |= is_out && matches!(fault, None | Some(Fault::LostDone | Fault::Recovered));
        match fault {
            Some(Fault::Lost) => CommandResult::lost(SenseCode::COMMUNICATION_FAILURE),
            Some(Fault::LostDone) => {
                let _ = self.world.execute(path, command);
                CommandResult::lost(SenseCode::COMMUNICATION_FAILURE)
            }
            Some(Fault::Busy) => CommandResult::status(Status::BUSY),
            Some(Fault::Transition) => CommandResult::check(TRANSITION),
            Some(Fault::Recovered) => match self.world.execute(path, command) {
                good if good.status == Status::GOOD => CommandResult::check(RECOVERED),
                other => other,
            },
            _ => self.world.execute(path, command),
        }
    }
}

/// READ FULL STATUS with one `TransportID` and one target port for all.
fn alike(mut data: Vec<u8>) -> Vec<u8> {
    let mut at = 8;
    while let Some(length) = data.get(at + 20..at + 24).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes)
    {
        let end = (at + 24 + usize::try_from(length).unwrap_or(0)).min(data.len());
        data[at + 18..at + 20].fill(0);
        data[at + 28..end].fill(7);
        at = end;
    }
    data
}

impl Io for Play<'_> {
    type Stop = Stop;

    fn paths(&mut self) -> Result<Vec<Path>, Stop> {
        self.moment()?;
        let seen = self.world.paths.len() - usize::from(self.makes(Mistake::OverlooksPath));
        let paths: Vec<Path> = self
            .world
            .paths
            .iter()
            .enumerate()
            .take(seen)
            .filter(|(_, state)| state.active || state.condition != Condition::Away || !self.world.removes)
            .map(|(number, state)| Path {
                id: PathId(id(number).0 + RENAMED * u64::from(state.name)),
                name: format!("path{number}"),
                active: state.active,
                open: state.open,
                busy: state.busy,
                identity: match self.world.host_tells {
                    Tells::Surely => HostSays::Surely(identity(number)),
                    Tells::Likely => HostSays::Likely(identity(number)),
                    Tells::Nothing => HostSays::Nothing,
                },
            })
            .collect();
        self.learn(&paths);
        // From here on what it lacks is the engine's business.
        self.world.came_back.clear();
        Ok(paths)
    }

    fn send(&mut self, commands: &[PathCommand]) -> Result<Vec<CommandResult>, Stop> {
        let mut results = Vec::new();
        for command in commands {
            self.moment()?;
            let path = number(command.path);
            let result = self.with_mistake(path, command);
            self.tell(|| format!("      path {path}: {}: {}", describe(command), told(&result)));
            self.learn(&result);
            results.push(result);
        }
        Ok(results)
    }

    fn suspend(&mut self) -> Result<bool, Stop> {
        self.moment()?;
        let can = self.world.suspended == Suspended::No;
        if can {
            self.world.suspended = Suspended::Ours;
        }
        self.tell(|| format!("      suspend: {can}"));
        self.learn(&can);
        Ok(can)
    }

    fn resume(&mut self) -> Result<bool, Stop> {
        self.moment()?;
        if !self.makes(Mistake::DoesNotResume) {
            self.world.suspended = Suspended::No;
        }
        self.course.late = false;
        self.tell(|| "      resume".to_owned());
        Ok(true)
    }

    fn fail_path(&mut self, path: PathId) -> Result<bool, Stop> {
        self.moment()?;
        let path = number(path);
        // device-mapper fails no path of a suspended map (EBUSY).
        let can = self.world.suspended == Suspended::No;
        if can {
            self.world.paths[path].active &= self.makes(Mistake::FailsNoPath);
        }
        self.tell(|| format!("      fail path {path}: {can}"));
        self.learn(&can);
        Ok(can)
    }

    fn key_of_multipathd(&mut self) -> Result<Option<ReservationKey>, Stop> {
        self.moment()?;
        let Daemon { release, key, .. } = self.world.daemon;
        let told = (release != Release::Absent).then(|| key.unwrap_or(ReservationKey::ZERO));
        self.learn(&told);
        Ok(told)
    }

    fn multipathd(&mut self, order: Multipathd) -> Result<Result<(), Untold>, Stop> {
        self.moment()?;
        // That takes seconds, and it is multipathd that brings paths back: the engine has to look again.
        self.world.came_back.clear();
        if self.world.daemon.release == Release::Absent || self.fault(&[Fault::Multipathd]).is_some() {
            self.learn(&false);
            return Ok(Err(Untold { words: "multipathd: no answer".to_owned(), again: true }));
        }
        match order {
            Multipathd::Register { key, persist } => {
                self.world.daemon.key = Some(key);
                self.world.daemon.persist = persist;
                // Where as many have the key as the map has paths it leaves them alone.
                let have = self.world.disk.registrations().filter(|(_, registration)| registration.key == key).count();
                let works = |path: &&PathState| path.active && path.condition == Condition::Up;
                if self.world.daemon.release == Release::New && have < self.world.paths.iter().filter(works).count() {
                    self.world.give_to_all();
                }
            }
            Multipathd::Forget => self.world.daemon.key = None,
            Multipathd::Hold(_) => {}
        }
        self.tell(|| format!("      multipathd: {order:?}"));
        self.learn(&true);
        Ok(Ok(()))
    }

    fn keep(&mut self, memory: &Memory) -> Result<(), Stop> {
        self.moment()?;
        if !self.makes(Mistake::KeepsNothing) {
            self.world.memory = memory.clone();
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<bool, Stop> {
        if self.waits == 0 {
            return Ok(false);
        }
        self.waits -= 1;
        Ok(true)
    }
}

fn describe(command: &PathCommand) -> String {
    match Cdb::new(command.cdb).map(|cdb| cdb.command()) {
        Err(_) => "TEST UNIT READY".to_owned(),
        Ok(Command::In(command)) => Command::In(command).to_string(),
        Ok(Command::Out(out)) => {
            let keys = BasicParameters::parse(&command.list).unwrap_or_default();
            format!("{} key={} sark={} type={}", Command::Out(out), keys.key, keys.service_action_key, out.scope_type)
        }
    }
}
