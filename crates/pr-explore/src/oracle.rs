//! Whether what was told and what is there is what one disk with one initiator would have told and have.

use scsi_persistent_reservations::{OutAction, ReservationKey, ReservationType, SenseCode, SenseKey, Status};

use pr_multipath::{Answer, Step};
use pr_sim::{LogicalUnit, Nexus};

use crate::play::Course;
use crate::world::{
    Act, Condition, GUEST, OTHER, Suspended, Target, World, id, identity, key_of, nexus, number, quietly,
};

/// A promise, and how it was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The number of the promise in the map engine's documentation.
    pub promise: u8,
    /// What is wrong.
    pub what: String,
}

/// What came of holding a play against one disk.
pub enum Verdict {
    /// As it should be; the world with what one disk would be like now.
    Right(Box<World>),
    /// Not as on one disk, but an administrator was told.
    Noted,
    /// Neither.
    Wrong(Violation),
}

/// One command as it was played.
pub struct Played<'a> {
    /// The world before.
    pub before: &'a World,
    /// The guest's command.
    pub command: Act,
    /// What the guest was told.
    pub answer: &'a Answer,
    /// What the other node did meanwhile.
    pub acts: &'a [(Act, Status)],
    /// Whether a path failed, or the engine died.
    pub disturbed: bool,
    /// Whether any command that changes something has arrived.
    pub has_arrived: bool,
    /// The world after.
    pub after: World,
}

/// What one disk would have made of it.
struct Line {
    plain: LogicalUnit,
    /// `None` where the guest's command is left out.
    told: Option<(Status, Option<SenseCode>)>,
    /// RESERVATION CONFLICT, if SPC asks for it and the target says something else; it changes nothing then either.
    strict: Option<Status>,
    /// What the guest was to be told before its command.
    owed: Vec<SenseCode>,
}

