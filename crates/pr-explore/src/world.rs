//! A small world: a logical unit, a map with a few paths to it, another node, device-mapper and multipathd.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};

use pr_multipath::{Budget, CommandResult, Fate, Identity, Io, Memory, Multipathd, Path, PathCommand, PathId, Untold};
use pr_sim::{InitiatorPort, LogicalUnit, Nexus};
use scsi_pr::{
    BasicParameters, Cdb, Command, Completion, DataIn, OutAction, PersistentReserveIn, PersistentReserveOut,
    ReservationKey, ReservationType, SenseCode, Status,
};

use crate::chooser::Chooser;

/// The guest's first key.
pub const K: ReservationKey = ReservationKey(0xa1);
/// The guest's second key.
pub const L: ReservationKey = ReservationKey(0xb2);
/// The other node's key.
pub const M: ReservationKey = ReservationKey(0xc3);

/// The other node.
pub const OTHER: Nexus = Nexus { initiator: InitiatorPort(0x99), target_port: 1 };
/// The guest, where it has one path.
pub const GUEST: Nexus = Nexus { initiator: InitiatorPort(0x10), target_port: 1 };

/// The nexus of a path: two initiator ports, and from the third path on each of them through its other target port.
pub fn nexus(path: usize) -> Nexus {
    let number = u64::try_from(path).unwrap_or(0);
    Nexus { initiator: InitiatorPort(0x10 + number % 2), target_port: if matches!(path % 4, 0 | 3) { 1 } else { 2 } }
}

/// What a path's device number grows by where it was removed and is found again.
const RENAMED: u64 = 0x10;

/// The path's name to the engine, before it is ever removed.
pub fn id(path: usize) -> PathId {
    PathId(u64::try_from(path).unwrap_or(0))
}

/// Which path the engine means.
pub fn number(id: PathId) -> usize {
    usize::try_from(id.0 % RENAMED).unwrap_or(0)
}

/// What a path is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// It works.
    Up,
    /// Nothing gets through, and that is known at once.
    Away,
    /// Nothing comes back.
    Hung,
    /// NOT READY, target port in standby state.
    Standby,
    /// LOGICAL UNIT NOT SUPPORTED: it was taken from this target port.
    Unmapped,
}

/// A path as the world knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PathState {
    /// What it is like.
    pub condition: Condition,
    /// Whether device-mapper uses it.
    pub active: bool,
    /// A command is out on it.
    pub busy: bool,
    /// Whether its node can be opened.
    pub open: bool,
    /// By which of its two device numbers it is known: it was removed and found again so often.
    pub name: u8,
}

/// Who has suspended the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suspended {
    /// Nobody.
    No,
    /// The engine.
    Ours,
    /// An administrator.
    Others,
}

/// Which multipathd there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Release {
    /// None is running.
    Absent,
    /// Before 0.13: registers a returning path while the key is on the logical unit.
    Old,
    /// 0.13 and newer: takes the registration of a returning path as well, and gives the key to all paths when it is told,
    /// if the logical unit has it.
    New,
}

/// multipathd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Daemon {
    /// Which one.
    pub release: Release,
    /// The key that it registers returning paths with.
    pub key: Option<ReservationKey>,
    /// With APTPL set.
    pub persist: bool,
}

/// How the target goes about it, where SPC leaves a choice or is not followed (`target_core_pr.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// As the simulated one.
    Simulated,
    /// The kernel's own: without a reservation, NOT READY for RESERVE, RELEASE and CLEAR of a nexus without a
    /// registration; GOOD for a RELEASE of a registrant that does not hold the reservation, whatever its key and type, and
    /// a conflict for one of another type from the one that does; and a registration on all target ports is changed by
    /// commands that say so themselves, or not at all.
    Kernel,
    /// The same, and it cannot write its file: it registers, and then says NOT READY.
    KernelWithoutFile,
}

impl Target {
    /// LOGICAL UNIT COMMUNICATION FAILURE, NOT READY.
    const COMMUNICATION_FAILURE: SenseCode = SenseCode::new(0x2, 0x08, 0x00);

