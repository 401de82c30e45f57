//! The run: rounds of commands, each from an empty LUN and with a seed of its own.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use pr_wire::Client;
use scsi_pr::{InAction, OutAction, ReservationType, SenseCode, SenseKey, Status};

use super::array::{Array, Books, Nexus, PATHS};
use super::cases::CASES;
use super::chance::{Chance, OTHER_KEY};
use super::disk::{Act, Disk, Held, Told, Who};
use super::faults::{Daemon, Deed, Faults, Reach, Trouble};
use super::judge::{self, Broken, Came, Played, Right, Rule, difference};
use super::map::{MAP, Map};
use super::meddle::{self, Done, Plan};
use super::record::Record;
use super::{Settings, family};
use crate::helper::{Helper, through};
use crate::multipath::services;
use crate::report::remark;
use crate::request::{Answer, Request};
use crate::wait;

/// How many commands a round has.
const ROUND: usize = 60;

/// What may still be under way when an answer comes: a path that came back a moment ago gets its key, what was killed is
/// started again.
const GRACE: Duration = Duration::from_secs(8);

/// No answer takes longer, whatever hangs.
const SLOW: Duration = Duration::from_secs(25);

/// What the guest's side keeps of the helper.
struct Guest {
    helper: Helper,
    client: Option<Client>,
}

/// Everything.
pub struct Run {
    settings: Settings,
    array: Array,
    map: Map,
    guest: Option<Guest>,
    log: PathBuf,
    faults: Faults,
    pub record: Record,
    pub commands: usize,
    /// What one disk would be like.
    disk: Disk,
    owed: Vec<SenseCode>,
    fenced: bool,
    active: [bool; PATHS],
    known_stale: BTreeSet<(usize, u64)>,
    slowest: Duration,
    /// How long the guest has waited for answers in all.
    answering: Duration,
}

impl Run {
    pub fn set_up(settings: &Settings) -> Result<Self> {
        let multipathd = Map::prepare()?;
        let array = Array::set_up()?;
        let map = Map::over(&array, multipathd)?;
        let log = PathBuf::from("/run/adversary.log");
        let settings = Settings { troubles: settings.troubles.clone(), ..*settings };
        Ok(Self {
            settings,
            array,
            map,
            guest: None,
            log,
            faults: Faults::default(),
            record: Record::default(),
            commands: 0,
            disk: Disk::default(),
            owed: Vec::new(),
            fenced: false,
            active: [true; PATHS],
            known_stale: BTreeSet::new(),
            slowest: Duration::ZERO,
            answering: Duration::ZERO,
        })
    }

    /// The cases that have a name.
    pub fn cases(&mut self, mut made: impl FnMut(&str, Result<()>)) -> Result<()> {
        for (name, case) in CASES {
            self.reset().with_context(|| format!("the reset before: {name}"))?;
            let mark = self.log().len();
            let result = case(self);
            let failed = result.is_err();
            made(name, result);
            if failed {
                for line in self.log().get(mark..).unwrap_or_default().lines() {
                    remark(&format!("   helper: {line}"));
                }
            }
            self.look_after_helper(&[])?.ok();
        }
        self.reset()
    }

    /// Sends a command as the guest; nothing but an answer will do.
    pub fn guest(&mut self, request: &Request, plan: Option<&Plan>) -> Result<(Answer, Done)> {
        match self.send(request, plan)? {
            (Came::Answer(answer), done) => Ok((answer, done)),
            (Came::Nothing(reason), _) => bail!("{}: {reason}", request.name),
        }
    }

    /// The other node sends a command, and it is carried out.
    pub fn other(&mut self, act: Act) -> Result<()> {
        let told = self.reach()?.perform(&Deed::Act(act))?;
        anyhow::ensure!(told == Some(Told::Good), "the other node's {act}: {told:?}");
        Ok(())
    }

    pub fn array(&self) -> &Array {
        &self.array
    }

    /// What the helper has said.
    pub fn log(&self) -> String {
        self.log_text()
    }

