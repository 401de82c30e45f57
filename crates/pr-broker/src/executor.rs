//! The world as the map engine sees it: the paths of one map, device-mapper, multipathd, and a place that outlives the
//! process.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs::{self, File},
    io,
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use pr_device::{Number, sysfs};
use pr_multipath::{Budget, CommandResult, Io, Memory, Multipathd, Path, PathCommand, PathId, Untold};
use pr_sys::{dm, interrupt};
use scsi_persistent_reservations::{ReservationKey, SenseCode};

use super::{
    identity,
    lane::{self, Done, Lane},
    map::Map,
    multipathd, table,
};

/// How long the answer of one path is waited for. The kernel itself waits for seven seconds at the least.
const PATH: Duration = Duration::from_secs(6);

/// When a path that has not answered is asked whether it does at all, and how long that may take. Together they are no less
/// than what a path gets: only what may take longer is cut short.
const PROBE: Duration = Duration::from_secs(4);
const PROBED: Duration = Duration::from_secs(3);

/// What a path gets when the time for the command is over: what was begun has to be ended.
const LEAST: Duration = Duration::from_millis(250);

/// Nothing is sent whose answer could not be waited for as long as this.
const SHORTEST: Duration = Duration::from_millis(5);

/// How long the opening of paths is waited for. It takes a moment, or as long as the error handling of a host adapter; and
/// some seconds on a host with little time, where a hundred maps are used for the first time at once.
const OPENING: Duration = Duration::from_secs(5);

/// How long a map may be held back in all, whoever has to be waited for meanwhile: guests retry their I/O for so long.
const HELD: Duration = Duration::from_secs(1);

/// How much of that device-mapper may take to hold it back. It waits for I/O that is on its way.
const SUSPENDING: Duration = Duration::from_millis(500);

/// A moment for a path in transition, and for a multipathd that has not answered.
const MOMENT: Duration = Duration::from_millis(100);

/// How long multipathd is waited for when it may be back, which others wait for as well.
const AGAIN: Duration = Duration::from_millis(500);

/// How often the kernel is asked to let a map go on.
const RESUMES: u32 = 4;

/// What the thread needs that holds a map back.
const STACK: usize = 128 * 1024;

/// Where memory is kept, and whether the map may be held back in spite of what it says: an earlier attempt is still out.
pub type Keep = Box<dyn FnMut(&Memory, bool) + Send>;

/// One map's world.
pub struct Executor {
    map: Map,
    control: Option<Arc<File>>,
    lanes: BTreeMap<u64, Lane>,
    /// The paths that the map uses, as the engine saw them last, without those that it has failed since.
    active: Vec<u64>,
    to_done: Sender<Done>,
    done: Receiver<Done>,
    orders: u64,
    deadline: Instant,
    /// While the map is held back: when it has to go on.
    held: Option<Instant>,
    /// An attempt to hold the map back is out.
    suspending: Arc<AtomicBool>,
    /// What was kept last, if that attempt was out then.
    kept_meanwhile: Option<Memory>,
    keep: Keep,
    multipathd: multipathd::Daemon,
    /// multipathd did not answer the last time, and is not waited for again before it does.
    silent: bool,
    /// What an administrator should know, beside what the engine has to say.
    pub notes: Vec<String>,
    /// What explains a failure, and is no news where there is none.
    pub reasons: Vec<String>,
}

impl Executor {
    /// The world of a map.
    pub fn new(map: Map, keep: Keep) -> Self {
        let (to_done, done) = channel();
        let deadline = Instant::now();
        let lanes = BTreeMap::new();
        Self {
            map,
            control: None,
            lanes,
            active: Vec::new(),
            to_done,
            done,
            orders: 0,
            deadline,
            held: None,
            suspending: Arc::default(),
            kept_meanwhile: None,
            keep,
            multipathd: multipathd::Daemon::default(),
            silent: false,
            notes: Vec::new(),
            reasons: Vec::new(),
        }
    }

