//! A small world: a logical unit, a map with a few paths to it, another node, device-mapper and multipathd.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};

use pr_multipath::{CommandResult, Fate, Identity, Memory, PathCommand, PathId};
use pr_sim::{InitiatorPort, LogicalUnit, Nexus};
use scsi_persistent_reservations::{
    BasicParameters, Cdb, Command, Completion, DataIn, OutAction, PersistentReserveIn, PersistentReserveOut,
    ReservationKey, ReservationType, SenseCode, Status,
};

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
pub const RENAMED: u64 = 0x10;

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
    /// a conflict for one of another type from the one that does; a registration on all target ports is changed by
    /// commands that say so themselves, or not at all; and while all registrants hold the reservation it knows one of them
    /// as the holder, whose key in a PREEMPT makes a new reservation, and PREEMPT leaves its own sender registered.
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

    /// Carries a command out for a nexus, past its unit attentions.
    pub fn play(self, act: &Act, unit: &mut LogicalUnit, nexus: Nexus) -> Completion<'static> {
        quietly(unit, nexus);
        self.preempts(act, unit, nexus).unwrap_or_else(|| act.play(unit, nexus))
    }

    /// PREEMPT while all registrants hold the reservation, where the target has a way of its own for that.
    fn preempts(self, act: &Act, unit: &mut LogicalUnit, nexus: Nexus) -> Option<Completion<'static>> {
        use OutAction::{Preempt, PreemptAndAbort, RegisterAndIgnoreExistingKey, Release, Reserve};
        let held = unit.reservation().filter(|held| held.holder.is_none())?;
        let is_preempt = matches!(act.action, Preempt | PreemptAndAbort) && !act.victim.is_zero();
        let own = unit.registrations().find(|(other, own)| *other == nexus && own.key == act.key);
        let (_, own) = own.filter(|_| self != Self::Simulated && is_preempt)?;
        let takes_over = unit.registrations().next()?.1.key == act.victim;
        let persist = unit.persists_through_power_loss();
        let completion = act.play(unit, nexus);
        let key = own.key;
        if key == act.victim {
            let flags = Flags { persist, all_target_ports: own.all_target_ports };
            let again = Act::new(RegisterAndIgnoreExistingKey, None, ReservationKey::ZERO, key);
            let _ = Act { flags, ..again }.play(unit, nexus);
        }
        if takes_over && unit.reservation().map(|held| held.kind) != act.kind {
            let _ = Act::new(Release, Some(held.kind), key, ReservationKey::ZERO).play(unit, nexus);
            let _ = Act::new(Reserve, act.kind, key, ReservationKey::ZERO).play(unit, nexus);
        }
        Some(completion)
    }
}

/// What a host can tell of who its paths are to the logical unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tells {
    /// It knows.
    Surely,
    /// It knows how they would be called.
    Likely,
    /// Nothing.
    Nothing,
}

impl fmt::Display for Tells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Surely => "identities known",
            Self::Likely => "identities likely",
            Self::Nothing => "identities unknown",
        })
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
    /// What the host can tell of who each path is to the logical unit.
    pub host_tells: Tells,
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
    /// multipathd takes a path for one that has come back.
    Checked(usize),
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
    let cdb = PersistentReserveIn::new(scsi_persistent_reservations::InAction::ReadKeys, 0).cdb();
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
            host_tells: Tells::Nothing,
            shared_keys: true,
            removes: false,
            came_back: BTreeSet::new(),
            pending: None,
        };
        let cdb = PersistentReserveIn::new(scsi_persistent_reservations::InAction::ReadKeys, 0).cdb();
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
    pub fn up_through(&self, port: u16) -> impl Iterator<Item = usize> {
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

    /// multipathd gives its key to every path that works.
    pub fn give_to_all(&mut self) {
        for path in 0..self.paths.len() {
            if self.paths[path].active && self.paths[path].condition == Condition::Up {
                self.give_by_multipathd(path);
            }
        }
    }

    /// Whether multipathd may take a path that works for one which has come back, and change something. Where another node
    /// has its key it may do anything: it looks for the key and not for its owner.
    pub fn may_be_checked(&self, path: usize) -> bool {
        let PathState { active, condition, .. } = self.paths[path];
        let (key, is) = (self.daemon.key, self.key(path));
        let others = self.disk.registrations().any(|(nexus, of)| nexus == OTHER && Some(of.key) == key);
        active && condition == Condition::Up && key.is_some() && is != key && !others
    }

    /// multipathd gives its key to a path, if the logical unit has it; from 0.13 on it takes what the path has otherwise.
    pub fn give_by_multipathd(&mut self, path: usize) {
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
    ///
    /// And of the registrations that hold a reservation together the kernel's own target knows one as the holder, and does
    /// not tell which: what becomes of the reservation if one of two keys of the guest's is preempted cannot be known.
    pub fn is_out_of_reach(&self, act: &Act) -> bool {
        let works = |path: &PathState| path.active && path.condition == Condition::Up;
        let keys: BTreeSet<_> = (0..self.paths.len()).map(|path| self.key(path)).collect();
        let is_held_by_all = self.disk.reservation().is_some_and(|held| held.holder.is_none());
        if self.target != Target::Simulated && act.action == OutAction::Preempt && is_held_by_all && keys.len() > 1 {
            return true;
        }
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
            // While all registrants hold the reservation that takes it from all others (SPC-4, 5.13.11.2.4).
            if let Some(held) = self.disk.reservation().filter(|held| held.holder.is_none()) {
                acts.push(act(OutAction::Preempt, Some(held.kind), own, zero));
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
            let good = self.target.play(act, &mut after, OTHER).status == Status::GOOD;
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

impl World {
    /// A command on the logical unit, through a path.
    pub fn execute(&mut self, path: usize, command: &PathCommand) -> CommandResult {
        let nexus = nexus(path);
        let fate = Fate::Answered;
        let Ok(cdb) = Cdb::new(command.cdb) else {
            // TEST UNIT READY: nothing but a unit attention.
            let probe = PersistentReserveIn::new(scsi_persistent_reservations::InAction::ReadKeys, 0).cdb();
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
        if let Some(action) = action {
            let act = Act { flags, ..Act::new(action, kind, keys.key, keys.service_action_key) };
            if let Some((status, code)) = self.target.answers(&self.disk, nexus, &act) {
                return code.map_or(CommandResult::status(status), CommandResult::check);
            }
            if let Some(Completion { status, sense, .. }) = self.target.preempts(&act, &mut self.disk, nexus) {
                return CommandResult { status, sense, data: Vec::new(), fate };
            }
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
