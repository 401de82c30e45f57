//! Small beginnings in which the logic before the map engine broke a promise. Each is explored in every way, and from each
//! the explorer finds by itself what was wrong.

use std::collections::{HashSet, VecDeque};

use scsi_persistent_reservations::{
    OutAction::{self, Clear, Preempt, Register, RegisterAndIgnoreExistingKey, Release, Reserve},
    ReservationKey, ReservationType,
};

use pr_multipath::Memory;

use crate::{
    Counterexample, Ending, Found, Logic, MapEngine, QUIET,
    before::Before,
    change, choice,
    chooser::Chooser,
    every, once,
    oracle::{self, Played, Verdict},
    other,
    play::{Fault, Play, Rules, Stop},
    settle, start,
    world::{self, Act, Condition, Flags, K, L, M, Suspended, Target, Tells, World},
};

/// What has happened before.
#[derive(Clone, Copy, Debug)]
pub enum Past {
    /// The guest's command.
    Guest(Act),
    /// The other node's.
    Other(Act),
    /// device-mapper has seen that the path is away.
    Away(usize),
    /// The path works again, and is looked after.
    Back(usize),
    /// The path is like this, and device-mapper uses it all the same.
    Is(usize, Condition),
    /// Somebody has taken the key from the path.
    Loses(usize),
    /// The node of the path cannot be opened.
    Closed(usize),
    /// An administrator has suspended the map.
    Suspended,
    /// The helper was started anew, and knows nothing.
    Restart,
}

/// Whether the host can tell who its paths are to the logical unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// As is asked for.
    Any,
    /// It cannot, whatever is asked for.
    Blind,
}

/// What may happen between the guest's commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// A path comes or goes.
    Path,
    /// The helper is started anew, and knows nothing.
    Restart,
    /// It is another helper's turn on the same map.
    Turn,
    /// multipathd goes away, or starts.
    Multipathd,
    /// A path that hangs carries out what it was sent.
    Pending,
}

/// A beginning, and what may happen then.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What it is about.
    pub name: &'static str,
    /// How many paths the map has.
    pub paths: usize,
    /// How the target goes about it.
    pub target: Target,
    /// Which multipathd there is.
    pub release: world::Release,
    /// What has happened before.
    pub past: &'static [Past],
    /// What the guest may send.
    pub guest: &'static [Act],
    /// What the other node may send between the guest's commands.
    pub other: &'static [Act],
    /// What else may happen between the guest's commands.
    pub between: &'static [Between],
    /// What the host is like.
    pub host: Host,
    /// What another helper on the same map carries out when this one has died, and has not gone on yet.
    pub meanwhile: Option<Act>,
    /// What may happen within a command.
    pub rules: Rules,
    /// How many steps there are.
    pub depth: usize,
    /// The promises that the logic before the map engine breaks.
    pub breaks: &'static [u8],
}

impl Scenario {
    /// The world in which it begins.
    ///
    /// # Errors
    /// The way there breaks a promise already.
    fn begin(&self, logic: &impl Logic, host_tells: Tells) -> Result<World, Counterexample> {
        let host_tells = if self.host == Host::Any { host_tells } else { Tells::Nothing };
        let mut world = World { target: self.target, host_tells, ..World::new(self.paths, self.release) };
        for past in self.past {
            match *past {
                Past::Guest(act) => {
                    let mut chooser = Chooser::Every(choice::Choices::default());
                    match once(logic, &world, act, QUIET, &mut chooser, None, true) {
                        Ending::Right(after, _) => world = *after,
                        Ending::Wrong(bad) => return Err(bad),
                        Ending::Known | Ending::Noted => {}
                    }
                }
                Past::Other(act) => world = other(&world, act),
                Past::Away(path) => world = change(logic, &world, path, Condition::Away)?.unwrap_or(world),
                Past::Back(path) => world = change(logic, &world, path, Condition::Up)?.unwrap_or(world),
                Past::Is(path, condition) => world.paths[path].condition = condition,
                Past::Loses(path) => {
                    let _ = register_ignore(ReservationKey::ZERO).play(&mut world.disk, world::nexus(path));
                }
                Past::Closed(path) => world.paths[path].open = false,
                Past::Suspended => world.suspended = Suspended::Others,
                Past::Restart => world.memory = Memory::default(),
            }
        }
        Ok(world)
    }

