//! Processes are killed at moments of chance, while the map is written to and commands come for it. Afterwards everything
//! has to be as the last GOOD said, without anybody's help; only a service manager starts again what it has started.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result, anyhow, bail, ensure};
use qemu_pr_protocol::Client;
use scsi_persistent_reservations::{InAction, Status};

use super::reserve::{KIND, hold};
use super::scene::{MAP, SETTLE, State};
use super::stage::Stage;
use super::{KEY, process};
use crate::helper::through;
use crate::random::Chance;
use crate::report::{Report, remark};
use crate::request::{Answer, Request};
use crate::wait;

/// How often somebody is killed.
const KILLS: usize = 10;
const KILLS_FOR_A_RELEASE: usize = 200;

/// The moment is drawn from the start of a round up to this. A command takes tens of milliseconds.
const MOMENT: u64 = 250;

/// How long commands go on after it, likewise.
const AFTERWARDS: u64 = 150;

/// Whose keys these are, they change all the time.
const KEYS: u64 = 0x6b00;

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    Worker,
    Keeper,
    Guard,
    Daemon,
    Multipathd,
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Victim::Worker => "the worker",
            Victim::Keeper => "the keeper",
            Victim::Guard => "the keeper's guard",
            Victim::Daemon => "the daemon",
            Victim::Multipathd => "multipathd",
        })
    }
}

impl Victim {
    /// Those that there are. The original has one process.
    pub fn all(reference: bool) -> &'static [Self] {
        if reference {
            &[Victim::Daemon, Victim::Multipathd]
        } else {
            &[Victim::Worker, Victim::Keeper, Victim::Guard, Victim::Daemon, Victim::Multipathd]
        }
    }

    /// Kills it. What a service manager has started it starts again.
    pub fn kill(self, stage: &mut Stage<'_>) -> Result<()> {
        match self {
            Victim::Worker => kill("qemu-pr-map"),
            Victim::Keeper => kill("qemu-pr-keeper"),
            Victim::Guard => kill("qemu-pr-broker"),
            Victim::Daemon => stage.restart(),
            Victim::Multipathd => {
                stage.scene.multipathd.kill()?;
                stage.scene.multipathd.start_again()
            }
        }
    }
}

/// Kills a process of the broker, as soon as there is one in the place of the last that was killed.
fn kill(name: &str) -> Result<()> {
    let victim = wait::until(&format!("{name} to run"), SETTLE, || process::of_broker(name))?;
    process::kill(victim.pid)
}

/// Reports what came of it all.
pub fn run(stage: &mut Stage<'_>, report: &mut Report, is_full: bool) {
    let kills = if is_full { KILLS_FOR_A_RELEASE } else { KILLS };
    let result = stage.scene.reset().context("the scene could not be reset").and_then(|()| {
        // Whenever multipathd starts and finds another table than it would have made, it loads that one and resumes the
        // map, whoever has suspended it: the reset has changed what happens when no path is left.
        stage.scene.multipathd.kill()?;
        stage.scene.multipathd.start_again()?;
        rounds(stage, kills)
    });
    stage.report(
        report,
        &format!("{kills} kills at any moment: no lost key, no failed write, no suspended map"),
        result,
    );
}

fn rounds(stage: &mut Stage<'_>, kills: usize) -> Result<()> {
    let mut chance = Chance(u64::from(std::process::id()));
    let mut client = Commander::new(stage, chance.below(u64::MAX))?;
    let writing = Writing::start(stage)?;
    let victims = Victim::all(stage.reference);
    let (mut faults, mut sent) = (Vec::new(), 0);
    hold(stage)?;
    for number in 0..kills {
        let victim = victims[number % victims.len()];
        let (before, after) = (chance.below(MOMENT), chance.below(AFTERWARDS));
        let round = round(stage, &mut client, victim, before, after).and_then(|()| writing.goes_on());
        sent += std::mem::take(&mut client.sent);
        if let Err(error) = round {
            let error = error.context(format!("kill {number}: {victim} after {before} ms"));
            remark(&format!("{error:#}"));
            faults.push(error);
            if stage.reference {
                break;
            }
            stage.scene.reset()?;
            client.start_over(KEY);
            hold(stage)?;
        }
    }
    let (writes, longest) = writing.end()?;
    remark(&format!("{kills} kills, {sent} commands, {writes} writes, of which the longest took {longest:?}"));
    match faults.pop() {
        None => Ok(()),
        Some(last) => Err(last.context(format!("{} of {kills} kills did harm; the last", faults.len() + 1))),
    }
}

/// Commands come; somebody is killed; commands still come; then everything has to be right.
fn round(stage: &mut Stage<'_>, client: &mut Commander, victim: Victim, before: u64, after: u64) -> Result<()> {
    let (kills, ends) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let commands = scope.spawn(|| client.go_on(&kills, &ends));
        thread::sleep(Duration::from_millis(before));
        kills.store(true, Ordering::Release);
        let killed = victim.kill(stage);
        thread::sleep(Duration::from_millis(after));
        ends.store(true, Ordering::Release);
        let commanded = commands.join().unwrap_or_else(|_| bail!("sending commands panicked"));
        killed.context("the kill").and(commanded)
    })?;
    client.key = healed(stage, &client.possible())?;
    client.other = None;
    Ok(())
}