impl Played<'_> {
    /// Whether this could have happened to one disk, in some order of the guest's command and the other node's.
    pub fn judge(mut self) -> Verdict {
        if self.after.suspended == Suspended::Ours {
            return wrong(5, "the map is left suspended".to_owned());
        }
        if self.before.suspended == Suspended::Others && self.after.suspended != Suspended::Others {
            return wrong(5, "somebody else's suspension was lifted".to_owned());
        }
        let told = (self.answer.status, self.answer.sense.code().filter(|_| !self.answer.sense.is_none()));
        let is_good = told.0 == Status::GOOD || matches!(told.1, Some(code) if code.key == SenseKey(1));
        let is_attention = matches!(told.1, Some(code) if code.key == SenseKey(6));
        let lines: Vec<Line> = (0..=self.acts.len()).filter_map(|at| self.line(Some(at))).collect();
        let without = self.line(None);
        // In whichever order it was: another node did that.
        let owed: Vec<SenseCode> = lines.iter().chain(&without).flat_map(|line| line.owed.clone()).collect();

        if is_attention {
            // Not carried out, and news for the guest that is not its own doing.
            let Some(line) = without else { return self.told_otherwise(3, "the other node was told what cannot be") };
            let Some(code) = told.1 else { return wrong(6, "no sense".to_owned()) };
            if let Some(difference) = difference(&line.plain, &self.after) {
                return self.noted_or(2, format!("a unit attention was told, and {difference}"));
            }
            if !owed.contains(&code) && !self.before.owed.contains(&code) {
                return wrong(6, format!("the guest is told of its own doing, or twice: {code}"));
            }
            self.after.plain = line.plain;
            // What was owed before is told; the same once more may be owed since. Of a registration that the command would
            // have made nothing is owed.
            let was_owed = self.after.owed.remove(&code);
            self.after.owed.extend(line.owed.iter().filter(|owed| was_owed || **owed != code));
            return Verdict::Right(Box::new(self.after));
        }
        let fits = |line: &Line| {
            line.told.is_some_and(|(status, sense)| {
                if is_good { status == Status::GOOD } else { (status, sense) == told || line.strict == Some(told.0) }
            })
        };
        let mut complaint = None;
        let mut fitting: Vec<&Line> = lines.iter().filter(|line| fits(line)).collect();
        // In whichever of these orders it was.
        let owed_if_told: Vec<SenseCode> = fitting.iter().flat_map(|line| line.owed.clone()).collect();
        fitting.sort_by_key(|line| distance(&line.plain, &self.after));
        for line in fitting {
            match difference(&line.plain, &self.after) {
                None => {
                    self.after.plain = line.plain.clone();
                    self.after.owed.extend(owed_if_told);
                    if let Some((is, due)) = self.holds_with_another_key() {
                        return wrong(
                            1,
                            format!("GOOD was told, and the reservation is held with key {is}, due {due}"),
                        );
                    }
                    if let Some(path) = self.cannot_write() {
                        return wrong(1, format!("GOOD was told, and a write on path {path} conflicts"));
                    }
                    return Verdict::Right(Box::new(self.after));
                }
                Some(difference) => complaint = complaint.or(Some(difference)),
            }
        }
        // An answer was lost, and another node did the same in that moment: who was first cannot be told. What the command
        // is for is done, and nothing else.
        if is_good
            && self.disturbed
            && let Some(line) = without
                .iter()
                .chain(&lines)
                .find(|line| self.is_done(&line.plain) && difference(&line.plain, &self.after).is_none())
        {
            self.after.plain = line.plain.clone();
            self.after.owed.extend(owed);
            return Verdict::Right(Box::new(self.after));
        }
        let Some(why) = complaint else {
            return match told.0 {
                _ if is_good && self.is_registered_again() => {
                    self.told_otherwise(4, "another node has preempted this host, and it is registered again")
                }
                _ if is_good => self.told_otherwise(1, "GOOD was told, and one disk would not say so"),
                Status::RESERVATION_CONFLICT => {
                    self.told_otherwise(6, "RESERVATION CONFLICT was told, and one disk would not say so")
                }
                _ => self.failed(told.0, lines, without, None),
            };
        };
        if is_good {
            let promise = match () {
                () if self.is_registered_again() => 4,
                () if others_differ(&lines, &self.after) => 3,
                () => 1,
            };
            if self.is_left() {
                return Verdict::Noted;
            }
            return wrong(promise, format!("GOOD was told, and {why}"));
        }
        self.failed(told.0, lines, without, Some(why))
    }

    /// A key that was left behind on a path, and told to an administrator, is seen by the guest and the other node: one
    /// disk has none to compare it with.
    fn told_otherwise(&self, promise: u8, what: &str) -> Verdict {
        if self.is_left() { Verdict::Noted } else { wrong(promise, what.to_owned()) }
    }

    fn is_left(&self) -> bool {
        is_left(self.before)
            || is_left(&self.after)
            // A path that went before anybody knew who it is to the logical unit.
            || self.after.memory.paths.iter().any(|path| path.identity.is_none() && !path.leftovers.is_empty())
            || self.answer.notes.iter().any(|note| note.contains("still registered"))
    }

    /// The key with which a path holds the reservation that carried I/O when the command began, and the one that is due.
    fn holds_with_another_key(&self) -> Option<(ReservationKey, ReservationKey)> {
        let World { disk, plain, paths, .. } = &self.after;
        let holder = disk.reservation()?.holder?;
        let path = (0..paths.len()).find(|path| nexus(*path) == holder)?;
        let (is, due) = (self.after.key(path)?, key_of(plain, plain.reservation()?.holder?)?);
        (is != due && self.before.paths[path].active && !is_left(self.before)).then_some((is, due))
    }

    /// Whether a path is registered though another node has preempted this host while the command was under way.
    fn is_registered_again(&self) -> bool {
        let preempts = |act: &Act| matches!(act.action, OutAction::Preempt | OutAction::PreemptAndAbort);
        self.acts.iter().any(|(act, status)| preempts(act) && *status == Status::GOOD)
            && self.line(None).is_some_and(|line| key_of(&line.plain, GUEST).is_none())
            && (0..self.after.paths.len()).any(|path| self.after.key(path).is_some())
    }

    /// A path whose writes a new reservation does not admit, though one disk would, and nobody was told.
    fn cannot_write(&self) -> Option<usize> {
        use pr_sim::CommandClass::Writes;
        let World { disk, plain, paths, .. } = &self.after;
        let carries = |path: &usize| {
            let is_up = paths[*path].active && paths[*path].condition == Condition::Up;
            is_up && !self.after.came_back.contains(path)
        };
        let is_new = disk.reservation() != self.before.disk.reservation();
        let concerns =
            is_new && plain.admits(GUEST, Writes) && !self.answer.notes.iter().any(|note| note.contains("alone"));
        (0..paths.len()).filter(|_| concerns).find(|path| carries(path) && !disk.admits(nexus(*path), Writes))
    }

    /// The command failed.
    fn failed(mut self, status: Status, mut lines: Vec<Line>, without: Option<Line>, why: Option<String>) -> Verdict {
        if !self.disturbed && self.answer.notes.is_empty() {
            let why = why.unwrap_or_else(|| "one disk would not say so".to_owned());
            return wrong(6, format!("{status} was told without any fault, and {why}"));
        }
        let owed: Vec<SenseCode> = lines.iter().chain(&without).flat_map(|line| line.owed.clone()).collect();
        // What is left was told: path and key.
        if self.answer.notes.iter().any(|note| {
            ["registered", "may have carried", "has preempted this host"].iter().any(|words| note.contains(words))
        }) {
            return Verdict::Noted;
        }
        // NOT READY and BUSY say that nothing has happened; after another error nothing has, or all of it.
        let is_refused = status == Status::BUSY || self.answer.sense.code().is_some_and(|code| code.key == SenseKey(2));
        if is_refused || !self.has_arrived {
            lines.clear();
        }
        lines.extend(without);
        lines.reverse();
        lines.sort_by_key(|line| distance(&line.plain, &self.after));
        let mut fitting = lines.iter().filter(|line| difference(&line.plain, &self.after).is_none());
        if let Some(line) = fitting.next() {
            let may_be = fitting.next().filter(|_| self.after.memory.step != Step::Idle);
            self.after.may_be = may_be.map(|line| Box::new(line.plain.clone()));
            self.after.plain = line.plain.clone();
            self.after.owed.extend(owed);
            return Verdict::Right(Box::new(self.after));
        }
        if others_differ(&lines, &self.after) {
            let what = lines.first().and_then(|line| difference(&line.plain, &self.after)).unwrap_or_default();
            return self.told_otherwise(3, &format!("after an error {what}"));
        }
        let what = lines.first().and_then(|line| difference(&line.plain, &self.after)).unwrap_or_default();
        self.noted_or(2, format!("after an error {what}"))
    }

    /// Whether what the guest's command is for is so.
    fn is_done(&self, plain: &LogicalUnit) -> bool {
        match self.command.action {
            OutAction::Register | OutAction::RegisterAndIgnoreExistingKey => {
                self.command.victim.is_zero() && key_of(plain, GUEST).is_none()
            }
            OutAction::Clear => plain.registrations().len() == 0,
            OutAction::Preempt | OutAction::PreemptAndAbort => {
                self.command.victim != self.command.key
                    && !self.command.victim.is_zero()
                    && key_of(plain, GUEST) == Some(self.command.key)
                    && plain.registrations().all(|(_, registration)| registration.key != self.command.victim)
            }
            _ => false,
        }
    }

    /// Whether an administrator was told which path it is about.
    fn noted_or(&self, promise: u8, what: String) -> Verdict {
        let names = |note: &String| (0..self.after.paths.len()).any(|path| note.contains(&format!("path{path}")));
        if self.answer.notes.iter().any(names) || self.is_left() { Verdict::Noted } else { wrong(promise, what) }
    }

    /// One disk, with the guest's command after so many of the other node's, or without it. `None` if the other node
    /// would have been told something else.
    fn line(&self, at: Option<usize>) -> Option<Line> {
        let mut plain = self.before.plain.clone();
        let mut told = None;
        let mut strict = None;
        let mut owed = Vec::new();
        for place in 0..=self.acts.len() {
            if at == Some(place) {
                owed.extend_from_slice(plain.unit_attentions(GUEST));
                told = Some(if let Some(told) = self.after.target.answers(&plain, GUEST, &self.command) {
                    let status = self.command.play(&mut plain.clone(), GUEST).status;
                    strict = Some(status).filter(|status| *status == Status::RESERVATION_CONFLICT);
                    told
                } else {
                    let completion = self.after.target.play(&self.command, &mut plain, GUEST);
                    (completion.status, completion.sense.code().filter(|_| !completion.sense.is_none()))
                });
            }
            // Of a map that registers path after path a node can preempt the same key twice, or the new key and then the old
            // one, which one disk does not have at the same time.
            let old = key_of(&self.before.plain, GUEST);
            let new = Some(self.command.victim).filter(|_| self.command.action.is_register());
            let changes = |earlier: &Act, act: &Act| Some(earlier.victim) == new && Some(act.victim) == old;
            let is_repeated = |act: &Act| {
                let is_preempted = |(earlier, status): &(Act, Status)| {
                    earlier == act
                        || earlier.action == OutAction::Preempt && *status == Status::GOOD && changes(earlier, act)
                };
                act.action == OutAction::Preempt && self.acts[..place].iter().any(is_preempted)
            };
            if let Some((act, status)) = self.acts.get(place)
                && self.after.target.play(act, &mut plain, OTHER).status != *status
                && !is_repeated(act)
            {
                return None;
            }
        }
        owed.extend_from_slice(plain.unit_attentions(GUEST));
        quietly(&mut plain, GUEST);
        Some(Line { plain, told, strict, owed })
    }
}