    /// Plays everything that may happen in it, where the host can tell who its paths are to the logical unit, or cannot.
    /// Of each promise that is broken the first counterexample is kept.
    pub fn explore(&self, logic: &impl Logic, host_tells: Tells) -> Found {
        let mut found = Found::default();
        let start = match self.begin(logic, host_tells) {
            Ok(start) => start,
            Err(bad) => {
                found.wrong.push(bad);
                return found;
            }
        };
        let mut seen = HashSet::from([start.fingerprint()]);
        let mut queue = VecDeque::from([(start, Vec::<String>::new(), 0)]);
        while let Some((world, story, depth)) = queue.pop_front() {
            found.worlds += 1;
            if depth == self.depth {
                continue;
            }
            let (next, wrong) = self.steps(logic, &world, &mut found);
            for mut bad in wrong {
                if found.wrong.iter().all(|known| known.violation.promise != bad.violation.promise) {
                    bad.story.splice(0..0, story.iter().cloned());
                    found.wrong.push(bad);
                }
            }
            for (world, lines) in next {
                if seen.insert(world.fingerprint()) {
                    let story = story.iter().cloned().chain(lines).collect();
                    queue.push_back((world, story, depth + 1));
                }
            }
        }
        found
    }

    fn may(&self, what: Between) -> bool {
        self.between.contains(&what)
    }

    fn steps(
        &self,
        logic: &impl Logic,
        world: &World,
        found: &mut Found,
    ) -> (Vec<(World, Vec<String>)>, Vec<Counterexample>) {
        let mut next = Vec::new();
        let mut wrong = Vec::new();
        for act in self.guest {
            if let Some(second) = self.meanwhile {
                wrong.extend(self.with_another_helper(logic, world, *act, second, found));
                continue;
            }
            let (worlds, bad) = every(logic, world, *act, self.rules, found);
            next.extend(worlds);
            wrong.extend(bad);
        }
        for act in self.other {
            match settle(logic, other(world, *act), oracle::is_left(world)) {
                Ok(world) => next.extend(world.map(|world| (world, vec![format!("other node: {act}")]))),
                Err(bad) => wrong.push(bad),
            }
        }
        for path in (0..self.paths).filter(|_| self.may(Between::Path)) {
            let state = world.paths[path];
            let is_up = state.condition == Condition::Up && state.active;
            let condition = if is_up { Condition::Away } else { Condition::Up };
            match change(logic, world, path, condition) {
                Ok(world) => next.extend(world.map(|world| (world, vec![format!("path {path}: {condition:?}")]))),
                Err(bad) => wrong.push(bad),
            }
        }
        if self.may(Between::Pending) {
            let mut world = world.clone();
            if let Some(path) = world.carry_out_pending() {
                next.push((world, vec![format!("path {path} carries out what it was sent")]));
            }
        }
        if self.may(Between::Restart) {
            let world = World { memory: Memory::default(), ..world.clone() };
            next.push((world, vec!["the helper is started anew".to_owned()]));
        }
        if self.may(Between::Multipathd) && world.daemon.release == world::Release::Absent {
            let mut world = world.clone();
            world.start_multipathd();
            match settle(logic, world, false) {
                Ok(world) => next.extend(world.map(|world| (world, vec!["multipathd starts".to_owned()]))),
                Err(mut bad) => {
                    bad.story.insert(0, "multipathd starts".to_owned());
                    wrong.push(bad);
                }
            }
        } else if self.may(Between::Multipathd) {
            let mut world = world.clone();
            world.daemon.release = world::Release::Absent;
            next.push((world, vec!["multipathd goes away".to_owned()]));
        }
        if self.may(Between::Turn) {
            let world = World { memory: world.second.clone(), second: world.memory.clone(), ..world.clone() };
            next.push((world, vec!["the other helper's turn".to_owned()]));
        }
        (next, wrong)
    }

