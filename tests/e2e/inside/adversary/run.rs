//! The run: rounds of commands, each from an empty LUN and with a seed of its own.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use scsi_persistent_reservations::{InAction, ReservationType, SenseCode, Status};

use super::Settings;
use super::array::{Books, Nexus, PATHS, Seen};
use super::chance::Chance;
use super::disk::{Disk, Held, Who};
use super::faults::{Daemon, Deed, Trouble};
use super::host::{GRACE, Host};
use super::judge::{self, Broken, Came, Played, Right, Rule, difference};
use super::map::{Known, Map};
use super::meddle::Plan;
use super::record::Record;
use crate::report::remark;
use crate::request::Request;

/// How many commands a round has.
const ROUND: usize = 60;

/// No answer takes longer, whatever hangs.
const SLOW: Duration = Duration::from_secs(25);

/// An answer that takes longer is shown: one path that hangs costs seven seconds at the most.
const PATIENT: Duration = Duration::from_millis(7500);

/// Everything.
pub struct Run {
    settings: Settings,
    pub host: Host,
    pub record: Record,
    pub commands: usize,
    /// What one disk would be like.
    pub disk: Disk,
    owed: Vec<SenseCode>,
    fenced: bool,
    active: [bool; PATHS],
    known_stale: BTreeSet<(usize, u64)>,
    /// The LUN's books when they were right last.
    books: Books,
    /// The round ends: what one disk would be like is not known any more.
    is_over: bool,
}

impl Run {
    pub fn set_up(settings: &Settings) -> Result<Self> {
        let settings = Settings { troubles: settings.troubles.clone(), ..*settings };
        Ok(Self {
            settings,
            host: Host::set_up()?,
            record: Record::default(),
            commands: 0,
            disk: Disk::default(),
            owed: Vec::new(),
            fenced: false,
            active: [true; PATHS],
            known_stale: BTreeSet::new(),
            books: Books::default(),
            is_over: false,
        })
    }

    /// All rounds.
    pub fn all(&mut self) -> Result<()> {
        self.reset()?;
        for seed in self.settings.seed..self.settings.seed + self.settings.rounds {
            remark(&format!("round {seed}"));
            self.record.begin(seed);
            if let Err(error) = self.round(seed).and_then(|()| self.reset()) {
                self.record.show();
                return Err(error.context(format!("the bed, in the round of seed {seed}")));
            }
            // Should the machine stop in the next round, this one was played.
            self.record.tell_counts();
        }
        Ok(())
    }

    fn has(&self, trouble: Trouble) -> bool {
        self.settings.troubles.contains(&trouble)
    }

    fn round(&mut self, seed: u64) -> Result<()> {
        let mut chance = Chance::new(seed);
        let shared = self.has(Trouble::SharedKeys) && chance.percent(40);
        let faults: Vec<Trouble> = self
            .settings
            .troubles
            .iter()
            .copied()
            .filter(|trouble| !matches!(trouble, Trouble::Node | Trouble::SharedKeys))
            .collect();
        // Some rounds have no faults, some no other node: each is a counterexample that is easier to read.
        let faults = if chance.percent(25) { Vec::new() } else { faults };
        let node = self.has(Trouble::Node) && chance.percent(80);
        let last = self.commands + ROUND;
        self.is_over = false;
        while self.commands < last && !self.is_over {
            let result = match chance.below(100) {
                0..=9 if node => self.other_acts(&mut chance, shared),
                10..=17 if !faults.is_empty() => self.break_something(&mut chance, &faults),
                // While multipathd does not answer, every change waits for it.
                18..=40 if self.host.faults.multipathd == Daemon::Stopped => self.mend_something(&mut chance),
                18..=27 if !faults.is_empty() => self.mend_something(&mut chance),
                28..=31 => self.question(&mut chance),
                _ => self.command(&mut chance, shared, node, &faults),
            }?;
            if let Err(broken) = result {
                let log = self.host.log();
                self.record.broken(&broken, &log);
                return Ok(());
            }
        }
        Ok(())
    }

