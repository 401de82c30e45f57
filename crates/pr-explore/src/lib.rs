//! Plays everything that can happen to a multipath map, and looks for what breaks the map engine's promises.
//!
//! A small world is played: a logical unit (`pr-sim`), a map with two or three paths, another node, device-mapper and
//! multipathd. At each step of the engine everything may happen that a rule allows: the other node sends a command, a path
//! changes, an answer is lost, the engine dies. After each command the world is held against one disk with one initiator,
//! to which the same commands happened in some order.
#![forbid(unsafe_code)]

pub mod before;
pub mod choice;
pub mod chooser;
pub mod oracle;
pub mod play;
pub mod scenario;
pub mod world;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque, btree_map::Entry};

use pr_multipath::{Answer, Memory};
use scsi_persistent_reservations::{Cdb, SenseCode};

use chooser::Chooser;
use oracle::{Played, Verdict, Violation};
use play::{Course, Play, Rules, Stop};
use world::{Act, Condition, World};

/// What carries out commands on a map.
pub trait Logic {
    /// A command.
    ///
    /// # Errors
    /// The end of the play.
    fn execute(&self, io: &mut Play<'_>, memory: &mut Memory, cdb: &Cdb, list: &[u8]) -> Result<Answer, Stop>;
    /// A look at paths that came back.
    ///
    /// # Errors
    /// The end of the play.
    fn reconcile(&self, io: &mut Play<'_>, memory: &mut Memory) -> Result<Vec<String>, Stop>;
    /// What a successor does first.
    ///
    /// # Errors
    /// The end of the play.
    fn recover(&self, io: &mut Play<'_>, memory: &mut Memory) -> Result<Vec<String>, Stop>;
    /// Whether another helper on the same map waits until what a death has left is finished.
    fn locks(&self) -> bool;
}

/// The map engine.
pub struct MapEngine;

impl Logic for MapEngine {
    fn execute(&self, io: &mut Play<'_>, memory: &mut Memory, cdb: &Cdb, list: &[u8]) -> Result<Answer, Stop> {
        pr_multipath::execute(io, memory, cdb, list)
    }

    fn reconcile(&self, io: &mut Play<'_>, memory: &mut Memory) -> Result<Vec<String>, Stop> {
        pr_multipath::reconcile(io, memory)
    }

    fn recover(&self, io: &mut Play<'_>, memory: &mut Memory) -> Result<Vec<String>, Stop> {
        pr_multipath::recover(io, memory)
    }

    /// The executor has to see to that: what holds the lock of a map must not die with the engine.
    fn locks(&self) -> bool {
        true
    }
}

/// What happened before a violation, and the violation.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// What was broken.
    pub violation: Violation,
    /// The way there, a line for each step.
    pub story: Vec<String>,
}

/// What was explored.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Worlds between commands.
    pub worlds: usize,
    /// Commands played to their end.
    pub plays: u64,
    /// States within commands.
    pub states: u64,
    /// Plays after which an administrator was told what is left.
    pub noted: u64,
    /// What was wrong, at most as many as asked for.
    pub wrong: Vec<Counterexample>,
}

/// What to explore.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many paths the map has.
    pub paths: usize,
    /// How the target goes about it.
    pub target: world::Target,
    /// Which multipathd there is.
    pub release: world::Release,
    /// Whether the host can tell who each path is to the logical unit, as it can with Fibre Channel and SAS.
    pub host_tells: world::Tells,
    /// Whether the other node may use the guest's key.
    pub shared_keys: bool,
    /// Whether a path that is away is taken out of the map.
    pub removes: bool,
    /// What may happen within a command.
    pub rules: Rules,
    /// How many steps there are between the new world and the last command.
    pub depth: usize,
    /// How many counterexamples are wanted.
    pub wanted: usize,
    /// How many worlds are looked at, at the most.
    pub most: usize,
    /// How many plays there are, at the most.
    pub most_plays: u64,
}

impl Plan {
    /// Everything that may happen, one event in each command, on a map with two paths.
    pub const EVERYTHING: Self = Self {
        paths: 2,
        target: world::Target::Simulated,
        release: world::Release::Old,
        host_tells: world::Tells::Nothing,
        shared_keys: true,
        removes: false,
        rules: Rules { events: 1, deaths: true, faults: true, only: None, others: true, mistake: None },
        depth: 3,
        wanted: 1,
        most: usize::MAX,
        most_plays: u64::MAX,
    };