/// Waits until every path has one key of these, which holds the reservation, and the map is not suspended; which key.
pub fn healed(stage: &Stage<'_>, keys: &[u64]) -> Result<u64> {
    // Of a helper without multipath there is nothing to wait for.
    let patience = if stage.reference { Duration::from_secs(5) } else { SETTLE };
    let mut last = String::new();
    let result = wait::until("everything to be right", patience, || {
        // A guest may be at it meanwhile, and a unit attention come between.
        let (found, suspended) = match stage.scene.state() {
            Ok(found) => (found, is_suspended()?),
            Err(error) => {
                last = format!("{error:#}");
                return Ok(None);
            }
        };
        let key = keys.iter().find(|key| found == State::registered(**key).held_by(**key, KIND));
        last = format!("{found:x?}, suspended: {suspended}");
        Ok(key.copied().filter(|_| !suspended))
    });
    result.with_context(|| format!("expected one of the keys {keys:x?} everywhere, came {last}"))
}

fn is_suspended() -> Result<bool> {
    let name = fs::canonicalize(Path::new("/dev/mapper").join(MAP))?;
    let name = name.file_name().context("a map has a name")?;
    Ok(fs::read_to_string(Path::new("/sys/block").join(name).join("dm/suspended"))?.trim() != "0")
}

/// Sends commands to the map as QEMU does, on a connection that it makes again when it has ended.
struct Commander {
    socket: PathBuf,
    map: File,
    line: Option<Client>,
    chance: Chance,
    /// The key of the last GOOD.
    key: u64,
    /// One that was to be registered after that, and nobody knows whether it was.
    other: Option<u64>,
    sent: usize,
}

impl Commander {
    fn new(stage: &Stage<'_>, seed: u64) -> Result<Self> {
        let (socket, map) = (stage.helper.socket().to_owned(), stage.scene.map.file.try_clone()?);
        Ok(Self { socket, map, line: None, chance: Chance(seed), key: KEY, other: None, sent: 0 })
    }

    fn start_over(&mut self, key: u64) {
        (self.key, self.other) = (key, None);
    }

    fn possible(&self) -> Vec<u64> {
        [self.key].into_iter().chain(self.other).collect()
    }

    /// Sends one after the other until it is told to end. Before the kill everything is GOOD; after it nothing conflicts.
    fn go_on(&mut self, kills: &AtomicBool, ends: &AtomicBool) -> Result<()> {
        self.line = None;
        while !ends.load(Ordering::Acquire) {
            let is_sound = !kills.load(Ordering::Acquire);
            let (request, key) = self.next();
            let answer = self.send(&request);
            self.sent += 1;
            match answer {
                Ok(Answer { status: Status::GOOD, .. }) if request.parameters.is_empty() => {}
                Ok(Answer { status: Status::GOOD, .. }) => self.start_over(key),
                Ok(answer) if answer.status == Status::RESERVATION_CONFLICT => {
                    bail!("{} with {:x?} and {key:#x}: {answer}", request.name, self.possible())
                }
                // The kill may have come between.
                Ok(answer) if is_sound && !kills.load(Ordering::Acquire) => {
                    bail!("{} before the kill: {answer}", request.name)
                }
                Err(error) if is_sound && !kills.load(Ordering::Acquire) => {
                    return Err(error.context("before the kill"));
                }
                Ok(_) | Err(_) => {
                    if key != self.key {
                        self.other = Some(key);
                    }
                    thread::sleep(Duration::from_millis(5));
                }
            }
        }
        Ok(())
    }

    /// The next command, and the key that is registered when it is GOOD.
    fn next(&mut self) -> (Request, u64) {
        if let Some(key) = self.other {
            return (Request::register_anyhow(key), key);
        }
        let key = self.key;
        let new = KEYS + 1 + self.chance.below(200);
        match self.chance.below(8) {
            0 | 1 => (Request::register(key, new), new),
            2 => (Request::register_anyhow(new), new),
            3 => (Request::reserve(key, KIND), key),
            4 => (Request::read(InAction::ReadKeys), key),
            _ => (Request::preempt(key, key, KIND), key),
        }
    }

    fn send(&mut self, request: &Request) -> Result<Answer> {
        let mut line = if let Some(line) = self.line.take() {
            line
        } else {
            let line = Client::connect(&self.socket).context("no connection")?;
            line.set_timeout(Some(SETTLE))?;
            line
        };
        let answer = through(&mut line, &self.map, request)?;
        self.line = Some(line);
        Ok(answer)
    }
}

/// Somebody who writes to the map all the time.
struct Writing {
    ends: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    errors: Receiver<Error>,
    thread: thread::JoinHandle<Duration>,
}

impl Writing {
    fn start(stage: &Stage<'_>) -> Result<Self> {
        let writer = stage.scene.map.writer()?;
        let (ends, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (sender, errors) = mpsc::channel();
        let (until, counter) = (Arc::clone(&ends), Arc::clone(&count));
        let thread = thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !until.load(Ordering::Acquire) {
                let started = Instant::now();
                if let Err(error) = writer.write() {
                    // Nobody listens any more if the check was given up.
                    let _ = sender.send(anyhow!("a write failed: {error}"));
                }
                longest = longest.max(started.elapsed());
                counter.fetch_add(1, Ordering::AcqRel);
                // One processor does it all.
                thread::sleep(Duration::from_millis(1));
            }
            longest
        });
        Ok(Self { ends, count, errors, thread })
    }

    /// Nothing has failed since this was asked last, and the next write ends.
    fn goes_on(&self) -> Result<()> {
        let before = self.count.load(Ordering::Acquire);
        wait::until("the next write to end", SETTLE, || {
            Ok((self.count.load(Ordering::Acquire) > before + 1).then_some(()))
        })?;
        match self.errors.try_iter().last() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Ends it; how many writes there were, and how long the longest took.
    fn end(self) -> Result<(usize, Duration)> {
        self.ends.store(true, Ordering::Release);
        let Ok(longest) = self.thread.join() else { bail!("writing panicked") };
        let writes = self.count.load(Ordering::Acquire);
        ensure!(writes > 0, "nothing was written");
        Ok((writes, longest))
    }
}