/// Whether a path has a key that one disk would not have, and the engine knows of it.
pub fn is_left(world: &World) -> bool {
    if world.memory.step != Step::Idle {
        return true;
    }
    let due = key_of(&world.plain, GUEST);
    (0..world.paths.len()).any(|path| {
        let Some(is) = world.key(path).filter(|is| Some(*is) != due) else { return false };
        world.memory.paths.iter().any(|known| known.id == id(path) && known.leftovers.contains(&is))
    })
}

/// What the way to an answer has broken, whatever came of the command.
pub fn on_the_way(
    course: &Course,
    command: &Act,
    acts: &[(Act, Status)],
    answer: &Answer,
    after: &World,
) -> Option<Violation> {
    const NOT_READY: SenseKey = SenseKey(2);
    const NOT_SUPPORTED: SenseCode = SenseCode::new(0x5, 0x25, 0x00);
    if let Some(path) = taken_for_another(after) {
        return Some(Violation { promise: 3, what: format!("path {path} is taken for another one") });
    }
    let works = (0..after.paths.len()).find(|path| !course.troubled.contains(path))?;
    let violation = |promise, what| Some(Violation { promise, what });
    if course.held_back {
        return violation(5, "a path that gives no answer gets all the time there is, and I/O is held back".to_owned());
    }
    if course.overdue {
        let what = format!("a path that gives no answer gets all the time there is, and path {works} works");
        return violation(7, what);
    }
    let is_refused = matches!(answer.status, Status::BUSY | Status::TASK_SET_FULL)
        || answer.sense.code().is_some_and(|code| code.key == NOT_READY || code == NOT_SUPPORTED);
    // Would one disk say so, after so many of the other node's commands?
    let mut plain = after.plain.clone();
    let mut refuses = |act: Option<&(Act, Status)>| {
        if let Some((act, _)) = act {
            let _ = after.target.play(act, &mut plain, OTHER);
        }
        after.target.answers(&plain, GUEST, command).is_some_and(|(status, _)| status != Status::GOOD)
    };
    let is_due = refuses(None) || acts.iter().any(|act| refuses(Some(act)));
    (is_refused && !is_due)
        .then(|| Violation { promise: 6, what: format!("{} was told, and path {works} works", answer.status) })
}