    /// One of the guest's commands.
    fn command(
        &mut self,
        chance: &mut Chance,
        shared: bool,
        node: bool,
        faults: &[Trouble],
    ) -> Result<Result<(), Broken>> {
        let act = chance.act(&self.disk, Who::Guest, shared);
        let plan = self.plan(chance, shared, node, faults);
        self.record.step(format!("guest: {act}"));
        if let Some(plan) = &plan {
            let deeds: Vec<String> = plan.deeds.iter().map(Deed::to_string).collect();
            self.record.add(&format!("planned at {:?}: {}", plan.moment, deeds.join(", ")));
        }
        let before = self.active;
        let mut disturbed = self.host.is_disturbed()?;
        let mark = self.host.log().len();
        let started = Instant::now();
        let (came, done) = self.host.send(&act.request(), plan.as_ref())?;
        let took = started.elapsed();
        self.commands += 1;
        self.record.count("commands");
        self.record.answered(took);
        self.record.add(&format!("{came} after {} ms", took.as_millis()));
        for deed in &done.deeds {
            self.record.add(&format!("done meanwhile: {deed}"));
            self.host.faults.note(deed);
            disturbed = true;
        }
        for (act, told) in &done.acts {
            self.record.add(&format!("meanwhile the other: {act}: {told:?}"));
        }
        self.record.count(match &came {
            Came::Answer(answer) if answer.status == Status::GOOD => "GOOD",
            Came::Answer(answer) if answer.status == Status::RESERVATION_CONFLICT => "RESERVATION CONFLICT",
            Came::Answer(_) => "another answer",
            Came::Nothing(_) => "no answer",
        });
        // Where the other node uses the guest's key in the middle of a change of it, what can be done is to say so.
        let is_error = matches!(came, Came::Answer(_)) && !came.is_of_a_disk();
        if shared && is_error && !done.acts.is_empty() && !disturbed && self.host.has_named_a_path(mark) {
            self.record.count("an error because of a shared key, and said");
            disturbed = true;
        }
        let old = self.disk.clone();
        let paths_tell = disturbed || self.host.faults.may_tell();
        let fenced = self.fenced;
        let books = self.books.clone();
        let played = Played {
            before: &old,
            books: &books,
            active: before,
            act,
            came: &came,
            acts: &done.acts,
            disturbed,
            paths_tell,
            fenced,
        };
        let mut verdict = self.judge(&played, before, mark)?;
        if matches!(verdict, Err(Broken(Rule::NothingElse, _))) && self.host.has_named_a_path(mark) {
            self.record.count("changed in part, and said");
            self.is_over = true;
            verdict = Ok(());
        }
        if took > PATIENT {
            let log = self.host.log();
            self.record.slow(took, log.get(mark..).unwrap_or_default());
        }
        let had_to_restart = self.host.look_after_helper(&done.deeds)?;
        if matches!(&came, Came::Answer(answer) if answer.status == Status::GOOD) && verdict.is_ok() && !self.is_over {
            verdict = self.expect_known(&old)?;
        }
        Ok(verdict.and(had_to_restart).and(if took > SLOW {
            Err(Broken(Rule::InTime, format!("the answer took {} s", took.as_secs())))
        } else {
            Ok(())
        }))
    }

    /// Everything whole, an empty LUN, and a disk like that.
    pub fn reset(&mut self) -> Result<()> {
        self.host.reset()?;
        self.disk = Disk::default();
        self.owed.clear();
        self.fenced = false;
        self.active = [true; PATHS];
        self.known_stale.clear();
        self.books = Books::default();
        Ok(())
    }

    /// What is done in the middle of a command, if something is.
    fn plan(&mut self, chance: &mut Chance, shared: bool, node: bool, faults: &[Trouble]) -> Option<Plan> {
        let mut deeds = Vec::new();
        match chance.below(100) {
            0..=24 if node => {
                let mut disk = self.disk.clone();
                for _ in 0..=chance.below(3) {
                    let act = chance.act(&disk, Who::Other, shared);
                    disk.play(Who::Other, &act);
                    deeds.push(Deed::Act(act));
                }
            }
            25..=34 if !faults.is_empty() => {
                deeds.extend(self.host.faults.draw(chance, faults).filter(|deed| !matches!(deed, Deed::Remove(_))));
            }
            35..=37 => deeds.extend(
                self.host.faults.mend(chance).filter(|deed| !matches!(deed, Deed::Add(_) | Deed::StartMultipathd)),
            ),
            _ => {}
        }
        (!deeds.is_empty()).then(|| Plan::new(chance, deeds))
    }

