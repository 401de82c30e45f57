//! Whether what was told and what is there could be so on one disk with one initiator.

use std::fmt;

use scsi_persistent_reservations::{OutAction, SenseCode, SenseKey, Status};

use super::array::{Books, Nexus, PATHS};
use super::disk::{Act, Disk, Held, News, Told, Who};
use crate::request::Answer;

/// A promise of the map engine's contract, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// GOOD is true on every path that can carry I/O.
    GoodIsTrue = 1,
    /// Anything else changed nothing, or says what is left.
    NothingElse = 2,
    /// Another node's registration and reservation stay as they are.
    Others = 3,
    /// A node that was fenced stays so, also by paths that come back.
    Fenced = 4,
    /// No map stays suspended.
    Suspended = 5,
    /// The same answer as one path gives.
    SameAnswer = 6,
    /// An answer in time, from everything that is started by itself.
    InTime = 7,
    /// multipathd, which gives it to paths that come back, has the guest's key.
    Known = 8,
}

impl Rule {
    pub const ALL: [Self; 8] = [
        Self::GoodIsTrue,
        Self::NothingElse,
        Self::Others,
        Self::Fenced,
        Self::Suspended,
        Self::SameAnswer,
        Self::InTime,
        Self::Known,
    ];

    pub fn promise(self) -> &'static str {
        match self {
            Self::GoodIsTrue => "GOOD is true on every path that can carry I/O",
            Self::NothingElse => "anything else changed nothing, or the log says what is left",
            Self::Others => "another node's registration and reservation stay as they are",
            Self::Fenced => "a node that was fenced stays fenced, also on paths that come back",
            Self::Suspended => "no map stays suspended",
            Self::SameAnswer => "status and sense are what one disk would answer",
            Self::InTime => "an answer comes in time, and nothing has to be started by hand",
            Self::Known => "multipathd has the guest's key, and knows whether the map holds a reservation",
        }
    }
}

/// A promise that was broken, and how.
#[derive(Debug)]
pub struct Broken(pub Rule, pub String);

/// What became of a command.
pub enum Came {
    Answer(Answer),
    /// The connection ended: the daemon is gone.
    Nothing(String),
}

impl Came {
    /// Whether it is what a disk answers, and no error.
    pub fn is_of_a_disk(&self) -> bool {
        matches!(self, Self::Answer(answer) if Told::by(answer).is_some() || is_attention(answer))
    }
}

impl fmt::Display for Came {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(answer) => write!(f, "{}", answer.status).and_then(|()| match answer.sense.code() {
                // With GOOD, the C helper sends what it has left of an earlier answer.
                Some(code) if answer.status == Status::CHECK_CONDITION => write!(f, " {code}"),
                _ => Ok(()),
            }),
            Self::Nothing(reason) => write!(f, "no answer ({reason})"),
        }
    }
}

/// One command as it was played.
pub struct Played<'a> {
    pub before: &'a Disk,
    /// The LUN's books before it, and the paths that carried I/O.
    pub books: &'a Books,
    pub active: [bool; PATHS],
    pub act: Act,
    pub came: &'a Came,
    /// What the other node sent from the moment that the command was sent, with the answers.
    pub acts: &'a [(Act, Told)],
    /// Something else was done to the host meanwhile, or is broken: an error is no wonder.
    pub disturbed: bool,
    /// Paths may have news of their own to tell.
    pub paths_tell: bool,
    /// Whether the guest's key was taken by the other node, and not registered again since.
    pub fenced: bool,
}

/// What one disk would have made of it in one order.
struct Line {
    disk: Disk,
    /// Nothing where the guest's command was not carried out.
    told: Option<Told>,
    /// SPC asks for RESERVATION CONFLICT, and the kernel's target says GOOD: nothing changes either way.
    conflicts: bool,
    /// SPC asks for INVALID RELEASE OF PERSISTENT RESERVATION, and the kernel's target says RESERVATION CONFLICT.
    other_type: bool,
    /// A key that the guest has given up is taken from a path that is away, which one disk does not have: GOOD is right, too.
    ends_left: bool,
    news: Vec<SenseCode>,
}