    /// A command begins, and should be over by then. A map that a predecessor has left suspended has waited already.
    pub fn begin(&mut self, deadline: Instant, is_held: bool) {
        self.deadline = deadline;
        self.held = is_held.then(|| Instant::now() + HELD);
        self.notes.clear();
        self.reasons.clear();
    }

    /// Whether an attempt to hold the map back is still out. Whoever carries it out lets the map go on by itself.
    pub fn is_suspending(&self) -> bool {
        self.suspending.load(Ordering::Acquire)
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// How long something may be waited for that usually takes no longer than this.
    fn within(&self, usual: Duration) -> Duration {
        self.held.map_or(usual, |until| usual.min(until.saturating_duration_since(Instant::now())))
    }

    fn number(&mut self) -> u64 {
        self.orders += 1;
        self.orders
    }

    /// Takes note of something, once.
    fn reason(&mut self, reason: String) {
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    /// device-mapper's control node, opened once it is there.
    fn control(&mut self) -> io::Result<&Arc<File>> {
        match &mut self.control {
            Some(control) => Ok(control),
            empty => {
                let control =
                    dm::control().map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", dm::CONTROL)))?;
                Ok(empty.insert(Arc::new(control)))
            }
        }
    }

    fn status(&mut self) -> io::Result<dm::Status> {
        let device = self.map.device;
        dm::status(self.control()?.as_fd(), device)?
            .filter(|status| status.target == "multipath")
            .ok_or_else(|| io::Error::other("it is no multipath map any more"))
    }

    fn table(&mut self) -> io::Result<Vec<table::TablePath>> {
        let text = self.status()?.text;
        table::parse(&text).ok_or_else(|| io::Error::other(format!("device-mapper says '{text}' of it")))
    }

    /// Takes what lanes have done meanwhile.
    fn settle(&mut self, done: Done) -> Option<(u64, Option<CommandResult>)> {
        // A lane that is none any more is of no interest.
        Some(self.lanes.get_mut(&done.device)?.settle(done))
    }

    fn settle_late(&mut self) {
        if !self.is_suspending()
            && let Some(memory) = self.kept_meanwhile.take()
        {
            (self.keep)(&memory, false);
        }
        while let Ok(done) = self.done.try_recv() {
            self.settle(done);
        }
    }

    /// The number that a path has now; what the engine calls it, if it is not there.
    fn device_of(&self, path: PathId) -> u64 {
        self.lanes.iter().find(|(_, lane)| lane.id == path).map_or(path.0, |(device, _)| *device)
    }

    /// Opens the paths that are not open; those that take too long are not.
    fn open(&mut self) {
        let numbers: Vec<u64> =
            self.lanes.iter().filter(|(_, lane)| lane.is_to_be_opened()).map(|(id, _)| *id).collect();
        let mut awaited = Vec::new();
        for device in numbers {
            let number = self.number();
            if self.lanes.get_mut(&device).is_some_and(|lane| lane.open(number)) {
                awaited.push(number);
            }
        }
        let deadline = Instant::now() + self.within(OPENING);
        while !awaited.is_empty() {
            match self.done.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(done) => {
                    if let Some((number, _)) = self.settle(done) {
                        awaited.retain(|awaited| *awaited != number);
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
    }

    fn limit(&self, budget: Budget) -> Duration {
        share(budget, self.left(), self.held.map(|until| until.saturating_duration_since(Instant::now())))
    }
}

/// A command that is out.
struct Awaited {
    number: u64,
    /// Which one of those that were to be sent.
    index: usize,
    device: u64,
    deadline: Instant,
    probe: Probe,
}

/// Whether a path that takes long answers at all: PREEMPT AND ABORT may have to wait for what it aborts, and a path that
/// hangs is not to cost all the time that such a command has.
enum Probe {
    /// To be asked then.
    At(Instant),
    /// Asked under this number; it hangs unless it answers until then.
    Out(u64, Instant),
}

impl Awaited {
    /// When something has to be done, unless there is an answer before.
    fn next(&self) -> Instant {
        let (Probe::At(next) | Probe::Out(_, next)) = self.probe;
        next.min(self.deadline)
    }

    fn is_over(&self, now: Instant) -> bool {
        self.deadline <= now || matches!(self.probe, Probe::Out(_, until) if until <= now)
    }
}

/// How long one command is waited for, of what is left for all: of the command's time, and of the second for which the
/// map may be held back.
fn share(budget: Budget, left: Duration, held: Option<Duration>) -> Duration {
    let usual = match budget {
        // Other paths are to have their turn, too.
        Budget::Path => PATH.min(left / 2),
        Budget::Command => left,
    };
    // What comes after this one, to give the key back, is to have its turn as well, whatever this one is.
    held.map_or(usual.max(LEAST), |held| usual.max(LEAST).min(held / 2))
}

/// Holds a map back. Where somebody else is at that (multipathd, which waits for I/O on a path in transition or one that
/// hangs) no signal ends the call, for the kernel waits in a lock. Nobody waits for it then; should the map be held back
/// after all, the thread that has made the call lets it go on.
fn suspend(control: &Arc<File>, device: u64, suspending: &Arc<AtomicBool>) -> io::Result<()> {
    let (control, is_out) = (Arc::clone(control), Arc::clone(suspending));
    let (done, ended) = sync_channel(0);
    suspending.store(true, Ordering::Release);
    let call = move || {
        let result = interrupt::within(SUSPENDING, || dm::suspend(control.as_fd(), device));
        let is_held = result.is_ok();
        if done.send(result).is_err() {
            if is_held {
                let _ = resume(&control, device);
            }
            is_out.store(false, Ordering::Release);
        }
    };
    let result = match thread::Builder::new().name("suspend".into()).stack_size(STACK).spawn(call) {
        // A call that a signal can end has a moment to do so.
        Ok(_) => ended.recv_timeout(SUSPENDING + MOMENT).ok(),
        Err(error) => Some(Err(error)),
    };
    if result.is_some() {
        suspending.store(false, Ordering::Release);
    }
    result.unwrap_or_else(|| Err(io::Error::other("somebody else is about to, and waits for I/O")))
}

/// Whether a block device is there. What cannot be looked at counts as there.
fn is_there(device: u64) -> bool {
    let link = fs::read_link(sysfs::block(device));
    !link.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Lets a map go on.
fn resume(control: &File, device: u64) -> io::Result<()> {
    let mut result = dm::resume(control.as_fd(), device);
    for _ in 1..RESUMES {
        if result.is_ok() {
            break;
        }
        thread::sleep(MOMENT);
        result = dm::resume(control.as_fd(), device);
    }
    result
}

impl Io for Executor {
    type Stop = Infallible;

    fn paths(&mut self) -> Result<Vec<Path>, Infallible> {
        let mut table = match self.table() {
            Ok(table) => table,
            Err(error) => {
                let name = &self.map.name;
                self.reason(format!("cannot read the paths of map {name}: {error}"));
                return Ok(Vec::new());
            }
        };
        self.settle_late();
        // A disk that was removed before this process looked, and that multipathd has not taken out of the map yet: nothing can
        // be sent to it, and nobody can tell any more who it was. Where it comes back it is another path.
        let is_known = |path: &table::TablePath| self.lanes.contains_key(&path.device);
        if !table.iter().all(is_known) && table.iter().any(|path| is_there(path.device)) {
            table.retain(|path| is_known(path) || is_there(path.device));
        }
        self.lanes.retain(|device, _| table.iter().any(|path| path.device == *device));
        for path in &table {
            // As long as its node is open no other disk gets its number (drivers/scsi/sd.c, scsi_disk_release).
            if self.lanes.get(&path.device).is_some_and(Lane::is_open) {
                continue;
            }
            let session = identity::of_session(path.device);
            // Another disk has the number now.
            if session.is_some_and(|id| self.lanes.get(&path.device).is_some_and(|lane| lane.id != id)) {
                self.lanes.remove(&path.device);
            }
            if !self.lanes.contains_key(&path.device) {
                let id = session.unwrap_or(PathId(path.device));
                match Lane::start(path.device, id, self.to_done.clone()) {
                    Ok(lane) => _ = self.lanes.insert(path.device, lane),
                    Err(error) => self.reason(format!("a path cannot be used: no thread for it: {error}")),
                }
            }
        }
        self.open();
        self.active = table.iter().filter(|path| path.active).map(|path| path.device).collect();
        let mut paths = Vec::with_capacity(table.len());
        for path in table {
            let lane = self.lanes.get(&path.device);
            let number = Number(path.device).to_string();
            paths.push(Path {
                id: lane.map_or(PathId(path.device), |lane| lane.id),
                name: lane.map_or_else(|| number.clone(), |lane| lane.name.clone()),
                active: path.active,
                open: lane.is_some_and(Lane::is_open),
                busy: lane.is_some_and(Lane::is_busy),
                identity: lane.map(|lane| lane.identity.clone()).unwrap_or_default(),
            });
            let why = lane.and_then(|lane| lane.closed.as_ref().map(|why| (lane.name.clone(), why.clone())));
            if let Some((name, why)) = why {
                self.reason(format!("path {name} cannot be opened: {why}"));
            }
        }
        Ok(paths)
    }

    fn send(&mut self, commands: &[PathCommand]) -> Result<Vec<CommandResult>, Infallible> {
        self.settle_late();
        let now = Instant::now();
        let mut results: Vec<CommandResult> =
            commands.iter().map(|_| CommandResult::unsent(SenseCode::NO_RESPONSE_TO_SELECTION)).collect();
        let mut awaited: Vec<Awaited> = Vec::new();
        for (index, command) in commands.iter().enumerate() {
            let (number, limit) = (self.number(), self.limit(command.budget));
            if limit < SHORTEST {
                self.reason("the map could not be held back any longer".to_owned());
                continue;
            }
            let device = self.device_of(command.path);
            let lane = self.lanes.get_mut(&device);
            if lane.is_some_and(|lane| lane.send(number, command.clone(), limit)) {
                let deadline = now + limit;
                let probe = Probe::At(if limit > PROBE + PROBED { now + PROBE } else { deadline });
                awaited.push(Awaited { number, index, device, deadline, probe });
            }
        }
        while let Some(next) = awaited.iter().map(Awaited::next).min() {
            match self.done.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(done) => {
                    let Some((number, Some(result))) = self.settle(done) else { continue };
                    let answers = result.is_from_device();
                    if let Some(at) = awaited.iter().position(|it| it.number == number) {
                        let Awaited { index, .. } = awaited.swap_remove(at);
                        results[index] = result;
                    }
                    // It answers: what is out on it takes long.
                    let of = |it: &&mut Awaited| matches!(it.probe, Probe::Out(probe, _) if probe == number);
                    if let Some(slow) = awaited.iter_mut().find(of)
                        && answers
                    {
                        slow.probe = Probe::At(Instant::now() + PROBE);
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    let now = Instant::now();
                    for Awaited { index, .. } in awaited.extract_if(.., |it| it.is_over(now)) {
                        results[index] = CommandResult::lost(SenseCode::COMMAND_TIMEOUT);
                    }
                    for it in awaited.iter_mut().filter(|it| matches!(it.probe, Probe::At(at) if at <= now)) {
                        let number = self.number();
                        lane::probe(it.device, number, self.to_done.clone(), PROBED);
                        it.probe = Probe::Out(number, now + PROBED);
                    }
                }
            }
        }
        Ok(results)
    }

    fn suspend(&mut self) -> Result<bool, Infallible> {
        let (device, name) = (self.map.device, self.map.name.clone());
        let is_free = match self.status() {
            Ok(status) => !status.suspended && !self.is_suspending(),
            Err(_) => false,
        };
        if !is_free {
            return Ok(false);
        }
        let Some(control) = &self.control else { return Ok(false) };
        let until = Instant::now() + HELD;
        match suspend(control, device, &self.suspending) {
            Ok(()) => {
                self.held = Some(until);
                Ok(true)
            }
            Err(error) => {
                self.notes.push(format!("map {name} cannot be suspended: {error}"));
                Ok(false)
            }
        }
    }

    fn resume(&mut self) -> Result<bool, Infallible> {
        let device = self.map.device;
        let result = self.control().and_then(|control| resume(control, device));
        self.held = None;
        if let Err(error) = &result {
            let name = &self.map.name;
            self.notes.push(format!("map {name} stays suspended: {error}; resume it (dmsetup resume {name})"));
        }
        Ok(result.is_ok())
    }

    fn fail_path(&mut self, path: PathId) -> Result<bool, Infallible> {
        let (map, device) = (self.map.device, self.device_of(path));
        let message = format!("fail_path {}", Number(device));
        let is_failed = self.control().and_then(|control| dm::message(control.as_fd(), map, &message)).is_ok();
        self.active.retain(|active| !is_failed || *active != device);
        Ok(is_failed)
    }

    fn multipathd(&mut self, order: Multipathd) -> Result<Result<(), Untold>, Infallible> {
        let usual = if self.silent { MOMENT } else { multipathd::PATIENCE };
        // The engine gives it a key that all paths have which the map uses.
        let registered: Vec<String> = match order {
            Multipathd::Register { .. } => self.active.iter().map(|device| Number(*device).to_string()).collect(),
            Multipathd::Forget | Multipathd::Hold(_) => Vec::new(),
        };
        let patience = self.within(usual);
        let told = self.multipathd.tell(&self.map, order, &registered, patience);
        self.silent = told.as_ref().is_err_and(|failure| failure.is_silent);
        Ok(told.map_err(|failure| failure.untold))
    }

    fn key_of_multipathd(&mut self) -> Result<Option<ReservationKey>, Infallible> {
        let key = self.multipathd.key_of(&self.map, AGAIN);
        self.silent &= key.is_none();
        Ok(key)
    }

    fn keep(&mut self, memory: &Memory) -> Result<(), Infallible> {
        let is_suspending = self.is_suspending();
        self.kept_meanwhile = is_suspending.then(|| memory.clone());
        (self.keep)(memory, is_suspending);
        Ok(())
    }

    fn wait(&mut self) -> Result<bool, Infallible> {
        if self.within(self.left()) <= MOMENT {
            return Ok(false);
        }
        thread::sleep(MOMENT);
        Ok(true)
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    #[test]
    fn a_path_gets_half_of_the_time_and_a_command_all_of_it() {
        let minute = Duration::from_secs(60);
        assert_eq!(share(Budget::Path, minute, None), PATH);
        assert_eq!(share(Budget::Path, Duration::from_secs(2), None), Duration::from_secs(1));
        assert_eq!(share(Budget::Command, minute, None), minute);
        assert_eq!(share(Budget::Path, Duration::ZERO, None), LEAST);
    }

    #[test]
    fn while_the_map_is_held_back_all_waits_together_end_within_its_second() {
        for budget in [Budget::Path, Budget::Command] {
            for left in [Duration::ZERO, Duration::from_secs(600)] {
                let (mut held, mut waits) = (HELD, 0);
                // Each takes all that it gets.
                loop {
                    let limit = share(budget, left, Some(held));
                    if limit < SHORTEST {
                        break;
                    }
                    held = held.checked_sub(limit).expect("never more than there is");
                    waits += 1;
                }
                assert!(waits > 3, "what gives the key back has its turn");
            }
        }
        assert_eq!(share(Budget::Command, Duration::ZERO, Some(Duration::ZERO)), Duration::ZERO);
    }
}