/// A path of which the engine believes that it is somebody else to the logical unit.
fn taken_for_another(world: &World) -> Option<usize> {
    let mut believed = world.memory.paths.iter().map(|path| (number(path.id), path.identity.as_ref()));
    believed.find(|(path, is)| is.is_some_and(|is| *is != identity(*path))).map(|(path, _)| path)
}

fn wrong(promise: u8, what: String) -> Verdict {
    Verdict::Wrong(Violation { promise, what })
}

/// Whether in none of the orders the other node has what it should.
fn others_differ(lines: &[Line], after: &World) -> bool {
    !lines.is_empty()
        && lines.iter().all(|line| {
            // That it does not get the guest's reservation, because a failed path keeps that, is no loss of its own.
            let is_kept = after.disk.reservation().is_some_and(|held| held.holder.is_some());
            key_of(&line.plain, OTHER) != key_of(&after.disk, OTHER)
                || (is_held_by(&line.plain, OTHER) != is_held_by(&after.disk, OTHER) && !is_kept)
        })
}

fn is_held_by(unit: &LogicalUnit, nexus: Nexus) -> bool {
    unit.reservation().is_some_and(|held| held.holder == Some(nexus))
}

/// Whether both have the same registrations and the same reservation.
pub fn is_alike(one: &LogicalUnit, other: &LogicalUnit) -> bool {
    let keys = |unit: &LogicalUnit| unit.registrations().map(|(nexus, own)| (nexus, own.key)).collect::<Vec<_>>();
    keys(one) == keys(other) && one.reservation() == other.reservation()
}