    /// The world that is explored.
    fn world(&self) -> World {
        World {
            target: self.target,
            host_tells: self.host_tells,
            shared_keys: self.shared_keys,
            removes: self.removes,
            ..World::new(self.paths, self.release)
        }
    }
}

/// The plans in which a deliberate mistake is looked for: first where nothing happens, then where the engine dies, then
/// where paths fail.
pub fn plans(mistake: Option<play::Mistake>) -> [Plan; 3] {
    let rules = |events, deaths, faults| Rules { events, deaths, faults, only: None, others: false, mistake };
    [(rules(0, false, false), 4), (rules(1, true, false), 3), (rules(1, false, true), 2)].map(|(rules, depth)| Plan {
        rules,
        depth,
        ..Plan::EVERYTHING
    })
}

const SURELY: world::Tells = world::Tells::Surely;

/// What else is explored each time: paths leave the map, and the other node acts, where the host can tell who its paths
/// are to the logical unit and where it cannot.
pub fn more_plans() -> [(&'static str, Plan); 10] {
    let removed = Plan { removes: true, ..plans(None)[2].clone() };
    let rules = Rules { faults: false, deaths: false, ..Plan::EVERYTHING.rules };
    let others = Plan { rules, ..Plan::EVERYTHING };
    // It looks for the key, and not for its owner, at a moment that nobody else can choose.
    let newer = Plan { release: world::Release::New, shared_keys: false, ..others.clone() };
    [
        ("paths fail and leave the map", removed),
        ("the other node acts", others.clone()),
        ("the other node acts, newer multipathd", newer.clone()),
        ("the other node acts, newer multipathd, identities known", Plan { host_tells: SURELY, ..newer }),
        ("the other node acts, identities known", Plan { host_tells: SURELY, ..others.clone() }),
        ("the kernel's own target, paths fail", Plan { target: world::Target::Kernel, ..plans(None)[2].clone() }),
        ("the kernel's own target, the engine dies", Plan { target: world::Target::Kernel, ..plans(None)[1].clone() }),
        ("the kernel's own target, the other node acts", Plan { target: world::Target::Kernel, ..others.clone() }),
        (
            "the kernel's own target, the other node acts, identities known",
            Plan { target: world::Target::Kernel, host_tells: SURELY, ..others.clone() },
        ),
        ("the other node acts, three paths, identities known", Plan { paths: 3, host_tells: SURELY, ..others }),
    ]
}

/// What is played by chance: two to four paths, on either target, with so many events in each command. Where the host can
/// tell who its paths are to the logical unit the other node may use the guest's key.
pub fn by_chance(events: u32) -> Vec<Plan> {
    let rules = Rules { events, ..Plan::EVERYTHING.rules };
    let mut plans = Vec::new();
    for paths in 2..=4 {
        for target in [world::Target::Simulated, world::Target::Kernel] {
            for host_tells in [SURELY, world::Tells::Likely, world::Tells::Nothing] {
                let shared_keys = host_tells != world::Tells::Nothing;
                plans.push(Plan { paths, target, rules, host_tells, shared_keys, wanted: 40, ..Plan::EVERYTHING });
            }
        }
    }
    plans
}

/// Looks for a deliberate mistake.
pub fn find(logic: &impl Logic, mistake: play::Mistake) -> Found {
    let mut sum = Found::default();
    for plan in plans(Some(mistake)) {
        let found = explore(logic, &plan);
        sum.plays += found.plays;
        sum.states += found.states;
        sum.wrong = found.wrong;
        if !sum.wrong.is_empty() {
            break;
        }
    }
    sum
}

/// Commands, events and steps between commands by chance, one after the other; a new world every `length` steps.
pub fn wander(logic: &impl Logic, plan: &Plan, seed: u64, steps_wanted: u64, length: u64) -> Found {
    let mut found = Found::default();
    let mut chooser = Chooser::Chance(choice::Random(seed), 92);
    let mut world = plan.world();
    let mut story: Vec<String> = Vec::new();
    for step in 0..steps_wanted {
        if step % length == 0 {
            world = plan.world();
            story.clear();
        }
        let possible = steps(&world);
        let Chooser::Chance(random, _) = &mut chooser else { break };
        let chosen = random.below(u32::try_from(possible.len()).unwrap_or(1));
        let outcome = match possible[usize::try_from(chosen).unwrap_or(0)] {
            Step::Other(act) => {
                story.push(format!("other node: {act}"));
                settle(logic, other(&world, act), oracle::is_left(&world))
            }
            Step::Path(path, condition) => {
                story.push(format!("path {path}: {condition:?}"));
                change(logic, &world, path, condition)
            }
            Step::Guest(command) => {
                found.plays += 1;
                match once(logic, &world, command, plan.rules, &mut chooser, None, true) {
                    Ending::Right(world, lines) => {
                        story.extend(lines);
                        Ok(Some(*world))
                    }
                    Ending::Known => Ok(None),
                    Ending::Noted => {
                        found.noted += 1;
                        Ok(None)
                    }
                    Ending::Wrong(bad) => Err(bad),
                }
            }
        };
        match outcome {
            Ok(Some(next)) => world = next,
            // What is left was told; an administrator has mended it.
            Ok(None) => {
                world = plan.world();
                story.clear();
            }
            Err(mut bad) => {
                story.append(&mut bad.story);
                found.wrong.push(Counterexample { story: std::mem::take(&mut story), ..bad });
                if found.wrong.len() >= plan.wanted {
                    return found;
                }
                world = plan.world();
            }
        }
    }
    found
}

/// A step between two worlds.
#[derive(Clone, Copy, Debug)]
enum Step {
    Guest(Act),
    Other(Act),
    Path(usize, Condition),
}

struct Way {
    from: Option<u64>,
    lines: Vec<String>,
}

/// Explores from the new world on.
pub fn explore(logic: &impl Logic, plan: &Plan) -> Found {
    let mut found = Found::default();
    let start = plan.world();
    let mut ways: HashMap<u64, Way> = HashMap::new();
    let mut queue: VecDeque<(World, usize)> = VecDeque::new();
    ways.insert(start.fingerprint(), Way { from: None, lines: Vec::new() });
    queue.push_back((start, 0));
    while let Some((world, depth)) = queue.pop_front() {
        found.worlds += 1;
        if depth == plan.depth || found.worlds > plan.most {
            continue;
        }
        let from = world.fingerprint();
        let mut wrong = Vec::new();
        let mut next: Vec<(World, Vec<String>)> = Vec::new();
        for step in steps(&world) {
            match step {
                Step::Guest(command) => {
                    if found.plays > plan.most_plays {
                        return found;
                    }
                    let (worlds, bad) = every(logic, &world, command, plan.rules, &mut found);
                    next.extend(worlds);
                    wrong.extend(bad);
                }
                Step::Other(act) => match settle(logic, other(&world, act), oracle::is_left(&world)) {
                    Ok(world) => next.extend(world.map(|world| (world, vec![format!("other node: {act}")]))),
                    Err(bad) => wrong.push(bad),
                },
                Step::Path(path, condition) => match change(logic, &world, path, condition) {
                    Ok(world) => next.extend(world.map(|world| (world, vec![format!("path {path}: {condition:?}")]))),
                    Err(bad) => wrong.push(bad),
                },
            }
        }
        for mut bad in wrong {
            let mut story = tell(&ways, from);
            story.append(&mut bad.story);
            bad.story = story;
            found.wrong.push(bad);
        }
        if found.wrong.len() >= plan.wanted {
            return found;
        }
        for (world, lines) in next {
            ways.entry(world.fingerprint()).or_insert_with(|| {
                queue.push_back((world, depth + 1));
                Way { from: Some(from), lines }
            });
        }
    }
    found
}

fn tell(ways: &HashMap<u64, Way>, to: u64) -> Vec<String> {
    let mut story = Vec::new();
    let mut at = Some(to);
    while let Some(way) = at.and_then(|at| ways.get(&at)) {
        story.extend(way.lines.iter().rev().cloned());
        at = way.from;
    }
    story.reverse();
    story
}

fn steps(world: &World) -> Vec<Step> {
    let mut steps: Vec<Step> = oracle::commands(world, &[world::K, world::L]).into_iter().map(Step::Guest).collect();
    steps.extend(world.acts().into_iter().map(Step::Other));
    for (path, state) in world.paths.iter().enumerate() {
        if state.condition == Condition::Up && state.active {
            steps.push(Step::Path(path, Condition::Away));
        } else {
            steps.push(Step::Path(path, Condition::Up));
        }
    }
    steps
}

/// The other node acts between two commands.
fn other(world: &World, act: Act) -> World {
    let mut world = world.clone();
    let target = world.target;
    let _ = target.play(&act, &mut world.disk, world::OTHER);
    let _ = target.play(&act, &mut world.plain, world::OTHER);
    if let Some(may_be) = &mut world.may_be {
        let _ = target.play(&act, may_be, world::OTHER);
        world::quietly(may_be, world::GUEST);
    }
    let owed: Vec<SenseCode> = world.plain.unit_attentions(world::GUEST).to_vec();
    world.owed.extend(owed);
    world::quietly(&mut world.plain, world::GUEST);
    world
}

const QUIET: Rules = Rules { events: 0, deaths: false, faults: false, only: None, others: false, mistake: None };

/// A path goes, and device-mapper sees it; or it comes back, and is looked after.
fn change(
    logic: &impl Logic,
    world: &World,
    path: usize,
    condition: Condition,
) -> Result<Option<World>, Counterexample> {
    let mut world = world.clone();
    if condition != Condition::Up {
        world.paths[path].condition = condition;
        world.paths[path].active = false;
        return Ok(Some(world));
    }
    world.bring_back(path);
    let told = oracle::is_left(&world);
    if let Some(path) = oracle::writes_wrongly(&world)
        && !told
    {
        let what = format!("path {path} comes back with a registration that one disk would not have, and may write");
        let state = format!("   {}", world::registrations(&world.disk));
        return Err(Counterexample {
            violation: Violation { promise: 4, what },
            story: vec![format!("path {path} comes back"), state],
        });
    }
    settle(logic, world, told)
}

/// The look at paths that came back, in which nothing else happens. `None` where it is not as on one disk, and an
/// administrator knows why.
fn settle(logic: &impl Logic, world: World, left_before: bool) -> Result<Option<World>, Counterexample> {
    let mut chooser = Chooser::Every(choice::Choices::default());
    let mut memory = world.memory.clone();
    let mut play = start(world, &mut chooser, QUIET, None, true);
    let _ = logic.reconcile(&mut play, &mut memory);
    let Play { mut world, mut story, .. } = play;
    world.memory = memory;
    if let Some(may_be) = world.may_be.take() {
        if oracle::difference(&world.plain, &world).is_some() {
            world.plain = *may_be;
        } else if world.memory.step != pr_multipath::Step::Idle {
            world.may_be = Some(may_be);
        }
    }
    let left = left_before || oracle::is_left(&world);
    match oracle::difference(&world.plain, &world) {
        None => Ok(Some(world)),
        // A key that was left behind, and told to an administrator: only that no path has it wrongly counts.
        Some(what) if left && !what.starts_with("path") => Ok(None),
        Some(what) => {
            story.insert(0, "reconcile".to_owned());
            story.push(format!("   {}", world::registrations(&world.disk)));
            Err(Counterexample {
                violation: Violation { promise: 4, what: format!("after a look at the paths {what}") },
                story,
            })
        }
    }
}

fn start<'a>(
    world: World,
    chooser: &'a mut Chooser,
    rules: Rules,
    seen: Option<&'a mut HashSet<u64>>,
    tells: bool,
) -> Play<'a> {
    let is_broken = world.target == world::Target::KernelWithoutFile;
    let fails = |path: &world::PathState| is_broken || path.condition != Condition::Up || !path.active || !path.open;
    let troubled: BTreeSet<usize> =
        world.paths.iter().enumerate().filter(|(_, path)| fails(path)).map(|(number, _)| number).collect();
    Play {
        world,
        chooser,
        rules,
        left: rules.events,
        acts: Vec::new(),
        disturbed: !troubled.is_empty(),
        has_arrived: false,
        course: Course { troubled, ..Course::default() },
        seen,
        history: 0,
        story: Vec::new(),
        tells,
        waits: 3,
    }
}