    /// What a command is told where the target does not do what SPC asks for; it changes nothing then.
    pub fn answers(self, unit: &LogicalUnit, nexus: Nexus, act: &Act) -> Option<(Status, Option<SenseCode>)> {
        use OutAction::{Clear, Register, RegisterAndIgnoreExistingKey, Release, Reserve};
        if self == Self::Simulated {
            return None;
        }
        let own = unit.registrations().find(|(other, _)| *other == nexus).map(|(_, registration)| registration);
        let holder = unit.reservation().map(|held| held.holder);
        match (act.action, own) {
            (Reserve | Release | Clear, None) if holder.is_none() => {
                Some((Status::CHECK_CONDITION, Some(Self::COMMUNICATION_FAILURE)))
            }
            (Release, Some(_)) if holder.is_none_or(|holder| holder.is_some_and(|holder| holder != nexus)) => {
                Some((Status::GOOD, None))
            }
            (Release, Some(own)) if own.key == act.key && unit.reservation().map(|held| held.kind) != act.kind => {
                Some((Status::RESERVATION_CONFLICT, None))
            }
            (Register | RegisterAndIgnoreExistingKey, Some(own))
                if own.all_target_ports && !act.flags.all_target_ports =>
            {
                Some((Status::CHECK_CONDITION, Some(SenseCode::INVALID_FIELD_IN_CDB)))
            }
            _ => None,
        }
    }
}

/// Everything there is between two commands.
#[derive(Clone, Debug)]
pub struct World {
    /// The logical unit.
    pub disk: LogicalUnit,
    /// How it goes about it.
    pub target: Target,
    /// The same, had the guest one path.
    pub plain: LogicalUnit,
    /// It may as well be like this: nobody knows yet how far a command came whose engine has died.
    pub may_be: Option<Box<LogicalUnit>>,
    /// The map's paths.
    pub paths: Vec<PathState>,
    /// Whether I/O is held back.
    pub suspended: Suspended,
    /// multipathd.
    pub daemon: Daemon,
    /// What the engine has kept.
    pub memory: Memory,
    /// What another helper on the same map has kept.
    pub second: Memory,
    /// Unit attentions that the guest is to be told.
    pub owed: BTreeSet<SenseCode>,
    /// Whether the host can tell who each path is to the logical unit.
    pub host_tells: bool,
    /// Whether the other node may use the guest's key.
    pub shared_keys: bool,
    /// Whether a path that is away is taken out of the map, as one is whose device is removed.
    pub removes: bool,
    /// Paths that came back while a command was under way: the next look at the paths is for them.
    pub came_back: BTreeSet<usize>,
    /// A command that has got to a path which hangs, and that it has yet to carry out.
    pub pending: Option<(usize, PathCommand)>,
}

/// What another node, or the world, does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The other node sends a command.
    Other(Act),
    /// A path changes.
    Path(usize, Condition),
    /// All paths through a target port change: its target port group is in another state.
    Group(u16, Condition),
    /// The engine dies.
    Death,
}

/// A command of the other node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Act {
    /// Which.
    pub action: OutAction,
    /// Its type.
    pub kind: Option<ReservationType>,
    /// Reservation key.
    pub key: ReservationKey,
    /// Service action reservation key.
    pub victim: ReservationKey,
    /// What a registration is to be like.
    pub flags: Flags,
}

/// Flags of a REGISTER.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags {
    /// APTPL.
    pub persist: bool,
    /// `ALL_TG_PT`.
    pub all_target_ports: bool,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.map_or(0, ReservationType::code);
        write!(f, "{} key={} sark={} type={kind}", self.action, self.key, self.victim)?;
        f.write_str(if self.flags.persist { " APTPL" } else { "" })?;
        f.write_str(if self.flags.all_target_ports { " ALL_TG_PT" } else { "" })
    }
}

impl Act {
    /// A command without flags.
    pub const fn new(
        action: OutAction,
        kind: Option<ReservationType>,
        key: ReservationKey,
        victim: ReservationKey,
    ) -> Self {
        Self { action, kind, key, victim, flags: Flags { persist: false, all_target_ports: false } }
    }