    /// Takes a path away until the map does not use it.
    pub fn lose(&mut self, path: usize) -> Result<()> {
        self.apply(&Deed::Offline(path))?;
        Map::wait_for(&self.array, std::array::from_fn(|number| number != path))
    }

    /// Brings it back until the map uses it.
    pub fn bring_back(&mut self, path: usize) -> Result<()> {
        self.apply(&Deed::Running(path))?;
        Map::wait_for(&self.array, [true; PATHS])
    }

    /// Waits until no path hangs and the map uses all.
    pub fn mend(&mut self) -> Result<()> {
        self.faults.uncut()?;
        Map::wait_for(&self.array, [true; PATHS])
    }

    /// Everything is so, or soon is.
    pub fn expect(&mut self, disk: &Disk) -> Result<()> {
        self.disk = disk.clone();
        match self.expect_quiet()? {
            Ok(()) => Ok(()),
            Err(Broken(rule, what)) => bail!("{} ({what})", rule.promise()),
        }
    }

    /// Everything is so this moment.
    pub fn expect_at_once(&self, disk: &Disk) -> Result<()> {
        let (books, active) = self.look()?;
        match difference(disk, &books, active, false) {
            None => Ok(()),
            Some(Broken(rule, what)) => bail!("{} ({what})", rule.promise()),
        }
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
        }
        self.record.counts.insert("ms for the slowest answer", usize::try_from(self.slowest.as_millis())?);
        self.record.counts.insert("ms for all answers", usize::try_from(self.answering.as_millis())?);
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
        while self.commands < last {
            let result = match chance.below(100) {
                0..=9 if node => self.other_acts(&mut chance, shared),
                10..=17 if !faults.is_empty() => self.break_something(&mut chance, &faults),
                18..=27 if !faults.is_empty() => self.mend_something(&mut chance),
                28..=31 => self.question(&mut chance),
                _ => self.command(&mut chance, shared, node, &faults),
            }?;
            if let Err(broken) = result {
                let log = self.log_text();
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
        let mut disturbed = self.faults.disturb();
        let mark = self.log_text().len();
        let started = Instant::now();
        let (came, done) = self.send(&act.request(), plan.as_ref())?;
        let took = started.elapsed();
        self.commands += 1;
        self.slowest = self.slowest.max(took);
        self.answering += took;
        self.record.add(&format!("{came} after {} ms", took.as_millis()));
        for deed in &done.deeds {
            self.record.add(&format!("done meanwhile: {deed}"));
            self.faults.note(deed);
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
        let old = self.disk.clone();
        let played = Played { before: &old, act, came: &came, acts: &done.acts, disturbed, fenced: self.fenced };
        let verdict = self.judge(&played, before, mark)?;
        let had_to_restart = self.look_after_helper(&done.deeds)?;
        Ok(verdict.and(had_to_restart).and(if took > SLOW {
            Err(Broken(Rule::InTime, format!("the answer took {} s", took.as_secs())))
        } else {
            Ok(())
        }))
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
                deeds.extend(self.faults.draw(chance, faults).filter(|deed| !matches!(deed, Deed::Remove(_))));
            }
            35..=37 => deeds
                .extend(self.faults.mend(chance).filter(|deed| !matches!(deed, Deed::Add(_) | Deed::StartMultipathd))),
            _ => {}
        }
        (!deeds.is_empty()).then(|| Plan::new(chance, deeds))
    }