/// What an initiator is told whose registration this takes.
fn loss(action: OutAction) -> Option<SenseCode> {
    match action {
        OutAction::Clear => Some(SenseCode::RESERVATIONS_PREEMPTED),
        OutAction::Preempt | OutAction::PreemptAndAbort => Some(SenseCode::REGISTRATIONS_PREEMPTED),
        OutAction::Register
        | OutAction::RegisterAndIgnoreExistingKey
        | OutAction::Reserve
        | OutAction::Release
        | OutAction::RegisterAndMove
        | OutAction::ReplaceLostReservation => None,
    }
}

/// What is right, and what follows.
pub struct Right {
    pub disk: Disk,
    /// Unit attentions that the guest may be told of from now on.
    pub news: Vec<SenseCode>,
    /// The command was carried out, and the guest was told of an error.
    pub unknown: bool,
}

impl Played<'_> {
    /// The orders in which the two may have come, each with what one disk would be like.
    fn lines(&self) -> Vec<Line> {
        (0..=self.acts.len()).map(Some).chain([None]).filter_map(|at| self.line(at)).collect()
    }

    fn line(&self, at: Option<usize>) -> Option<Line> {
        let mut disk = self.before.clone();
        let left = stale(self.before, self.books, self.active);
        let mut line = Line {
            disk: Disk::default(),
            told: None,
            conflicts: false,
            other_type: false,
            ends_left: false,
            news: Vec::new(),
        };
        let mut was_taken = false;
        for place in 0..=self.acts.len() {
            if at == Some(place) {
                line.conflicts = disk.is_released_with_another_key(Who::Guest, &self.act);
                line.other_type = disk.is_released_with_another_type(Who::Guest, &self.act);
                let due = disk.play(Who::Guest, &self.act).0;
                line.ends_left = ends_what_was_left(&self.act, Told::Good, due, &left);
                line.told = Some(due);
            }
            if let Some((act, told)) = self.acts.get(place) {
                // A command registers path after path, some of them after the other node has preempted the guest, and takes
                // that back when it sees it: until then the other node's next command may find a path registered.
                if was_taken && *told == Told::Good {
                    line.news.extend(loss(act.action));
                }
                let is_registered = disk.key(Who::Guest).is_some();
                let (due, news): (Told, News) = disk.play(Who::Other, act);
                let is_under_way = at.is_some_and(|at| at <= place);
                was_taken |= is_under_way && is_registered && disk.key(Who::Guest).is_none();
                if due != *told && !ends_what_was_left(act, *told, due, &left) {
                    return None;
                }
                line.news.extend(news);
            }
        }
        line.disk = disk;
        Some(line)
    }

    /// Judges what is there now.
    pub fn judge(&self, books: &Books, active: [bool; PATHS], owed: &[SenseCode]) -> Result<Right, Broken> {
        let lines = self.lines();
        if lines.is_empty() {
            let acts: Vec<String> = self.acts.iter().map(|(act, told)| format!("{act}: {told:?}")).collect();
            return Err(Broken(
                Rule::Others,
                format!("the other node was told what it cannot be: {}", acts.join(", ")),
            ));
        }
        let answer = match self.came {
            Came::Answer(answer) => answer,
            Came::Nothing(_) => return self.failed(lines, books, active),
        };
        let code = answer.sense.code().filter(|_| !answer.sense.is_none());
        if let Some(code) = code
            && code.key == SenseKey(6)
        {
            let all: Vec<SenseCode> = lines.iter().flat_map(|line| line.news.clone()).chain(owed.to_vec()).collect();
            let is_hosts = is_of_the_path(code);
            if !(all.contains(&code) || is_hosts && self.paths_tell) {
                return Err(Broken(Rule::SameAnswer, format!("a unit attention that nobody caused, or twice: {code}")));
            }
            let right = self.fit(lines.into_iter().filter(|line| line.told.is_none()), books, active)?;
            return Ok(Right { news: right.news.into_iter().filter(|news| *news != code).collect(), ..right });
        }
        let Some(told) = Told::by(answer) else { return self.failed(lines, books, active) };
        // A path's own trouble looks the same as the target's answer to an initiator that is not registered.
        let (fitting, others): (Vec<Line>, Vec<Line>) = lines.into_iter().partition(|line| {
            // To an initiator that is not registered the standard says RESERVATION CONFLICT, and so does the engine where it
            // has seen that it was preempted; the kernel's own target has another error.
            let is_strict = line.conflicts || line.told == Some(Told::NotRegistered);
            let may_be = is_strict && told == Told::Conflict
                || line.other_type && told == Told::OtherType
                || line.ends_left && told == Told::Good;
            line.told == Some(told) || may_be
        });
        if fitting.is_empty() {
            if told == Told::NotRegistered && self.disturbed {
                return self.failed(others, books, active);
            }
            let due: Vec<String> = others.iter().filter_map(|line| line.told).map(|told| format!("{told:?}")).collect();
            let rule = if told == Told::Good { Rule::GoodIsTrue } else { Rule::SameAnswer };
            return Err(Broken(rule, format!("{told:?} was told, one disk says {}", due.join(" or "))));
        }
        match self.fit(fitting.into_iter(), books, active) {
            Err(Broken(Rule::GoodIsTrue, what)) if told != Told::Good => Err(Broken(Rule::NothingElse, what)),
            result => result,
        }
    }

    /// An error that is no answer of a disk.
    fn failed(&self, lines: Vec<Line>, books: &Books, active: [bool; PATHS]) -> Result<Right, Broken> {
        if !self.disturbed {
            return Err(Broken(Rule::SameAnswer, format!("{} without any fault", self.came)));
        }
        let (done, not_done): (Vec<Line>, Vec<Line>) = lines.into_iter().partition(|line| line.told.is_some());
        let without = self.fit(not_done.into_iter(), books, active);
        // That nothing has happened is what these say.
        let is_refused = match self.came {
            Came::Answer(answer) => {
                answer.status == Status::BUSY || answer.sense.code().is_some_and(|code| code.key == SenseKey(2))
            }
            Came::Nothing(_) => false,
        };
        let with = self.fit(done.into_iter(), books, active);
        let is_unchanged = self.books.keys == books.keys && self.books.held == books.held;
        match (with, &without) {
            (_, Ok(_)) if is_unchanged => {}
            // Where no path carries I/O both may be so; what the paths have says which it is.
            (Ok(with), Ok(without)) if !is_refused && distance(&with.disk, books) < distance(&without.disk, books) => {
                return Ok(Right { unknown: true, ..with });
            }
            (Ok(with), Err(_)) if !is_refused => return Ok(Right { unknown: true, ..with }),
            _ => {}
        }
        without.map_err(|Broken(rule, what)| match rule {
            Rule::GoodIsTrue => Broken(Rule::NothingElse, what),
            rule => Broken(rule, what),
        })
    }

    /// The first of these orders that fits, or what does not in the last.
    fn fit(&self, lines: impl Iterator<Item = Line>, books: &Books, active: [bool; PATHS]) -> Result<Right, Broken> {
        let mut all = Vec::new();
        let mut broken = Broken(Rule::Others, "the other node was told what it cannot be".to_owned());
        let mut right = None;
        for line in lines {
            all.extend(line.news);
            match difference(&line.disk, books, active, self.fenced || fences(self.acts)) {
                None if right.is_none() => right = Some(line.disk),
                None => {}
                Some(difference) => broken = difference,
            }
        }
        right.map(|disk| Right { disk, news: all, unknown: false }).ok_or(broken)
    }
}