    /// The helper dies in the middle of a command. Another one on the same map carries out a command for the same guest,
    /// and is not disturbed; and what the first one does about its command has to leave that alone.
    fn with_another_helper(
        &self,
        logic: &impl Logic,
        world: &World,
        first: Act,
        second: Act,
        found: &mut Found,
    ) -> Option<Counterexample> {
        let mut chooser = Chooser::Every(choice::Choices::default());
        loop {
            let mut memory = world.memory.clone();
            let mut play = start(world.clone(), &mut chooser, self.rules, None, true);
            let (cdb, list) = first.bytes();
            if let Err(Stop::Died) = logic.execute(&mut play, &mut memory, &cdb, &list) {
                found.plays += 1;
                let mut own = play.world.memory.clone();
                play.left = 0;
                if logic.locks() {
                    let _ = logic.recover(&mut play, &mut own);
                }
                let (cdb, list) = second.bytes();
                play.story.push(format!("another helper: {second}"));
                let mut memory = Memory::default();
                let answer = logic.execute(&mut play, &mut memory, &cdb, &list);
                if !logic.locks() {
                    play.story.push("the first helper goes on".to_owned());
                    let _ = logic.recover(&mut play, &mut own);
                }
                let Play { world: after, mut story, .. } = play;
                // Carried out or not: nobody was told.
                let mut done = world.clone();
                let _ = done.target.play(&first, &mut done.plain, world::GUEST);
                let verdicts = answer.iter().flat_map(|answer| {
                    [world, &done].map(|before| {
                        let after = after.clone();
                        Played { before, command: second, answer, acts: &[], disturbed: true, has_arrived: true, after }
                            .judge()
                    })
                });
                let mut violations = Vec::new();
                for verdict in verdicts {
                    match verdict {
                        Verdict::Wrong(violation) => violations.push(violation),
                        Verdict::Right(_) | Verdict::Noted => violations.clear(),
                    }
                    if violations.is_empty() {
                        break;
                    }
                }
                if let Some(violation) = violations.pop() {
                    story.insert(0, format!("guest: {first}"));
                    story.push(format!("   map  {}", world::registrations(&after.disk)));
                    story.push(format!("   WRONG (promise {}): {}", violation.promise, violation.what));
                    return Some(Counterexample { violation, story });
                }
            }
            if !chooser.advance() {
                return None;
            }
        }
    }
}

/// What was found in all of [`ALL`], a row for each.
pub fn table() -> impl Iterator<Item = (&'static Scenario, Found, Found)> {
    ALL.iter().map(|scenario| {
        let before = scenario.explore(&Before, Tells::Nothing);
        let mut engine = scenario.explore(&MapEngine, Tells::Nothing);
        let told = scenario.explore(&MapEngine, Tells::Surely);
        engine.plays += told.plays;
        engine.wrong.extend(told.wrong);
        (scenario, before, engine)
    })
}

const ZERO: ReservationKey = ReservationKey::ZERO;
const SHARED: ReservationType = ReservationType::WriteExclusiveRegistrantsOnly;
const BY_ALL: ReservationType = ReservationType::WriteExclusiveAllRegistrants;

const fn with_type(action: OutAction, kind: ReservationType, key: ReservationKey, victim: ReservationKey) -> Act {
    Act::new(action, Some(kind), key, victim)
}

const fn register(key: ReservationKey, new: ReservationKey) -> Act {
    Act::new(Register, None, key, new)
}

const fn register_ignore(new: ReservationKey) -> Act {
    Act::new(RegisterAndIgnoreExistingKey, None, ZERO, new)
}

const fn flagged(act: Act, persist: bool, all_target_ports: bool) -> Act {
    Act { flags: Flags { persist, all_target_ports }, ..act }
}

const fn register_everywhere(key: ReservationKey, new: ReservationKey) -> Act {
    flagged(register(key, new), false, true)
}

const fn reserve(key: ReservationKey) -> Act {
    with_type(Reserve, SHARED, key, ZERO)
}

const fn release(key: ReservationKey) -> Act {
    with_type(Release, SHARED, key, ZERO)
}

const fn preempt(key: ReservationKey, victim: ReservationKey) -> Act {
    with_type(Preempt, SHARED, key, victim)
}

const fn clear(key: ReservationKey) -> Act {
    Act::new(Clear, None, key, ZERO)
}

/// The other node acts once within a command.
const OTHERS: Rules = Rules { events: 1, others: true, ..QUIET };
const DEATH: Rules = Rules { events: 1, deaths: true, ..QUIET };

/// So often in a command this goes wrong, and nothing else.
const fn faults(events: u32, fault: Fault) -> Rules {
    Rules { events, faults: true, only: Some(fault), ..QUIET }
}

/// Two paths, and nothing happens.
const PLAIN: Scenario = Scenario {
    name: "",
    paths: 2,
    target: Target::Simulated,
    release: world::Release::Old,
    past: &[],
    guest: &[],
    other: &[],
    between: &[],
    host: Host::Any,
    meanwhile: None,
    rules: QUIET,
    depth: 1,
    breaks: &[],
};

const HAS_KEY: &[Past] = &[Past::Guest(register(ZERO, K))];
const HOLDS: &[Past] = &[Past::Guest(register(ZERO, K)), Past::Guest(reserve(K))];
/// The other node is registered, and the guest holds the reservation on path 0.
const OTHER_AND_HOLDS: &[Past] =
    &[Past::Other(register(ZERO, M)), Past::Guest(register(ZERO, K)), Past::Guest(reserve(K))];