    /// Sends a command to the map through the helper, while the plan is carried out.
    fn send(&mut self, request: &Request, plan: Option<&Plan>) -> Result<(Came, Done)> {
        let multipathd = self.map.multipathd.pid();
        let Some(guest) = &mut self.guest else { bail!("no helper") };
        let mut client = match guest.client.take() {
            Some(client) => client,
            None => guest.helper.client()?,
        };
        let reach = Reach { array: &self.array, multipathd, daemon: guest.helper.pid() };
        let ended = AtomicBool::new(false);
        let (result, done) = thread::scope(|scope| {
            let meddler = plan.map(|plan| scope.spawn(|| meddle::run(plan, &reach, &ended)));
            let result = through(&mut client, &self.map.port.file, request);
            ended.store(true, Ordering::Release);
            let done = meddler.map(|it| it.join().unwrap_or_else(|_| bail!("the meddler panicked")));
            (result, done)
        });
        let done = done.transpose()?.unwrap_or_default();
        let came = match result {
            Ok(answer) => {
                guest.client = Some(client);
                Came::Answer(answer)
            }
            Err(error) => Came::Nothing(format!("{error:#}")),
        };
        Ok((came, done))
    }

    /// Looks at the LUN and the map, and judges; what is still under way gets its time.
    fn judge(&mut self, played: &Played<'_>, before: [bool; PATHS], mark: usize) -> Result<Result<(), Broken>> {
        if let Err(broken) = self.expect_resumed()? {
            return Ok(Err(broken));
        }
        let (mut books, mut active) = self.look()?;
        let is_answer =
            matches!(played.came, Came::Answer(answer) if Told::by(answer).is_some() || is_attention(answer));
        let both = std::array::from_fn(|path| active[path] && before[path]);
        let strict = played.judge(&books, both, &self.owed);
        // Without anything that is still under way there is nothing to wait for.
        if (is_answer || !played.disturbed)
            && let Err(broken) = strict
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
            (books, active) = self.look()?;
        };
        if started.elapsed() > Duration::from_millis(100) {
            self.record.add(&format!("right after {} ms", started.elapsed().as_millis()));
        }
        if right.unknown {
            self.record.count("carried out, and an error told");
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
        }
        self.owed.append(&mut news);
        self.fenced = disk.guest.is_none() && (self.fenced || played.before.guest.is_some() || !played.acts.is_empty());
        self.disk = disk;
        self.settle_on(books, active);
        let log = self.log_text();
        // An audit record names the keys of every command, and no path.
        let said: Vec<&str> =
            log.get(mark..).unwrap_or_default().lines().filter(|line| !line.contains("audit: ")).collect();
        for (path, key) in judge::stale(&self.disk, books, active) {
            let name = self.array.paths[path].as_ref().map(|port| port.name().to_owned());
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
        if let (Some(held), Some((by, ..))) = (&mut self.disk.held, books.held)
            && held.by_all()
        {
            let by = if by == Some(Nexus::Other) { Who::Other } else { Who::Guest };
            *held = Held { by, kind: held.kind };
        }
    }

    /// The LUN's books, and the paths that could carry I/O before they were read: those that the map uses and whose target
    /// port does not turn everything down. When that is over such a path is one that comes back.
    fn look(&self) -> Result<(Books, [bool; PATHS])> {
        let active = Map::active(&self.array)?;
        let active = std::array::from_fn(|path| active[path] && self.faults.is_ready(path));
        Ok((self.array.books()?, active))
    }

