//! A worker: the process that carries out the commands of one map, and looks after its paths while a key of its user's
//! is registered.
//!
//! Two threads take commands from the keeper, which gives a worker one of each kind at a time: either of them changes or
//! reads, so that reading does not wait for a change that takes long. The first thread of the process listens to
//! device-mapper and looks after the paths.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use pr_multipath::{Io as _, Memory, PathId, Step, User};
use pr_sys::{dm, process};
use rustix::{
    buffer::spare_capacity,
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};
use scsi_persistent_reservations::{Command, ReservationKey, SenseCode, Status};

use super::{
    executor::Executor,
    journal::{Counter, Journal, Slot},
    lock::{Broker, Held, MapLock},
    map::Map,
    message::{Answer, MAX_REQUEST, Request, What, Word},
    turn::Turn,
};

/// How long reading waits for a change. Most of them take some milliseconds, and what is read afterwards is certain.
const READING_WAITS: Duration = Duration::from_millis(300);

/// How often paths are looked at while a key is registered, whatever device-mapper says.
const LOOK: Duration = Duration::from_secs(5);

/// How often device-mapper is asked where it does not tell by itself.
const GLANCE: Duration = Duration::from_secs(1);

/// How soon they are looked at again where a predecessor has died and somebody else has the map.
const LOOKS_AGAIN: Duration = Duration::from_millis(100);

/// How long a look may take.
const LOOK_TAKES: Duration = Duration::from_secs(10);

/// Of a command's time this much is left for its answer to arrive, or a fifth where there is little.
const MARGIN: Duration = Duration::from_secs(2);

/// How often, and how long in between, the keeper is told something for which there is no room.
const SAYS: usize = 100;
const SAYS_AGAIN: Duration = Duration::from_millis(10);

/// One of each kind.
const COMMANDS: usize = 2;

/// What a thread does needs little.
const STACK: usize = 256 * 1024;

/// What is told of a change that other paths of ours see as well.
const OWN_DOING: [SenseCode; 3] =
    [SenseCode::RESERVATIONS_PREEMPTED, SenseCode::RESERVATIONS_RELEASED, SenseCode::REGISTRATIONS_PREEMPTED];

/// What all threads share.
struct Worker {
    map: Map,
    slot: Slot,
    journal: Journal,
    line: OwnedFd,
    /// What was kept last, for whoever does not wait for a change to end.
    kept: Arc<Mutex<Memory>>,
    /// A unit attention that reading met beside a change.
    news: Mutex<Option<[u8; 3]>>,
    stays: AtomicBool,
    state: Turn<State>,
    /// For reading beside a change.
    beside: Turn<Executor>,
}

/// Whoever has this may change the map.
struct State {
    memory: Memory,
    executor: Executor,
    lock: Option<Arc<MapLock>>,
    /// A predecessor has died, perhaps in the middle of something.
    recovers: bool,
}

/// A command.
struct Job {
    number: u32,
    request: Request,
    deadline: Instant,
}