const HOLDER_AWAY: &[Past] =
    &[Past::Other(register(ZERO, M)), Past::Guest(register(ZERO, K)), Past::Guest(reserve(K)), Past::Away(0)];

/// All in which the logic before the map engine breaks a promise.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "the path that holds the reservation is away, and the guest changes its key; the path may come back, and the \
               other node may preempt either key",
        past: HOLDER_AWAY,
        guest: &[register(K, L), register_ignore(L), release(L), reserve(L)],
        other: &[preempt(M, L), preempt(M, K)],
        between: &[Between::Path],
        depth: 3,
        breaks: &[1, 4, 6],
        ..PLAIN
    },
    Scenario {
        name: "the path that holds the reservation is away, and the guest gives its key up",
        past: HOLDER_AWAY,
        guest: &[register(K, ZERO), register_ignore(ZERO)],
        breaks: &[1],
        ..PLAIN
    },
    Scenario {
        name: "the other node preempts this host while the guest changes its key",
        past: OTHER_AND_HOLDS,
        guest: &[register(K, L)],
        rules: OTHERS,
        breaks: &[1, 4],
        ..PLAIN
    },
    Scenario {
        name: "the other node preempts this host while the guest preempts its own key",
        past: OTHER_AND_HOLDS,
        guest: &[preempt(K, K)],
        rules: OTHERS,
        breaks: &[1, 4],
        ..PLAIN
    },
    Scenario {
        name: "the other node has the same key and holds the reservation; RESERVE and RELEASE",
        past: &[Past::Other(register(ZERO, K)), Past::Other(reserve(K)), Past::Guest(register(ZERO, K))],
        guest: &[reserve(K), release(K)],
        depth: 2,
        breaks: &[1, 3],
        ..PLAIN
    },
    Scenario {
        name: "the process dies while the guest preempts its own key",
        paths: 3,
        past: HOLDS,
        guest: &[preempt(K, K)],
        rules: DEATH,
        breaks: &[2],
        ..PLAIN
    },
    Scenario {
        name: "a path stops answering while the guest preempts its own key",
        paths: 3,
        past: HOLDS,
        guest: &[preempt(K, K)],
        rules: faults(1, Fault::Path(Condition::Hung)),
        breaks: &[5, 7],
        ..PLAIN
    },
    Scenario {
        name: "the answer to a PREEMPT of the own key gets lost, twice",
        past: HOLDS,
        guest: &[preempt(K, K)],
        rules: faults(2, Fault::LostDone),
        breaks: &[1, 6],
        ..PLAIN
    },
    Scenario {
        name: "a path does not answer, and the map still uses it",
        past: &[Past::Guest(register(ZERO, K)), Past::Guest(reserve(K)), Past::Is(0, Condition::Hung)],
        guest: &[release(K), register(K, L), reserve(K), register_ignore(L), clear(K)],
        breaks: &[7],
        ..PLAIN
    },
    Scenario {
        name: "the target port of the path that the map uses is in standby",
        past: &[Past::Guest(register(ZERO, K)), Past::Guest(reserve(K)), Past::Is(0, Condition::Standby)],
        guest: &[reserve(K), release(K), preempt(K, K), clear(K)],
        breaks: &[6],
        ..PLAIN
    },
    Scenario {
        name: "the logical unit is unmapped from the target port of the path that the map uses",
        past: &[Past::Guest(register(ZERO, K)), Past::Is(0, Condition::Unmapped)],
        guest: &[reserve(K), preempt(K, K), clear(K)],
        breaks: &[6],
        ..PLAIN
    },
    Scenario {
        name: "the same with the first key",
        past: &[Past::Is(0, Condition::Unmapped)],
        guest: &[register(ZERO, K)],
        breaks: &[6],
        ..PLAIN
    },
    Scenario {
        name: "the other node holds the reservation, and one path is in standby; RESERVE",
        past: &[
            Past::Guest(register(ZERO, K)),
            Past::Other(register(ZERO, M)),
            Past::Other(reserve(M)),
            Past::Is(0, Condition::Standby),
        ],
        guest: &[reserve(K)],
        breaks: &[6],
        ..PLAIN
    },
    Scenario {
        name: "a path is in transition for a moment",
        past: OTHER_AND_HOLDS,
        guest: &[reserve(K), release(K), clear(K), preempt(K, M), preempt(K, K), register(ZERO, K)],
        rules: faults(1, Fault::Transition),
        breaks: &[1, 6],
        ..PLAIN
    },
    Scenario {
        name: "a path is busy while the guest changes its key",
        past: HAS_KEY,
        guest: &[register(K, L), register_ignore(L)],
        rules: faults(1, Fault::Busy),
        breaks: &[2, 6],
        ..PLAIN
    },
    Scenario {
        name: "a path goes away while the guest registers a key",
        guest: &[register(ZERO, K), register_ignore(K)],
        rules: faults(1, Fault::Path(Condition::Away)),
        breaks: &[1, 2],
        ..PLAIN
    },
    Scenario {
        name: "the process dies while the guest changes its key",
        past: HAS_KEY,
        guest: &[register(K, L), register_ignore(L)],
        rules: DEATH,
        breaks: &[2],
        ..PLAIN
    },
    Scenario {
        name: "a reservation of a type that admits its holder alone",
        past: HAS_KEY,
        guest: &[with_type(Reserve, ReservationType::WriteExclusive, K, ZERO)],
        breaks: &[1],
        ..PLAIN
    },
    Scenario {
        name: "a command is carried out with RECOVERED ERROR",
        past: HOLDS,
        guest: &[register(K, L), preempt(K, K), release(K), clear(K), register(K, ZERO)],
        rules: faults(1, Fault::Recovered),
        breaks: &[1],
        ..PLAIN
    },
    Scenario {
        name: "the first key gets to one path only, and the command that takes it back gets lost",
        guest: &[register(ZERO, K)],
        rules: faults(2, Fault::Lost),
        breaks: &[1, 2],
        ..PLAIN
    },
    Scenario {
        name: "the node of a path cannot be opened, and the map uses it",
        past: &[Past::Guest(register(ZERO, K)), Past::Guest(reserve(K)), Past::Closed(1)],
        guest: &[preempt(K, K), register(K, L), register(K, ZERO)],
        breaks: &[1],
        ..PLAIN
    },
    Scenario {
        name: "the process dies while the guest registers its first key",
        guest: &[register(ZERO, K)],
        rules: DEATH,
        breaks: &[2],
        ..PLAIN
    },
    Scenario {
        name: "a path stops answering, and carries out what it was sent, while the guest registers its first key",
        guest: &[register(ZERO, K)],
        rules: faults(2, Fault::Path(Condition::Hung)),
        breaks: &[2, 7],
        ..PLAIN
    },
    Scenario {
        name: "the answer to a PREEMPT of the other node or a CLEAR gets lost",
        past: &[Past::Other(register(ZERO, M)), Past::Guest(register(ZERO, K))],
        guest: &[preempt(K, M), clear(K)],
        rules: faults(1, Fault::LostDone),
        breaks: &[6],
        ..PLAIN
    },
    Scenario {
        name: "the answer to the first REGISTER gets lost",
        guest: &[register(ZERO, K)],
        rules: faults(1, Fault::LostDone),
        breaks: &[6],
        ..PLAIN
    },
    Scenario {
        name: "an administrator has suspended the map, and the guest preempts its own key",
        past: &[Past::Guest(register(ZERO, K)), Past::Guest(reserve(K)), Past::Suspended],
        guest: &[preempt(K, K)],
        breaks: &[5],
        ..PLAIN
    },
    Scenario {
        name: "the kernel's own target, and a key that the guest has registered on all target ports",
        target: Target::Kernel,
        past: &[Past::Guest(register_everywhere(ZERO, K)), Past::Guest(reserve(K))],
        guest: &[register_everywhere(K, L), register_everywhere(K, ZERO), preempt(K, K)],
        breaks: &[1, 6],
        ..PLAIN
    },
    Scenario {
        name: "two helpers use the map; one dies while it registers the first key, and the guest repeats that through the \
               other one",
        guest: &[register(ZERO, K)],
        meanwhile: Some(register_ignore(K)),
        rules: DEATH,
        breaks: &[1],
        ..PLAIN
    },
    Scenario {
        name: "the guest preempts its own key, which holds nothing, and registers it again",
        past: HAS_KEY,
        guest: &[preempt(K, K), register(ZERO, K)],
        depth: 2,
        breaks: &[1],
        ..PLAIN
    },
    Scenario {
        name: "the kernel's own target, and a path that has lost its key",
        target: Target::Kernel,
        past: &[Past::Guest(register(ZERO, K)), Past::Loses(0)],
        guest: &[reserve(K), clear(K)],
        breaks: &[6],
        ..PLAIN
    },
    Scenario {
        name: "the kernel's own target registers a key and cannot write its file",
        target: Target::KernelWithoutFile,
        guest: &[register(ZERO, K)],
        breaks: &[2],
        ..PLAIN
    },
];