/// How far an order is from what is there: how many paths that carry I/O have another key, whether the engine takes the
/// user's key for another one, how many other paths have another key. Of several orders that fit the nearest is taken.
fn distance(plain: &LogicalUnit, world: &World) -> (usize, bool, usize) {
    let due = key_of(plain, GUEST);
    let differ = |carries: bool| {
        let is = |path: &usize| (world.paths[*path].active && world.paths[*path].condition == Condition::Up) == carries;
        (0..world.paths.len()).filter(is).filter(|path| world.key(*path) != due).count()
    };
    let believed = match world.memory.step {
        Step::Registering { before: None, new } => Some(new.key),
        Step::Registering { before, .. } => before,
        _ => world.memory.key(),
    };
    (differ(true), believed.filter(|key| !key.is_zero()) != due, differ(false))
}

/// What is not as one disk would have it, on a path that carries I/O.
pub fn difference(plain: &LogicalUnit, world: &World) -> Option<String> {
    let disk = &world.disk;
    let (is, due) = (key_of(disk, OTHER), key_of(plain, OTHER));
    if is != due {
        return Some(format!("the other node's key is {}, due {}", key(is), key(due)));
    }
    let due = key_of(plain, GUEST);
    for (number, path) in world.paths.iter().enumerate() {
        let is = world.key(number);
        if path.active && carries_io(path.condition) && is != due && !world.came_back.contains(&number) {
            return Some(format!("path {number} has key {}, due {}", key(is), key(due)));
        }
    }
    let holder = |held: Option<pr_sim::Held>| held.map(|held| (held.kind, held.holder.map(|holder| holder == OTHER)));
    let (is, due) = (holder(disk.reservation()), holder(plain.reservation()));
    if is != due {
        return Some(format!("the reservation is {}, due {}", reservation(is), reservation(due)));
    }
    flags_differ(plain, world)
}