/// Carries out commands until the keeper has none any more.
pub fn run(map: Map, line: OwnedFd, slot: Slot, journal: Journal, broker: &Result<Arc<Broker>, String>) {
    let found = slot.load();
    let recovers = found.is_some();
    let memory = found.unwrap_or_default();
    let mut writer = slot.writer();
    if !recovers {
        // From here on a successor looks, and gives up the lock that this process may leave.
        writer.store(&memory);
    }
    let lock = match broker {
        Ok(broker) => {
            let lock = MapLock::open(map.device, &map.uuid, Arc::clone(broker));
            lock.map(Arc::new).map_err(|error| error.to_string())
        }
        Err(error) => Err(error.clone()),
    };
    let kept = Arc::new(Mutex::new(memory.clone()));
    let keep = {
        let kept = Arc::clone(&kept);
        let lock = lock.as_ref().ok().map(Arc::clone);
        let mut was_suspending = false;
        Box::new(move |memory: &Memory, may_be_suspended: bool| {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if *kept == *memory && !may_be_suspended && !was_suspending {
                return;
            }
            was_suspending = may_be_suspended;
            memory.clone_into(&mut kept);
            drop(kept);
            let to_keep = Memory { suspended: memory.suspended || may_be_suspended, ..memory.clone() };
            writer.store(&to_keep);
            if let Some(lock) = &lock {
                lock.keep(to_keep);
            }
        })
    };
    let executor = Executor::new(map.clone(), keep);
    let complaint = lock
        .as_ref()
        .err()
        .map(|error| format!("other helpers of this host are not kept from using the map at the same time: {error}"));
    let worker = &Worker {
        stays: AtomicBool::new(stays(&memory)),
        slot,
        journal,
        line,
        kept,
        news: Mutex::new(None),
        state: Turn::new(State { memory, executor, lock: lock.ok(), recovers }),
        beside: Turn::new(Executor::new(map.clone(), Box::new(|_, _| {}))),
        map,
    };
    if let Some(complaint) = complaint {
        worker.say(What::Note(complaint));
    }
    thread::scope(|scope| {
        let start = |_| {
            let builder = thread::Builder::new().name("command".into()).stack_size(STACK);
            builder.spawn_scoped(scope, || worker.take_commands())
        };
        let started: io::Result<Vec<_>> = (0..COMMANDS).map(start).collect();
        match started {
            Ok(_) => worker.watch(recovers),
            // Without its threads it is of no use; the keeper starts another one. What has been started may wait for a
            // command for ever.
            Err(_) => process::exit_now(1),
        }
    });
}

/// Whether somebody has to look after a map.
fn stays(memory: &Memory) -> bool {
    matches!(memory.user, User::Registered(_)) || memory.is_unfinished()
}

impl Worker {
    /// Tells the keeper.
    fn say(&self, what: What) {
        let word = Word { stays: self.stays.load(Ordering::Acquire), what }.to_bytes();
        for _ in 0..SAYS {
            match send(&self.line, &word, SendFlags::NOSIGNAL) {
                // Without the keeper this process is about to end.
                Ok(_) | Err(Errno::PIPE | Errno::CONNRESET) => return,
                Err(Errno::INTR) => {}
                // There is no room for it now.
                Err(_) => thread::sleep(SAYS_AGAIN),
            }
        }
        // Whoever waits for this is not to wait for ever: a worker that died is something that the keeper knows about.
        process::exit_now(1);
    }

    /// Looks after the paths when device-mapper has events, and every few seconds, until the keeper is gone.
    fn watch(&self, recovers: bool) {
        // Whoever has the lock is at it, and a command that comes meanwhile sees to it as well.
        let mut is_due = recovers;
        while is_due && !self.look_after() {
            let moment = Timespec::try_from(LOOKS_AGAIN).ok();
            let mut set = [PollFd::new(&self.line, PollFlags::empty())];
            let _ = poll(&mut set, moment.as_ref());
            if !set[0].revents().is_empty() {
                return;
            }
            is_due = self.state.take(Instant::now()).is_none_or(|state| state.recovers);
        }
        let mut events = Events::new(self.map.device);
        let mut looked = Instant::now();
        loop {
            // Of a registration that is older than this program multipathd may know.
            let is_new = self.kept.lock().unwrap_or_else(PoisonError::into_inner).user == User::Unknown;
            let watches = is_new || self.stays.load(Ordering::Acquire);
            let Some(has_changed) = events.wait(&self.line, watches) else { return };
            if watches && (has_changed || looked.elapsed() >= LOOK) {
                looked = Instant::now();
                self.look_after();
            }
        }
    }

    /// Takes commands from the keeper until that has none any more.
    fn take_commands(&self) {
        let mut bytes = Vec::with_capacity(4 + MAX_REQUEST);
        loop {
            bytes.clear();
            match recv(&self.line, spare_capacity(&mut bytes), RecvFlags::empty()) {
                Ok((_, 1..)) => {}
                Err(Errno::INTR) => continue,
                Ok(_) | Err(_) => return,
            }
            let Some(job) = Job::parse(&bytes) else { continue };
            let answer = match job.request.cdb.command() {
                Command::Out(_) => self.carry_out(&job),
                Command::In(_) => self.read(&job),
            };
            self.say(What::Answer(job.number, answer));
        }
    }