/// The helper is started anew on a host that cannot tell who its paths are.
const RELEASES_ANOTHER_TYPE: Scenario = Scenario {
    name: "the helper is started anew, the host cannot tell who its paths are, and RELEASE names another type",
    past: HOLDS,
    guest: &[with_type(Release, ReservationType::WriteExclusive, K, ZERO), release(K)],
    between: &[Between::Restart],
    host: Host::Blind,
    depth: 3,
    ..PLAIN
};

const SHARED_AND_HOLDS: &[Past] =
    &[Past::Guest(register(ZERO, K)), Past::Guest(reserve(K)), Past::Other(register(ZERO, K))];
const CHANGES: &[Act] = &[register(K, L), register_ignore(L), register(K, ZERO), register_ignore(ZERO)];

/// The helper is started anew on a host that cannot tell who its paths are, while one of them holds the reservation.
const CHANGES_AFTER_A_START: Scenario = Scenario {
    name: "the helper is started anew, the host cannot tell who its paths are, and the other node acts while the guest \
           changes the key that holds the reservation",
    past: &[Past::Other(register(ZERO, M)), Past::Guest(register(ZERO, K)), Past::Guest(reserve(K)), Past::Restart],
    guest: CHANGES,
    host: Host::Blind,
    rules: OTHERS,
    ..PLAIN
};