    /// CDB and parameter list.
    pub fn bytes(&self) -> (Cdb, [u8; 24]) {
        let Flags { persist: activate_persist, all_target_ports } = self.flags;
        let list =
            BasicParameters { activate_persist, all_target_ports, ..BasicParameters::keys(self.key, self.victim) };
        (PersistentReserveOut::new(self.action, self.kind, 24).cdb(), list.to_bytes())
    }

    /// Carries it out for a nexus, past its unit attentions.
    pub fn play(&self, unit: &mut LogicalUnit, nexus: Nexus) -> Completion<'static> {
        let (cdb, list) = self.bytes();
        quietly(unit, nexus);
        let completion = unit.execute(nexus, &cdb, &list, &mut []);
        Completion { status: completion.status, sense: completion.sense, data: &[] }
    }
}

/// Takes all unit attentions of a nexus.
pub fn quietly(unit: &mut LogicalUnit, nexus: Nexus) {
    let cdb = PersistentReserveIn::new(scsi_pr::InAction::ReadKeys, 0).cdb();
    while !unit.unit_attentions(nexus).is_empty() {
        let _ = unit.execute(nexus, &cdb, &[], &mut []);
    }
}

impl World {
    /// A new world: nobody is registered, all paths work.
    pub fn new(paths: usize, release: Release) -> Self {
        let unit = LogicalUnit::new(2);
        let state = PathState { condition: Condition::Up, active: true, busy: false, open: true, name: 0 };
        let mut world = Self {
            disk: unit.clone(),
            target: Target::Simulated,
            plain: unit,
            may_be: None,
            paths: vec![state; paths],
            suspended: Suspended::No,
            daemon: Daemon { release, key: None, persist: false },
            memory: Memory::default(),
            second: Memory::default(),
            owed: BTreeSet::new(),
            host_tells: false,
            shared_keys: true,
            removes: false,
            came_back: BTreeSet::new(),
            pending: None,
        };
        let cdb = PersistentReserveIn::new(scsi_pr::InAction::ReadKeys, 0).cdb();
        for path in 0..paths {
            let _ = world.disk.execute(nexus(path), &cdb, &[], &mut []);
        }
        let _ = world.disk.execute(OTHER, &cdb, &[], &mut []);
        let _ = world.plain.execute(OTHER, &cdb, &[], &mut []);
        let _ = world.plain.execute(GUEST, &cdb, &[], &mut []);
        world
    }