    fn expect_resumed(&self) -> Result<Result<(), Broken>> {
        let started = Instant::now();
        while self.map.is_suspended()? {
            if started.elapsed() > Duration::from_secs(3) {
                return Ok(Err(Broken(Rule::Suspended, "the map is suspended for 3 s".to_owned())));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(Ok(()))
    }

    /// Nothing was sent: everything is as before, or soon is.
    fn expect_quiet(&mut self) -> Result<Result<(), Broken>> {
        if let Err(broken) = self.expect_resumed()? {
            return Ok(Err(broken));
        }
        let started = Instant::now();
        loop {
            let (books, active) = self.look()?;
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
        let Some(told) = self.reach()?.perform(&Deed::Act(act))? else {
            self.record.add("its port does not let it");
            return Ok(Ok(()));
        };
        self.record.add(&format!("{told:?}"));
        let had = self.disk.guest;
        let (due, news) = self.disk.play(Who::Other, &act);
        if due != told {
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
        let disturbed = self.faults.disturb();
        let (came, _) = self.send(&Request::read(action), None)?;
        self.commands += 1;
        self.record.add(&came.to_string());
        let Came::Answer(answer) = came else {
            return Ok(self.look_after_helper(&[])?.and(if disturbed {
                Ok(())
            } else {
                Err(Broken(Rule::InTime, "no answer to a question".to_owned()))
            }));
        };
        if let Some(code) = answer.sense.code().filter(|_| is_attention(&answer)) {
            let is_owed = self.owed.contains(&code) || (disturbed && judge::is_of_the_path(code));
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
        let (books, _) = self.look()?;
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

    fn reach(&self) -> Result<Reach<'_>> {
        let guest = self.guest.as_ref().context("no helper")?;
        Ok(Reach { array: &self.array, multipathd: self.map.multipathd.pid(), daemon: guest.helper.pid() })
    }

    fn break_something(&mut self, chance: &mut Chance, faults: &[Trouble]) -> Result<Result<(), Broken>> {
        let Some(deed) = self.faults.draw(chance, faults) else { return Ok(Ok(())) };
        self.record.step(deed.to_string());
        self.apply(&deed)?;
        // Sometimes everybody notices before the next command, sometimes nobody.
        if chance.percent(40) {
            thread::sleep(Duration::from_millis(chance.below(2500)));
        }
        let restarted = self.look_after_helper(&[deed])?;
        let quiet = self.expect_quiet()?;
        Ok(restarted.and(quiet))
    }

    fn mend_something(&mut self, chance: &mut Chance) -> Result<Result<(), Broken>> {
        let Some(deed) = self.faults.mend(chance) else { return Ok(Ok(())) };
        self.record.step(deed.to_string());
        self.apply(&deed)?;
        if chance.percent(50) && !self.faults.is_any() {
            Map::wait_for(&self.array, [true; PATHS])?;
        }
        if chance.percent(50) { self.expect_quiet() } else { Ok(Ok(())) }
    }

    pub fn apply(&mut self, deed: &Deed) -> Result<()> {
        match *deed {
            Deed::Remove(path) => {
                self.array.remove(path)?;
                self.known_stale.retain(|(stale, _)| *stale != path);
            }
            Deed::Add(path) => self.array.add(path)?,
            Deed::StartMultipathd => {
                self.map.multipathd.kill()?;
                self.map.multipathd.start_again()?;
            }
            _ => drop(self.reach()?.perform(deed)?),
        }
        self.faults.note(deed);
        Ok(())
    }

    /// After a kill: what is started by itself has its time, and the daemon is started by whoever started it.
    fn look_after_helper(&mut self, deeds: &[Deed]) -> Result<Result<(), Broken>> {
        let Some(guest) = &mut self.guest else { bail!("no helper") };
        if deeds.contains(&Deed::KillDaemon) {
            self.start_helper()?;
            return Ok(Ok(()));
        }
        if let Some(status) = guest.helper.ended()? {
            self.start_helper()?;
            return Ok(Err(Broken(Rule::InTime, format!("the daemon ended by itself: {status}"))));
        }
        if !deeds.iter().any(|deed| matches!(deed, Deed::KillChild(_))) {
            return Ok(Ok(()));
        }
        let started = Instant::now();
        loop {
            let (came, _) = self.send(&Request::read(InAction::ReadKeys), None)?;
            match came {
                Came::Answer(answer) if answer.status == Status::GOOD => return Ok(Ok(())),
                _ if started.elapsed() < GRACE => thread::sleep(Duration::from_millis(50)),
                // Nothing to be learned from a map without paths.
                _ if !(0..PATHS).any(|path| self.faults.is_usable(path)) => return Ok(Ok(())),
                _ => {
                    self.start_helper()?;
                    return Ok(Err(Broken(
                        Rule::InTime,
                        format!("{} s after a child was killed READ KEYS is answered {came}", GRACE.as_secs()),
                    )));
                }
            }
        }
    }

    fn start_helper(&mut self) -> Result<()> {
        if let Some(guest) = self.guest.take() {
            let family = family::descendants(guest.helper.pid())?;
            drop(guest);
            for pid in family {
                family::kill(pid)?;
            }
        }
        let log = File::options().create(true).append(true).open(&self.log)?;
        let helper = Helper::start_logging_to("adversary", &[], Stdio::from(log))?;
        self.guest = Some(Guest { helper, client: None });
        Ok(())
    }

    fn log_text(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Everything whole, no key, no reservation, nothing kept, nothing to report.
    pub fn reset(&mut self) -> Result<()> {
        self.faults.uncut()?;
        for path in 0..PATHS {
            self.array.add(path)?;
            self.array.path(path)?.set_state("running")?;
        }
        for second in [false, true] {
            self.array.set_access(second, super::array::Access::Optimized)?;
        }
        if self.faults.multipathd != Daemon::Running {
            if self.faults.multipathd == Daemon::Stopped {
                self.reach()?.perform(&Deed::ContinueMultipathd)?;
            } else {
                self.map.multipathd.kill()?;
                self.map.multipathd.start_again()?;
            }
        }
        self.faults.forget();
        let is_alive = match &mut self.guest {
            Some(guest) => guest.helper.ended()?.is_none(),
            None => false,
        };
        if !is_alive {
            self.start_helper()?;
        }
        self.map.resume()?;
        Map::wait_for(&self.array, [true; PATHS])?;
        for command in ["unsetprstatus", "unsetprkey"] {
            services::tell(&format!("{command} map {MAP}"))?;
        }
        // Whatever runs in the background has its time to notice.
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut empty = 0;
        while empty < 3 {
            if self.array.books()?.keys.is_empty() {
                empty += 1;
            } else {
                anyhow::ensure!(
                    Instant::now() < deadline,
                    "somebody registers again and again: {:x?}",
                    self.array.books()?
                );
                empty = 0;
                self.array.other.settle()?;
                let kind = ReservationType::WriteExclusive;
                let register = Act::new(OutAction::RegisterAndIgnoreExistingKey, 0, OTHER_KEY, kind);
                self.reach()?.perform(&Deed::Act(register))?;
                self.reach()?.perform(&Deed::Act(Act::new(OutAction::Clear, OTHER_KEY, 0, kind)))?;
            }
            thread::sleep(Duration::from_millis(30));
        }
        self.array.other.settle()?;
        for path in 0..PATHS {
            let path = self.array.path(path)?;
            wait::until("a path to be ready", Duration::from_secs(30), || Ok(path.settle().ok()))?;
        }
        // The helper may still owe the guest news of the last round.
        for _ in 0..=PATHS {
            let (answer, _) = self.guest(&Request::read(InAction::ReadKeys), None)?;
            if !is_attention(&answer) {
                break;
            }
        }
        self.disk = Disk::default();
        self.owed.clear();
        self.fenced = false;
        self.active = [true; PATHS];
        self.known_stale.clear();
        Ok(())
    }
}

fn is_attention(answer: &Answer) -> bool {
    answer.status == Status::CHECK_CONDITION && answer.sense.code().is_some_and(|code| code.key == SenseKey(6))
}

/// What is there, for a reader.
struct Seen<'a>(&'a Books, [bool; PATHS]);

impl std::fmt::Display for Seen<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(books, active) = self;
        f.write_str("the LUN has")?;
        for (path, active) in active.iter().enumerate() {
            let key = books.key(Nexus::Path(path)).map_or_else(|| "-".to_owned(), |key| format!("{key:x}"));
            write!(f, " {key}{}", if *active { "" } else { "(failed)" })?;
        }
        let other = books.key(Nexus::Other).map_or_else(|| "-".to_owned(), |key| format!("{key:x}"));
        write!(f, ", other {other}, ")?;
        match books.held {
            None => f.write_str("no reservation"),
            Some((by, kind, key)) => write!(f, "type {} of {by:?} with {key:x}", kind.code()),
        }
    }
}