/// What multipathd has not heard it does not know when it starts.
const MULTIPATHD_IS_AWAY: Scenario = Scenario {
    name: "multipathd goes away, misses what becomes of the key, and when it starts registers all paths with the one from \
           before, which it finds because the other node uses it too",
    past: HAS_KEY,
    guest: &[register(K, L), register_ignore(ZERO), reserve(L), preempt(L, L)],
    other: &[register(ZERO, K), preempt(K, L), reserve(K)],
    between: &[Between::Multipathd],
    depth: 7,
    ..PLAIN
};

/// Two commands of the other node in the middle of one of the guest's.
const ACTS_TWICE: Scenario = Scenario {
    name: "the other node acts twice while the guest preempts its own key or changes it, and all registrants hold the \
           reservation",
    target: Target::Kernel,
    past: &[
        Past::Other(register(ZERO, M)),
        Past::Guest(register(ZERO, K)),
        Past::Guest(with_type(Reserve, BY_ALL, K, ZERO)),
    ],
    guest: &[with_type(Preempt, BY_ALL, K, K), register_ignore(L)],
    rules: Rules { events: 2, ..OTHERS },
    depth: 2,
    ..PLAIN
};

/// The path that answers may be any of the registrants with the new key, or none.
const ANSWER_OF_AN_UNKNOWN_PATH: Scenario = Scenario {
    name: "the other node has the guest's new key, a path that works is not known, the other one is not ready, and the answer to \
           a REGISTER gets lost",
    past: &[
        Past::Away(1),
        Past::Guest(register(ZERO, K)),
        Past::Guest(register(K, ZERO)),
        Past::Other(register(ZERO, K)),
        Past::Back(1),
        Past::Is(0, Condition::Standby),
    ],
    guest: &[register(ZERO, K), register_ignore(K), register(K, L), register(K, ZERO), reserve(K)],
    between: &[Between::Path],
    host: Host::Blind,
    rules: faults(1, Fault::LostDone),
    depth: 3,
    ..PLAIN
};