    /// What the world is, in a number. Counters that only ever grow are left out.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for unit in [&self.disk, &self.plain].into_iter().chain(self.may_be.as_deref()) {
            for (nexus, registration) in unit.registrations() {
                (nexus, registration.key, registration.all_target_ports).hash(&mut hasher);
            }
            0xff_u8.hash(&mut hasher);
            unit.reservation().map(|held| (held.kind.code(), held.holder)).hash(&mut hasher);
            unit.persists_through_power_loss().hash(&mut hasher);
        }
        for path in 0..self.paths.len() {
            self.disk.unit_attentions(nexus(path)).hash(&mut hasher);
        }
        self.paths.hash(&mut hasher);
        (self.suspended, self.daemon, &self.memory, &self.second, &self.owed, &self.came_back).hash(&mut hasher);
        self.pending.as_ref().map(|(path, command)| (path, command.cdb, &command.list)).hash(&mut hasher);
        hasher.finish()
    }

    /// The paths through a target port that work.
    fn up_through(&self, port: u16) -> impl Iterator<Item = usize> {
        let is_up =
            move |path: &usize| self.paths[*path].condition == Condition::Up && nexus(*path).target_port == port;
        (0..self.paths.len()).filter(is_up)
    }

    /// The key of a path.
    pub fn key(&self, path: usize) -> Option<ReservationKey> {
        key_of(&self.disk, nexus(path))
    }

    /// A path works again: multipathd sees it, does what its release does, and has device-mapper use it.
    pub fn bring_back(&mut self, path: usize) {
        if self.pending.as_ref().is_some_and(|(pending, _)| *pending == path) {
            self.carry_out_pending();
        }
        let was = self.paths[path];
        let is_removed = self.removes && was.condition == Condition::Away && !was.active;
        let name = was.name ^ u8::from(is_removed);
        self.paths[path] = PathState { condition: Condition::Up, active: true, busy: false, name, ..was };
        self.give_by_multipathd(path);
    }

    /// The path that hangs carries out what it has; which path that is.
    pub fn carry_out_pending(&mut self) -> Option<usize> {
        let (path, command) = self.pending.take()?;
        let _ = self.execute(path, &command);
        self.paths[path].busy = false;
        Some(path)
    }

    /// multipathd starts: every path that works gets the key that it heard last.
    pub fn start_multipathd(&mut self) {
        self.daemon.release = Release::Old;
        self.give_to_all();
    }

    fn give_to_all(&mut self) {
        for path in 0..self.paths.len() {
            if self.paths[path].active && self.paths[path].condition == Condition::Up {
                self.give_by_multipathd(path);
            }
        }
    }

    fn give_by_multipathd(&mut self, path: usize) {
        let Some(key) = self.daemon.key.filter(|_| self.daemon.release != Release::Absent) else { return };
        let found = self.disk.registrations().any(|(_, registration)| registration.key == key);
        let new = match (found, self.daemon.release) {
            (true, _) => key,
            (false, Release::New) => ReservationKey::ZERO,
            (false, _) => return,
        };
        let own = self.disk.registrations().find(|(other, _)| *other == nexus(path));
        if self.target != Target::Simulated && own.is_some_and(|(_, own)| own.all_target_ports) {
            return;
        }
        let flags = Flags { persist: self.daemon.persist, all_target_ports: false };
        let act = Act { flags, ..Act::new(OutAction::RegisterAndIgnoreExistingKey, None, ReservationKey::ZERO, new) };
        let _ = act.play(&mut self.disk, nexus(path));
    }

    /// The one act that is left out while a command is under way and a path does not work: the other node registers with
    /// the very key that the guest has. A PREEMPT of that key, which ends the registration of a path that is away, ends that
    /// registration as well; SPC has no command that ends the registration of one nexus from another one. Between commands
    /// it does so.
    fn is_out_of_reach(&self, act: &Act) -> bool {
        let works = |path: &PathState| path.active && path.condition == Condition::Up;
        act.action == OutAction::Register
            && (0..self.paths.len()).any(|path| self.key(path) == Some(act.victim))
            && !self.paths.iter().all(works)
    }

    /// What the other node can do now that changes anything.
    pub fn acts(&self) -> Vec<Act> {
        let own = key_of(&self.disk, OTHER).unwrap_or(ReservationKey::ZERO);
        let act = Act::new;
        let exclusive = Some(ReservationType::WriteExclusiveRegistrantsOnly);
        let zero = ReservationKey::ZERO;
        let mut acts = Vec::new();
        if own.is_zero() {
            acts.push(act(OutAction::Register, None, zero, M));
            if self.shared_keys {
                acts.push(act(OutAction::Register, None, zero, K));
            }
        } else {
            acts.push(act(OutAction::Reserve, exclusive, own, zero));
            acts.push(act(OutAction::Release, self.disk.reservation().map(|held| held.kind), own, zero));
            for victim in [K, L] {
                acts.push(act(OutAction::Preempt, exclusive, own, victim));
            }
            acts.push(act(OutAction::Clear, None, own, zero));
            acts.push(act(OutAction::Register, None, own, zero));
        }
        // While no path works nobody can see what becomes of the guest's key, and multipathd, which looks for the key and
        // not for its owner, registers the first path that comes back again if the other node has the same.
        let is_blind = self.daemon.release != Release::Absent
            && !self.paths.iter().any(|path| path.active && path.condition == Condition::Up);
        acts.retain(|act| !(is_blind && act.victim == K && (own == K || act.action == OutAction::Register)));
        acts.retain(|act| {
            let mut after = self.disk.clone();
            let good = act.play(&mut after, OTHER).status == Status::GOOD;
            good && (!after.registrations().eq(self.disk.registrations())
                || after.reservation() != self.disk.reservation())
        });
        acts
    }
}