/// How one play ended.
enum Ending {
    Known,
    Noted,
    Right(Box<World>, Vec<String>),
    Wrong(Counterexample),
}

/// Plays a command in every way.
fn every(
    logic: &impl Logic,
    world: &World,
    command: Act,
    rules: Rules,
    found: &mut Found,
) -> (Vec<(World, Vec<String>)>, Vec<Counterexample>) {
    let mut chooser = Chooser::Every(choice::Choices::default());
    let mut seen = HashSet::new();
    // In an order that is the same every time.
    let mut worlds: BTreeMap<u64, (World, Vec<String>)> = BTreeMap::new();
    let mut wrong: Vec<Counterexample> = Vec::new();
    loop {
        match once(logic, world, command, rules, &mut chooser, Some(&mut seen), false) {
            Ending::Known => {}
            Ending::Noted => {
                found.plays += 1;
                found.noted += 1;
            }
            Ending::Right(after, _) => {
                found.plays += 1;
                if let Entry::Vacant(place) = worlds.entry(after.fingerprint()) {
                    let told = once(logic, world, command, rules, &mut chooser.again(), None, true);
                    let Ending::Right(_, story) = told else { unreachable!("the same choices, the same end") };
                    place.insert((*after, story));
                }
            }
            Ending::Wrong(_) => {
                found.plays += 1;
                // Played once more, for the reader.
                if let Ending::Wrong(bad) = once(logic, world, command, rules, &mut chooser.again(), None, true)
                    && !wrong.iter().any(|known| known.violation == bad.violation)
                {
                    wrong.push(bad);
                }
            }
        }
        if !chooser.advance() {
            break;
        }
    }
    found.states += u64::try_from(seen.len()).unwrap_or(0);
    (worlds.into_values().collect(), wrong)
}