/// Whether I/O on such a path gets through to the logical unit, or would, if the answer came back.
fn carries_io(condition: Condition) -> bool {
    !matches!(condition, Condition::Standby | Condition::Unmapped)
}

/// What is not as one disk would have it of the flags.
fn flags_differ(plain: &LogicalUnit, world: &World) -> Option<String> {
    let (is, due) = (world.disk.persists_through_power_loss(), plain.persists_through_power_loss());
    // Without registrations there are none.
    if is != due && plain.registrations().len() > 0 {
        return Some(format!("registrations persist through power loss: {is}, due {due}"));
    }
    // Elsewhere it makes no difference which command a registration came from.
    if world.target == Target::Simulated {
        return None;
    }
    let of = |unit: &LogicalUnit, nexus| {
        unit.registrations().find(|(other, _)| *other == nexus).map(|(_, registration)| registration.all_target_ports)
    };
    let due = of(plain, GUEST)?;
    let differs = |number: &usize| {
        let path = world.paths[*number];
        let counts = path.active && carries_io(path.condition) && !world.came_back.contains(number);
        counts && of(&world.disk, nexus(*number)).is_some_and(|is| is != due)
    };
    let path = (0..world.paths.len()).find(differs)?;
    Some(format!("path {path} is registered on all target ports: {}, due {due}", !due))
}

fn key(key: Option<ReservationKey>) -> String {
    key.map_or_else(|| "none".to_owned(), |key| key.to_string())
}

fn reservation(held: Option<(ReservationType, Option<bool>)>) -> String {
    match held {
        None => "none".to_owned(),
        Some((kind, Some(true))) => format!("the other node's ({kind})"),
        Some((kind, Some(false))) => format!("the guest's ({kind})"),
        Some((kind, None)) => format!("everybody's ({kind})"),
    }
}

/// Whether a path that carries I/O may write while one disk would not let the guest.
pub fn writes_wrongly(world: &World) -> Option<usize> {
    use pr_sim::CommandClass::Writes;
    let may = world.plain.admits(GUEST, Writes);
    (0..world.paths.len()).find(|path| {
        world.paths[*path].active
            && !may
            && world.disk.admits(nexus(*path), Writes)
            && world.disk.reservation().is_some()
    })
}

/// The commands that a guest may send in this world.
pub fn commands(world: &World, keys: &[ReservationKey]) -> Vec<Act> {
    let zero = ReservationKey::ZERO;
    let act = Act::new;
    let own = key_of(&world.plain, GUEST).unwrap_or(zero);
    let kind = Some(ReservationType::WriteExclusiveRegistrantsOnly);
    let all = Some(ReservationType::WriteExclusiveAllRegistrants);
    let held = world.plain.reservation().map(|held| held.kind).or(kind);
    let mut list = Vec::new();
    for new in keys.iter().copied().chain([zero]) {
        list.push(act(OutAction::Register, None, own, new));
        list.push(act(OutAction::RegisterAndIgnoreExistingKey, None, zero, new));
    }
    let wrong = if own == keys[0] { keys[1] } else { keys[0] };
    list.push(act(OutAction::Register, None, wrong, keys[1]));
    if !own.is_zero() {
        list.push(act(OutAction::Register, None, zero, zero));
        list.push(act(OutAction::Register, None, zero, keys[0]));
    }
    for key in if own.is_zero() { vec![wrong] } else { vec![own, wrong] } {
        list.push(act(OutAction::Reserve, kind, key, zero));
        list.push(act(OutAction::Reserve, all, key, zero));
        list.push(act(OutAction::Release, held, key, zero));
        if key == own {
            list.push(act(OutAction::Release, if held == all { kind } else { all }, key, zero));
        }
        list.push(act(OutAction::Clear, None, key, zero));
        list.push(act(OutAction::Preempt, kind, key, key));
        for victim in [crate::world::M, crate::world::K, crate::world::L, zero] {
            if victim != key {
                list.push(act(OutAction::Preempt, kind, key, victim));
            }
        }
    }
    list
}