/// The key of a nexus.
pub fn key_of(unit: &LogicalUnit, nexus: Nexus) -> Option<ReservationKey> {
    unit.registrations().find(|(other, _)| *other == nexus).map(|(_, registration)| registration.key)
}

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
                let status = act.play(&mut self.world.disk, OTHER).status;
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
        let is_recovered = result.sense.code().is_some_and(|code| code.key == scsi_pr::SenseKey(1));
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

impl World {
    /// A command on the logical unit, through a path.
    fn execute(&mut self, path: usize, command: &PathCommand) -> CommandResult {
        let nexus = nexus(path);
        let fate = Fate::Answered;
        let Ok(cdb) = Cdb::new(command.cdb) else {
            // TEST UNIT READY: nothing but a unit attention.
            let probe = PersistentReserveIn::new(scsi_pr::InAction::ReadKeys, 0).cdb();
            let completion = self.disk.execute(nexus, &probe, &[], &mut []);
            return CommandResult { status: completion.status, sense: completion.sense, data: Vec::new(), fate };
        };
        let (action, kind) = match cdb.command() {
            Command::Out(out) if self.disk.unit_attentions(nexus).is_empty() => {
                (out.action(), ReservationType::from_scope_type(out.scope_type))
            }
            _ => (None, None),
        };
        let keys = BasicParameters::parse(&command.list).unwrap_or_default();
        let flags = Flags { persist: keys.activate_persist, all_target_ports: keys.all_target_ports };
        if let Some(action) = action
            && let act = (Act { flags, ..Act::new(action, kind, keys.key, keys.service_action_key) })
            && let Some((status, code)) = self.target.answers(&self.disk, nexus, &act)
        {
            return code.map_or(CommandResult::status(status), CommandResult::check);
        }
        let mut buffer = vec![0; command.room.min(4096)];
        let completion = self.disk.execute(nexus, &cdb, &command.list, &mut buffer);
        let (status, sense, data) = (completion.status, completion.sense.clone(), completion.data.to_vec());
        let is_register = matches!(action, Some(OutAction::Register | OutAction::RegisterAndIgnoreExistingKey));
        if self.target == Target::KernelWithoutFile && is_register && status == Status::GOOD {
            return CommandResult::check(Target::COMMUNICATION_FAILURE);
        }
        CommandResult { status, sense, data, fate }
    }
}

/// What a path's nexus is called in READ FULL STATUS.
pub fn identity(path: usize) -> Identity {
    let nexus = nexus(path);
    let id = nexus.initiator.sas();
    let mut transport_id = vec![0; id.length()];
    id.write(&mut DataIn::new(&mut transport_id));
    Identity { target_port: nexus.target_port, transport_id }
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
                identity: self.world.host_tells.then(|| identity(number)),
            })
            .collect();
        self.learn(&paths);
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

/// A result in words.
pub fn told(result: &CommandResult) -> String {
    let from = if result.is_from_device() { "" } else { " (no answer)" };
    if result.sense.is_none() {
        format!("{}{from}", result.status)
    } else {
        format!("{}: {}{from}", result.status, result.sense)
    }
}

/// Which keys are registered by whom, in words.
pub fn registrations(unit: &LogicalUnit) -> String {
    let registrations: BTreeMap<_, _> = unit
        .registrations()
        .map(|(n, r)| (format!("{:x}/{}", n.initiator.0, n.target_port), r.key.to_string()))
        .collect();
    let held = unit.reservation().map(|held| {
        let holder = held.holder.map_or_else(|| "all".to_owned(), |h| format!("{:x}/{}", h.initiator.0, h.target_port));
        format!("type {} by {holder}", held.kind.code())
    });
    format!("{registrations:?} reservation {}", held.unwrap_or_else(|| "none".to_owned()))
}