    fn carry_out(&self, job: &Job) -> Answer {
        let over = || Answer::busy("it timed out before it could begin".to_owned());
        let Some(mut state) = self.state.take(job.deadline) else { return over() };
        if job.deadline <= Instant::now() {
            return over();
        }
        let lock = state.lock.clone();
        let held = match state.begin(lock.as_deref(), job.deadline, job.deadline) {
            Ok(held) => held,
            Err(why) => return Answer::busy(why),
        };
        let State { memory, executor, recovers, .. } = &mut *state;
        let to_restore = memory.to_restore();
        self.slot.begin(job.number);
        let mut notes = Vec::new();
        if std::mem::take(recovers) {
            let Ok(mut said) = pr_multipath::recover(executor, memory);
            notes.append(&mut said);
        }
        if let Some(news) = self.news.lock().unwrap_or_else(PoisonError::into_inner).take() {
            memory.news.get_or_insert(news);
        }
        let Ok(answer) = if job.request.only_recovers {
            Ok(pr_multipath::Answer::GOOD)
        } else {
            pr_multipath::execute(executor, memory, &job.request.cdb, &job.request.parameters)
        };
        self.end(held, &to_restore, memory, executor);
        answer_of(answer, notes, executor)
    }

    /// Looks after paths that came back, and after what a predecessor has left. False if somebody else has the map.
    fn look_after(&self) -> bool {
        // While a command is carried out its paths are looked at anyway; this comes again.
        let Some(mut state) = self.state.take(Instant::now() + LOOK_TAKES) else { return false };
        let lock = state.lock.clone();
        let now = Instant::now();
        let Ok(held) = state.begin(lock.as_deref(), now, now + LOOK_TAKES) else { return false };
        let State { memory, executor, recovers, .. } = &mut *state;
        let to_restore = memory.to_restore();
        let Ok(mut notes) = if std::mem::take(recovers) {
            pr_multipath::recover(executor, memory)
        } else {
            pr_multipath::reconcile(executor, memory)
        };
        self.end(held, &to_restore, memory, executor);
        notes.append(&mut executor.notes);
        drop(state);
        if notes.is_empty() {
            self.say(What::State);
        }
        for note in notes {
            self.say(What::Note(note));
        }
        true
    }

    /// Something is over: gives the lock up, unless something is left that only this broker can end.
    fn end(
        &self,
        held: Option<Held<'_>>,
        to_restore: &[(PathId, ReservationKey)],
        memory: &Memory,
        executor: &mut Executor,
    ) {
        self.journal.count(Counter::Restored, memory.restored(to_restore) as u64);
        let Ok(()) = executor.keep(memory);
        if let Some(held) = held {
            held.end(memory.step == Step::Idle && !memory.suspended);
        }
        let stays = stays(memory) || executor.is_suspending();
        self.stays.store(stays, Ordering::Release);
    }

    fn read(&self, job: &Job) -> Answer {
        let soon = job.deadline.min(Instant::now() + READING_WAITS);
        // What a change has begun is not for whoever reads to finish, without the lock.
        if let Some(mut state) = self.state.take(soon).filter(|state| state.memory.step == Step::Idle) {
            let lock = state.lock.clone();
            let State { memory, executor, .. } = &mut *state;
            executor.begin(job.deadline, false);
            let Ok(answer) = pr_multipath::execute(executor, memory, &job.request.cdb, &[]);
            if let Some(lock) = lock {
                lock.keep_if_free(memory);
            }
            return answer_of(answer, Vec::new(), executor);
        }
        match self.beside.take(job.deadline) {
            Some(mut beside) => self.read_beside(&mut beside, job),
            None => Answer::busy("it timed out before it could begin".to_owned()),
        }
    }

    /// Reads while something is being changed, with paths of its own.
    fn read_beside(&self, executor: &mut Executor, job: &Job) -> Answer {
        let mut memory = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // It is told with the next change.
        memory.news = None;
        // That change is under way, and not for this thread to finish.
        memory.step = Step::Idle;
        executor.begin(job.deadline, false);
        let mut read = || {
            let Ok(answer) = pr_multipath::execute(executor, &mut memory, &job.request.cdb, &[]);
            answer
        };
        let mut answer = read();
        // What the change itself brings about is no news to whoever asked for it.
        for _ in 0..OWN_DOING.len() {
            if !answer.sense.code().is_some_and(|code| OWN_DOING.contains(&code)) {
                break;
            }
            answer = read();
        }
        if let Some(news) = memory.news {
            self.news.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(news);
        }
        answer_of(answer, Vec::new(), executor)
    }
}