/// Whether an answer is a unit attention.
pub fn is_attention(answer: &Answer) -> bool {
    answer.status == Status::CHECK_CONDITION && answer.sense.code().is_some_and(|code| code.key == SenseKey(6))
}

/// A unit attention that a path has of its own: a new session, another state of its target port group.
pub fn is_of_the_path(code: SenseCode) -> bool {
    matches!((code.additional.code, code.additional.qualifier), (0x29 | 0x3f, _) | (0x2a, 0x06 | 0x07))
}

/// Whether the other node was told GOOD for a PREEMPT of a key that one disk would not have, and that is left on a path.
pub fn ends_what_was_left(act: &Act, told: Told, due: Told, left: &[(usize, u64)]) -> bool {
    use scsi_persistent_reservations::OutAction::{Preempt, PreemptAndAbort};
    let preempts = matches!(act.action, Preempt | PreemptAndAbort) && left.iter().any(|(_, key)| *key == act.other_key);
    preempts && told == Told::Good && due == Told::Conflict
}

fn fences(acts: &[(Act, Told)]) -> bool {
    use scsi_persistent_reservations::OutAction::{Clear, Preempt, PreemptAndAbort};
    acts.iter().any(|(act, told)| *told == Told::Good && matches!(act.action, Clear | Preempt | PreemptAndAbort))
}