fn once(
    logic: &impl Logic,
    before: &World,
    command: Act,
    rules: Rules,
    chooser: &mut Chooser,
    seen: Option<&mut HashSet<u64>>,
    tells: bool,
) -> Ending {
    let (cdb, list) = command.bytes();
    let mut memory = before.memory.clone();
    let mut play = start(before.clone(), chooser, rules, seen, tells);
    let mut outcome = logic.execute(&mut play, &mut memory, &cdb, &list);
    let mut answer = None;
    loop {
        match outcome {
            Ok(told) => {
                answer = answer.or(Some(told));
                break;
            }
            Err(Stop::Known) => return Ending::Known,
            Err(Stop::Died) => {
                let mut told = Answer::check(SenseCode::COMMUNICATION_FAILURE);
                told.notes.push("the process that carried out the command has died".to_owned());
                memory = play.world.memory.clone();
                outcome = logic.recover(&mut play, &mut memory).map(move |notes| {
                    told.notes.extend(notes);
                    told
                });
            }
        }
    }
    let Some(answer) = answer else { return Ending::Known };
    let Play { mut world, acts, disturbed, has_arrived, course, mut story, .. } = play;
    world.memory = memory;
    let on_the_way = oracle::on_the_way(&course, &command, &acts, &answer, &world);
    if tells {
        story.insert(0, format!("guest: {command}"));
        let result = pr_multipath::CommandResult {
            status: answer.status,
            sense: answer.sense.clone(),
            data: Vec::new(),
            fate: pr_multipath::Fate::Answered,
        };
        story.push(format!("   told {} {:?}", world::told(&result), answer.notes));
        story.push(format!("   map  {}", world::registrations(&world.disk)));
        story.push(format!("   one  {}", world::registrations(&before.plain)));
    }
    let wrong = |violation: Violation, mut story: Vec<String>| {
        if tells {
            story.push(format!("   WRONG (promise {}): {}", violation.promise, violation.what));
        }
        Ending::Wrong(Counterexample { violation, story })
    };
    if let Some(violation) = on_the_way {
        return wrong(violation, story);
    }
    let judge = |before: &World| {
        let after = World { plain: before.plain.clone(), may_be: None, ..world.clone() };
        Played { before, command, answer: &answer, acts: &acts, disturbed, has_arrived, after }.judge()
    };
    let verdict = match (judge(before), &before.may_be) {
        (Verdict::Wrong(_), Some(may_be)) => judge(&World { plain: (**may_be).clone(), ..before.clone() }),
        (Verdict::Right(mut world), Some(may_be)) if world.memory.step != pr_multipath::Step::Idle => {
            // How far the earlier command came is not known yet.
            if world.may_be.as_ref().is_none_or(|other| oracle::is_alike(other, &world.plain))
                && let Verdict::Right(other) = judge(&World { plain: (**may_be).clone(), ..before.clone() })
            {
                world.may_be = Some(Box::new(other.plain));
            }
            Verdict::Right(world)
        }
        (verdict, _) => verdict,
    };
    match verdict {
        // The next look at the paths is part of the command's end: it is where a path that came back is seen.
        Verdict::Right(mut world) => {
            world.came_back.clear();
            let left = oracle::is_left(before);
            match settle(logic, *world, left) {
                Ok(Some(world)) => Ending::Right(Box::new(world), story),
                Ok(None) => Ending::Noted,
                Err(bad) => {
                    story.extend(bad.story);
                    wrong(bad.violation, story)
                }
            }
        }
        Verdict::Noted => Ending::Noted,
        Verdict::Wrong(violation) => wrong(violation, story),
    }
}