/// More of what the map engine has to get right, where the host can tell who its paths are to the logical unit.
pub const MORE: &[Scenario] = &[
    Scenario {
        name: "a path hangs, and carries out a registration when nobody waits for it any more",
        past: &[Past::Is(1, Condition::Hung)],
        guest: &[register_ignore(K), register(K, L), register_ignore(ZERO), register(L, ZERO)],
        between: &[Between::Path, Between::Pending],
        rules: faults(1, Fault::CarriedOutLater),
        depth: 5,
        ..PLAIN
    },
    Scenario {
        name: "a path hangs, is failed, and is back before the command is over that changes the key which holds",
        past: &[Past::Guest(register(ZERO, K)), Past::Guest(reserve(K)), Past::Is(1, Condition::Hung)],
        guest: &[register(K, L), register_ignore(L), register_ignore(ZERO), preempt(K, K), release(K)],
        rules: faults(1, Fault::Path(Condition::Up)),
        depth: 1,
        ..PLAIN
    },
    Scenario {
        name: "a key that was given up around a death is taken up again, and holds the reservation",
        past: &[Past::Guest(register(ZERO, K)), Past::Guest(reserve(K))],
        guest: &[register(K, L), register_ignore(L), register(L, K), register_ignore(K), reserve(K)],
        between: &[Between::Path],
        rules: Rules { events: 1, deaths: true, ..QUIET },
        depth: 5,
        ..PLAIN
    },
    Scenario {
        name: "multipathd, which knows the key from before, looks after a path in the middle of a change",
        release: world::Release::New,
        past: &[Past::Guest(register(ZERO, K)), Past::Guest(reserve(K))],
        guest: &[register(K, L), register_ignore(L), preempt(K, K), release(K), register_ignore(ZERO)],
        rules: faults(1, Fault::Checked),
        depth: 2,
        ..PLAIN
    },
    Scenario {
        name: "the helper is started anew between any two commands, and paths come and go",
        guest: &[register(ZERO, K), register(K, L), register_ignore(ZERO), reserve(K), release(K), preempt(K, K)],
        between: &[Between::Path, Between::Restart],
        depth: 5,
        ..PLAIN
    },
    Scenario {
        name: "registrations with APTPL and on all target ports",
        guest: &[
            flagged(register(ZERO, K), true, false),
            flagged(register(ZERO, K), false, true),
            flagged(register(K, L), true, true),
            register(K, L),
            register(L, ZERO),
            reserve(K),
            preempt(K, K),
            release(K),
        ],
        between: &[Between::Path],
        depth: 4,
        ..PLAIN
    },
    Scenario {
        name: "the same with three paths, two of them from one initiator port",
        paths: 3,
        guest: &[
            flagged(register(ZERO, K), true, false),
            flagged(register(ZERO, K), false, true),
            flagged(register(K, L), true, true),
            register(K, L),
            register(L, ZERO),
            reserve(K),
            preempt(K, K),
            release(K),
        ],
        between: &[Between::Path],
        depth: 4,
        ..PLAIN
    },
    Scenario {
        name: "two helpers take turns on the map",
        guest: &[register(ZERO, K), register(K, L), register_ignore(ZERO), reserve(K), release(K), preempt(K, K)],
        between: &[Between::Path, Between::Turn],
        depth: 5,
        ..PLAIN
    },
    Scenario {
        name: "registrations on all target ports, with the kernel's own target",
        target: Target::Kernel,
        guest: &[
            flagged(register(ZERO, K), true, true),
            flagged(register(K, L), true, true),
            flagged(register(L, ZERO), true, true),
            reserve(K),
            preempt(K, K),
            release(K),
        ],
        between: &[Between::Path],
        depth: 5,
        ..PLAIN
    },
    RELEASES_ANOTHER_TYPE,
    Scenario { name: "the same with the kernel's own target", target: Target::Kernel, ..RELEASES_ANOTHER_TYPE },
    Scenario {
        name: "the helper is started anew, and a path lacks the key that multipathd has and others are registered with",
        past: &[Past::Guest(register(ZERO, K)), Past::Loses(0), Past::Restart],
        between: &[Between::Path],
        depth: 3,
        ..PLAIN
    },
    Scenario {
        name: "the other node has the same key, and the path that holds the reservation fails while the guest changes it",
        past: SHARED_AND_HOLDS,
        guest: CHANGES,
        rules: faults(1, Fault::Path(Condition::Away)),
        depth: 2,
        ..PLAIN
    },
    Scenario {
        name: "the same with three paths, where it hangs",
        paths: 3,
        past: SHARED_AND_HOLDS,
        guest: CHANGES,
        rules: faults(1, Fault::Path(Condition::Hung)),
        ..PLAIN
    },
    MULTIPATHD_IS_AWAY,
    Scenario {
        name: "the same while all registrants hold the reservation, with the kernel's own target",
        target: Target::Kernel,
        other: &[register(ZERO, K), with_type(Reserve, BY_ALL, K, ZERO)],
        ..MULTIPATHD_IS_AWAY
    },
    Scenario {
        name: "a target port group becomes not ready while a key that holds is changed, and half of the paths with it",
        paths: 4,
        past: HOLDS,
        guest: &[register(K, L), register(K, ZERO), register_ignore(L), register_ignore(ZERO), preempt(K, K)],
        rules: faults(1, Fault::Path(Condition::Standby)),
        ..PLAIN
    },
    CHANGES_AFTER_A_START,
    Scenario {
        name: "the same with the kernel's own target and three paths",
        paths: 3,
        target: Target::Kernel,
        ..CHANGES_AFTER_A_START
    },
    Scenario {
        name: "the same, and a path fails",
        paths: 3,
        rules: faults(1, Fault::Path(Condition::Away)),
        ..CHANGES_AFTER_A_START
    },
    Scenario { name: "the same, and the process dies", paths: 3, rules: DEATH, ..CHANGES_AFTER_A_START },
    Scenario {
        name: "the same where no reservation is held, and the process dies",
        paths: 3,
        past: &[Past::Guest(register(ZERO, K)), Past::Restart],
        rules: DEATH,
        ..CHANGES_AFTER_A_START
    },
    Scenario {
        name: "the other node has the same key and holds the reservation, which it may release just when it is looked for which \
               path holds it",
        past: &[Past::Guest(register(ZERO, K)), Past::Other(register(ZERO, K)), Past::Other(reserve(K)), Past::Restart],
        guest: &[register(K, L), register_ignore(L), register(K, ZERO), register_ignore(ZERO), release(K)],
        ..CHANGES_AFTER_A_START
    },
    Scenario {
        name: "the path that holds the reservation is not ready, and the other one, which multipathd has registered, fails while \
               the guest changes the key",
        past: &[
            Past::Away(1),
            Past::Guest(register(ZERO, K)),
            Past::Guest(reserve(K)),
            Past::Is(0, Condition::Standby),
        ],
        guest: CHANGES,
        between: &[Between::Path],
        host: Host::Blind,
        rules: faults(1, Fault::Path(Condition::Away)),
        depth: 2,
        ..PLAIN
    },
    Scenario {
        name: "a key that the guest has given up is left on a path that is away; another path does not answer, the process dies \
               while the guest changes that key as if it still had it, and the first is back",
        paths: 3,
        past: &[
            Past::Guest(register(ZERO, K)),
            Past::Other(register(ZERO, K)),
            Past::Away(0),
            Past::Guest(register(K, ZERO)),
            Past::Is(1, Condition::Away),
        ],
        guest: &[register(K, L), register(K, ZERO)],
        between: &[Between::Path],
        rules: DEATH,
        depth: 2,
        ..PLAIN
    },
    Scenario {
        name: "the guest gives up a key that another node has as well and preempts meanwhile; a path that was not ready has \
               that to report when it is",
        past: &[Past::Guest(register(ZERO, K)), Past::Other(register(ZERO, K)), Past::Is(1, Condition::Standby)],
        guest: &[register(K, ZERO), register(ZERO, L), preempt(L, ZERO)],
        between: &[Between::Path],
        rules: OTHERS,
        depth: 4,
        ..PLAIN
    },
    ACTS_TWICE,
    Scenario { name: "the same with three paths", paths: 3, ..ACTS_TWICE },
    ANSWER_OF_AN_UNKNOWN_PATH,
    Scenario {
        name: "the same, and the target cannot write its file",
        target: Target::KernelWithoutFile,
        ..ANSWER_OF_AN_UNKNOWN_PATH
    },
    Scenario {
        name: "the kernel's own target cannot write its file, and keys come and go",
        target: Target::KernelWithoutFile,
        guest: &[
            register(ZERO, K),
            register_ignore(K),
            register_ignore(L),
            register(K, L),
            register(K, ZERO),
            register_ignore(ZERO),
            reserve(K),
            preempt(K, K),
            clear(K),
        ],
        between: &[Between::Path],
        depth: 4,
        ..PLAIN
    },
    Scenario {
        name: "the path that holds the reservation is not ready and not known, and the other node has the same key and acts while \
               the guest releases it",
        past: &[
            Past::Guest(register(ZERO, K)),
            Past::Other(register(ZERO, K)),
            Past::Guest(reserve(K)),
            Past::Restart,
            Past::Is(0, Condition::Standby),
        ],
        guest: &[release(K), with_type(Release, ReservationType::WriteExclusive, K, ZERO), reserve(K)],
        host: Host::Blind,
        rules: OTHERS,
        depth: 2,
        ..PLAIN
    },
    Scenario {
        name: "the engine dies in a REGISTER of no key by who has none, and multipathd looks after the paths later",
        release: world::Release::New,
        host: Host::Blind,
        guest: &[register(ZERO, ZERO), register(ZERO, K), register_ignore(K)],
        rules: Rules { deaths: true, ..faults(1, Fault::Checked) },
        depth: 2,
        ..PLAIN
    },
];