impl State {
    /// Something begins that should be over by the deadline: waits for the lock, if there is one, as long as there is
    /// patience. What the lock says of the map is taken note of.
    fn begin<'a>(
        &mut self,
        lock: Option<&'a MapLock>,
        patience: Instant,
        deadline: Instant,
    ) -> Result<Option<Held<'a>>, String> {
        let mut held = match lock.map(|lock| lock.hold(patience)).transpose() {
            Ok(None) => None,
            Ok(Some(Some(held))) => Some(held),
            Ok(Some(None)) => return Err("another helper of this host is changing the map".to_owned()),
            Err(error) => return Err(format!("cannot lock the map: {error}")),
        };
        if let Some(Held { memory: found @ Some(_), was_orphaned, .. }) = &mut held
            && let Some(found) = found.take()
        {
            // Another helper of this host had the map since, which has the same paths; or one that is no more, perhaps in the
            // middle of something.
            let news = self.memory.news;
            self.memory = found;
            self.memory.news = self.memory.news.or(news);
            self.recovers |= *was_orphaned || self.memory.step != Step::Idle;
        }
        self.recovers |= self.memory.suspended;
        self.executor.begin(deadline, self.memory.suspended);
        Ok(held)
    }
}

impl Job {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (number, request) = bytes.split_first_chunk()?;
        let request = Request::parse(request)?;
        let time = request.timeout.saturating_sub(MARGIN.min(request.timeout / 5));
        Some(Self { number: u32::from_le_bytes(*number), request, deadline: Instant::now() + time })
    }
}

/// An answer with all that there is to say about it.
fn answer_of(answer: pr_multipath::Answer, mut notes: Vec<String>, executor: &mut Executor) -> Answer {
    let pr_multipath::Answer { status, sense, data, notes: mut said } = answer;
    notes.append(&mut said);
    notes.append(&mut executor.notes);
    if status != Status::GOOD || !notes.is_empty() {
        notes.append(&mut executor.reasons);
    }
    Answer { status, sense, data, note: notes.join("; ") }
}

/// What device-mapper has to tell.
struct Events {
    map: u64,
    control: Option<File>,
    is_armed: bool,
    last: Option<u32>,
}

impl Events {
    fn new(map: u64) -> Self {
        Self { map, control: None, is_armed: false, last: None }
    }

    /// Waits until something has happened to the map, for some seconds at the most. Whether it has; `None` when the keeper
    /// is gone.
    fn wait(&mut self, line: &OwnedFd, watches: bool) -> Option<bool> {
        if watches && self.control.is_none() {
            self.control = dm::control().ok();
            self.arm();
        }
        let control = self.control.as_ref().filter(|_| watches && self.is_armed);
        // What the keeper says is for others; that it is gone is told in any case.
        let mut set = vec![PollFd::new(line, PollFlags::empty())];
        set.extend(control.map(|control| PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN)));
        // Whether there is something to watch is looked at as often as what is watched.
        let limit = Timespec::try_from(if control.is_some() { LOOK } else { GLANCE }).ok();
        let _ = poll(&mut set, limit.as_ref());
        if !set[0].revents().is_empty() {
            return None;
        }
        if !watches {
            return Some(false);
        }
        if set.get(1).is_some_and(|control| !control.revents().is_empty()) {
            self.arm();
        }
        Some(self.has_changed())
    }

    fn arm(&mut self) {
        self.is_armed = self.control.as_ref().is_some_and(|control| dm::arm(control.as_fd()).is_ok());
    }

    fn has_changed(&mut self) -> bool {
        let Some(control) = &self.control else { return false };
        let Ok(Some(status)) = dm::status(control.as_fd(), self.map) else { return false };
        self.last.replace(status.event) != Some(status.event)
    }
}