/// How many paths have another key than one disk has, whether they carry I/O or not.
fn distance(disk: &Disk, books: &Books) -> usize {
    (0..PATHS).filter(|number| books.key(Nexus::Path(*number)) != disk.guest).count()
}

/// What is not as one disk would have it.
pub fn difference(disk: &Disk, books: &Books, active: [bool; PATHS], fenced: bool) -> Option<Broken> {
    let text = |key: Option<u64>| key.map_or_else(|| "no key".to_owned(), |key| format!("key {key:x}"));
    if books.keys.contains_key(&Nexus::Stranger) {
        return Some(Broken(Rule::Others, "somebody unknown is registered".to_owned()));
    }
    let is = books.key(Nexus::Other);
    if is != disk.other {
        return Some(Broken(Rule::Others, format!("the other node has {}, due {}", text(is), text(disk.other))));
    }
    for number in (0..PATHS).filter(|number| active[*number]) {
        let is = books.key(Nexus::Path(number));
        if is != disk.guest {
            let rule = if disk.guest.is_none() && fenced { Rule::Fenced } else { Rule::GoodIsTrue };
            return Some(Broken(rule, format!("path {number} has {}, due {}", text(is), text(disk.guest))));
        }
    }
    let due = disk.held.map(|held| (held, disk.key(held.by)));
    let rule = match (disk.held, books.held) {
        (Some(Held { by: Who::Other, .. }), _) | (None, Some((Some(Nexus::Other), ..))) => Rule::Others,
        _ if fenced && disk.guest.is_none() => Rule::Fenced,
        _ => Rule::GoodIsTrue,
    };
    let differs = match (due, books.held) {
        (None, None) => false,
        (Some((due, key)), Some((by, kind, held_key))) => {
            let who = if by == Some(Nexus::Other) { Who::Other } else { Who::Guest };
            kind != due.kind || (!due.by_all() && (who != due.by || Some(held_key) != key))
        }
        _ => true,
    };
    differs.then(|| {
        let is = books.held.map_or_else(
            || "none".to_owned(),
            |(by, kind, key)| format!("type {} of {by:?} with key {key:x}", kind.code()),
        );
        Broken(rule, format!("the reservation is {is}, due ({disk})"))
    })
}

/// Registrations of the host that one disk does not have, on paths that carry no I/O now.
pub fn stale(disk: &Disk, books: &Books, active: [bool; PATHS]) -> Vec<(usize, u64)> {
    let mut stale = Vec::new();
    for number in (0..PATHS).filter(|number| !active[*number]) {
        if let Some(key) = books.key(Nexus::Path(number))
            && Some(key) != disk.guest
        {
            stale.push((number, key));
        }
    }
    stale
}