    /// Looks at the LUN and the map, and judges; what is still under way gets its time.
    fn judge(&mut self, played: &Played<'_>, before: [bool; PATHS], mark: usize) -> Result<Result<(), Broken>> {
        if let Err(broken) = self.host.expect_resumed()? {
            return Ok(Err(broken));
        }
        let (mut books, mut active) = self.host.look()?;
        let is_answer = played.came.is_of_a_disk();
        let both = std::array::from_fn(|path| active[path] && before[path]);
        let strict = played.judge(&books, both, &self.owed);
        // Without anything that is still under way there is nothing to wait for. What multipathd gives to a path because the
        // other node has the same key is for the helper to find.
        let others = books.key(Nexus::Other);
        let is_given = others.is_some() && (0..PATHS).any(|path| books.key(Nexus::Path(path)) == others);
        if let Err(broken) = strict
            && !(is_given && broken.0 == Rule::Fenced)
            && (is_answer || !played.disturbed)
        {
            self.record.add(&format!("{}", Seen(&books, active)));
            return Ok(Err(broken));
        }
        let started = Instant::now();
        let right = loop {
            match played.judge(&books, active, &self.owed) {
                Ok(right) => break right,
                Err(broken) if started.elapsed() > GRACE => {
                    self.record.add(&format!("{} s later {}", GRACE.as_secs(), Seen(&books, active)));
                    return Ok(Err(broken));
                }
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
            (books, active) = self.host.look()?;
        };
        if started.elapsed() > Duration::from_millis(100) {
            self.record.add(&format!("right after {} ms", started.elapsed().as_millis()));
        }
        if right.unknown {
            self.record.count("carried out, and an error told");
        }
        if !is_answer {
            self.record.add(&format!("{}", Seen(&books, active)));
        }
        self.take(right, played, &books, active, mark);
        Ok(Ok(()))
    }

    /// Goes on from there.
    fn take(&mut self, right: Right, played: &Played<'_>, books: &Books, active: [bool; PATHS], mark: usize) {
        let Right { disk, mut news, .. } = right;
        if let Came::Answer(answer) = played.came
            && let Some(code) = answer.sense.code()
        {
            self.owed.retain(|owed| *owed != code);
            if judge::is_of_the_path(code) {
                self.host.faults.told();
            }
        }
        self.owed.append(&mut news);
        self.fenced = disk.guest.is_none() && (self.fenced || played.before.guest.is_some() || !played.acts.is_empty());
        self.disk = disk;
        self.settle_on(books, active);
        let log = self.host.log();
        // An audit record names the keys of every command, and no path.
        let said: Vec<&str> =
            log.get(mark..).unwrap_or_default().lines().filter(|line| !line.contains("audit: ")).collect();
        for (path, key) in judge::stale(&self.disk, books, active) {
            let name = self.host.array.paths[path].as_ref().map(|port| port.name().to_owned());
            let key_text = format!("{key:x}");
            let is_said = said
                .iter()
                .any(|line| line.contains(&key_text) || name.as_ref().is_some_and(|name| line.contains(name.as_str())));
            if self.known_stale.insert((path, key)) {
                self.record.count(if is_said {
                    "keys left on a path that is away, and said"
                } else {
                    "keys left on a path that is away, and nothing said"
                });
                self.record.add(&format!("key {key:x} is left on path {path}{}", if is_said { ", said" } else { "" }));
            }
        }
    }

    /// The books are right: what one disk cannot know is as they have it.
    fn settle_on(&mut self, books: &Books, active: [bool; PATHS]) {
        self.active = active;
        self.books.clone_from(books);
        if let (Some(held), Some((by, ..))) = (&mut self.disk.held, books.held)
            && held.by_all()
        {
            let by = if by == Some(Nexus::Other) { Who::Other } else { Who::Guest };
            *held = Held { by, kind: held.kind };
        }
    }

    /// After GOOD, with everything whole, multipathd is asked what it would do with a path that comes back, as the
    /// maintainers of multipath-tools do after every step of their random test.
    fn expect_known(&mut self, before: &Disk) -> Result<Result<(), Broken>> {
        // What the other node has taken multipathd may keep until the guest registers again.
        if self.host.is_disturbed()? || self.disk.guest.is_none() && self.fenced {
            return Ok(Ok(()));
        }
        let due = Known::of(before, &self.disk);
        let started = Instant::now();
        loop {
            let Some(is) = Map::known()? else { return Ok(Ok(())) };
            if is.agrees(&due) {
                self.record.count("times multipathd knew what the guest has");
                return Ok(Ok(()));
            }
            if started.elapsed() > GRACE {
                return Ok(Err(Broken(Rule::Known, format!("multipathd has {is:x?}, due {due:x?}"))));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Nothing was sent: everything is as before, or soon is.
    pub fn expect_quiet(&mut self) -> Result<Result<(), Broken>> {
        if let Err(broken) = self.host.expect_resumed()? {
            return Ok(Err(broken));
        }
        let started = Instant::now();
        loop {
            let (books, active) = self.host.look()?;
            let Some(broken) = difference(&self.disk, &books, active, self.fenced) else {
                if started.elapsed() > Duration::from_millis(100) {
                    self.record.add(&format!("right after {} ms", started.elapsed().as_millis()));
                }
                self.settle_on(&books, active);
                return Ok(Ok(()));
            };
            if started.elapsed() > GRACE {
                self.record.add(&format!("{} s later {}", GRACE.as_secs(), Seen(&books, active)));
                return Ok(Err(broken));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The other node sends a command while the guest does nothing.
    fn other_acts(&mut self, chance: &mut Chance, shared: bool) -> Result<Result<(), Broken>> {
        let act = chance.act(&self.disk, Who::Other, shared);
        self.record.step(format!("other: {act}"));
        let Some(told) = self.host.reach()?.perform(&Deed::Act(act))? else {
            self.record.add("its port does not let it");
            return Ok(Ok(()));
        };
        self.record.add(&format!("{told:?}"));
        let had = self.disk.guest;
        let left = judge::stale(&self.disk, &self.books, self.active);
        let (due, news) = self.disk.play(Who::Other, &act);
        if due != told && !judge::ends_what_was_left(&act, told, due, &left) {
            return Ok(Err(Broken(Rule::Others, format!("the other node was told {told:?}, one disk says {due:?}"))));
        }
        self.owed.extend(news);
        self.fenced = self.disk.guest.is_none() && (self.fenced || had.is_some());
        self.expect_quiet()
    }

    /// A question: what the guest reads is what is there.
    fn question(&mut self, chance: &mut Chance) -> Result<Result<(), Broken>> {
        let action = chance.pick(&[InAction::ReadKeys, InAction::ReadReservation]);
        self.record.step(format!("guest: {action}"));
        let disturbed = self.host.is_disturbed()?;
        let (came, _) = self.host.send(&Request::read(action), None)?;
        self.commands += 1;
        self.record.count("commands");
        self.record.add(&came.to_string());
        let Came::Answer(answer) = came else {
            return Ok(self.host.look_after_helper(&[])?.and(if disturbed {
                Ok(())
            } else {
                Err(Broken(Rule::InTime, "no answer to a question".to_owned()))
            }));
        };
        if let Some(code) = answer.sense.code().filter(|_| judge::is_attention(&answer)) {
            let is_hosts = judge::is_of_the_path(code);
            let is_owed = self.owed.contains(&code) || is_hosts && (disturbed || self.host.faults.may_tell());
            if is_hosts {
                self.host.faults.told();
            }
            self.owed.retain(|owed| *owed != code);
            return Ok(if is_owed {
                Ok(())
            } else {
                Err(Broken(Rule::SameAnswer, format!("a unit attention that nobody caused, or twice: {code}")))
            });
        }
        if answer.status != Status::GOOD {
            return Ok(if disturbed {
                Ok(())
            } else {
                Err(Broken(Rule::SameAnswer, format!("{action} is answered {answer}")))
            });
        }
        let (books, _) = self.host.look()?;
        let is_right = if action == InAction::ReadKeys {
            let mut due: Vec<u64> = books.keys.values().copied().collect();
            due.sort_unstable();
            answer.keys()? == due
        } else {
            let due = books.held.map(|(_, kind, key)| (kind, key));
            answer.reservation()?.map(|held| (ReservationType::from_scope_type(held.scope_type), held.key.0))
                == due.map(|(kind, key)| {
                    let by_all = Held { by: Who::Guest, kind }.by_all();
                    (Some(kind), if by_all { 0 } else { key })
                })
        };
        // What is under way in the background may have changed it since.
        Ok(if is_right || disturbed {
            Ok(())
        } else {
            Err(Broken(Rule::SameAnswer, format!("{action} does not tell what is there")))
        })
    }

    fn break_something(&mut self, chance: &mut Chance, faults: &[Trouble]) -> Result<Result<(), Broken>> {
        let Some(deed) = self.host.faults.draw(chance, faults) else { return Ok(Ok(())) };
        self.record.step(deed.to_string());
        self.host.apply(&deed)?;
        // Sometimes everybody notices before the next command, sometimes nobody.
        if chance.percent(40) {
            thread::sleep(Duration::from_millis(chance.below(2500)));
        }
        let restarted = self.host.look_after_helper(&[deed])?;
        let quiet = self.expect_quiet()?;
        Ok(restarted.and(quiet))
    }

    fn mend_something(&mut self, chance: &mut Chance) -> Result<Result<(), Broken>> {
        let Some(deed) = self.host.faults.mend(chance) else { return Ok(Ok(())) };
        self.record.step(deed.to_string());
        self.host.apply(&deed)?;
        if chance.percent(50) && !self.host.faults.is_any() {
            self.host.wait_for([true; PATHS])?;
        }
        if chance.percent(50) { self.expect_quiet() } else { Ok(Ok(())) }
    }
}
