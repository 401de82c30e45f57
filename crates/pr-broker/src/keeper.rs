//! The broker's own two processes. The guard starts the keeper, and starts another one should it die. The keeper takes
//! commands from the daemon and has workers carry them out, one for each map, and starts another worker for one that
//! died. Neither touches a device, so that nothing holds them up; what has to be known of a map is in the [`Journal`].
//!
//! Should the guard die, the keeper becomes the guard of another keeper.

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use pr_device::part;
use pr_multipath::Memory;
use pr_sys::{
    dm,
    process::{self, Fork},
};
use rustix::{
    buffer::spare_capacity,
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketFlags, SocketType, recv,
        recvmsg, send, socketpair,
    },
    process::{
        Pid, PidfdFlags, Resource, Signal, WaitId, WaitIdOptions, WaitOptions, getpid, getppid, getrlimit,
        kill_process, pidfd_open, set_child_subreaper, set_parent_process_death_signal, wait, waitid,
    },
    thread::set_name,
};
use scsi_persistent_reservations::{Command, SenseCode};

use super::{
    journal::{Counter, Journal, SLOTS, Slot},
    limits::Descriptors,
    lock::Broker,
    map::{Kind, Map, classify},
    message::{Answer, Figures, MAX_REQUEST, MAX_VERDICT, Report, Request, Verdict, What, Word},
    worker,
};

/// More commands than this for one map cannot be meant seriously: each connection has one at a time.
const MAX_QUEUE: usize = 4096;

/// A worker without a command and without a key to look after ends after this time.
const IDLE: Duration = Duration::from_secs(60);

/// A worker that is to end, because the daemon has, may take this long.
const ENDING: Duration = Duration::from_secs(10);

/// What a worker has begun it ends when the time is over, which takes it a moment more; the daemon waits a little longer
/// than this. Killed in the middle, it would leave that to another one.
const OVERTIME: Duration = Duration::from_secs(3);

/// A worker that is looking at its paths when a command comes may take this long until it says something. The look itself
/// takes ten seconds at the most.
const SILENCE: Duration = Duration::from_secs(15);

/// How long it is until a worker is started in the place of one that died: at once at first, and longer each time one
/// dies soon and without having carried out anything.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(10);

/// A keeper that died is replaced after this time, lest one that cannot live takes all of a processor.
const KEEPER_PAUSE: Duration = Duration::from_millis(20);

/// What all processes of the broker have from its start.
pub struct Means {
    journal: Journal,
    most_workers: usize,
    /// Who this is to the other helpers of the host, or why there is no telling them.
    broker: Result<Arc<Broker>, String>,
    /// Maps at which other brokers had something left to do: those of them that have died have left it to others.
    left: Vec<Map>,
}

impl Means {
    /// To be asked for before the filter is there, which rules out to ask for the limit.
    ///
    /// # Errors
    /// The system has no room for them.
    pub fn new(daemon: Descriptors) -> io::Result<Self> {
        let most_workers = daemon.most_workers(getrlimit(Resource::Nofile).current);
        Ok(Self { journal: Journal::new()?, most_workers, broker: Err(String::new()), left: Vec::new() })
    }

    /// The same, known to the other helpers of the host. Where that cannot be, they serve all the same.
    fn announced(&self) -> Self {
        let broker = Broker::new().map(Arc::new).map_err(|error| error.to_string());
        let left = Broker::left().unwrap_or_default().into_iter();
        // One that is no more, or another one, has nothing to do with it.
        let left = left.map(|(device, uuid)| (Map::numbered(device), uuid)).filter(|(map, uuid)| map.uuid == *uuid);
        let left = left.map(|(map, _)| map).collect();
        Self { journal: self.journal, most_workers: self.most_workers, broker, left }
    }
}

/// Serves the daemon at the other end of the line until it is gone and all that was under way is done.
pub fn serve(line: &OwnedFd, means: &Means) {
    guard(line, &means.announced(), None);
}

/// Starts keepers, each when the one before has died, until one has nothing left to do.
fn guard(line: &OwnedFd, means: &Means, mut keeper: Option<Pid>) {
    // Workers whose keeper has died become children of this process, which sees them end.
    let _ = set_child_subreaper(Some(getpid()));
    loop {
        let pid = match keeper.take() {
            Some(pid) => pid,
            None => match process::fork() {
                Ok(Fork::Parent(pid)) => pid,
                Ok(Fork::Child) => {
                    Keeper::new(line, means).run();
                    process::exit_now(0);
                }
                Err(_) => {
                    thread::sleep(LAST_PAUSE);
                    continue;
                }
            },
        };
        if ends_well(pid) {
            return;
        }
        means.journal.count(Counter::Deaths, 1);
        thread::sleep(KEEPER_PAUSE);
    }
}

/// Waits for the end of a keeper, and for that of every other child meanwhile; whether it had nothing left to do.
fn ends_well(keeper: Pid) -> bool {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == keeper => return status.exit_status() == Some(0),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::CHILD) => return false,
            Err(_) => thread::sleep(KEEPER_PAUSE),
        }
    }
}

/// What the keeper knows. All of it may be lost.
struct Keeper<'a> {
    line: &'a OwnedFd,
    is_open: bool,
    means: &'a Means,
    guard: Option<OwnedFd>,
    control: Option<File>,
    maps: HashMap<u64, Keeping>,
    numbers: u32,
    /// What the daemon was told last.
    told: Figures,
    /// Room for a command.
    room: Box<[u8; MAX_REQUEST]>,
}

/// A map that commands came for.
struct Keeping {
    map: Map,
    slot: Slot,
    changes: VecDeque<Job>,
    reads: VecDeque<Job>,
    worker: Option<Worker>,
    /// Somebody has to look after the map, whether there are commands or not.
    stays: bool,
    /// The map was left suspended.
    is_suspended: bool,
    since: Instant,
    /// Before then no worker is started, and no command given to one.
    starts: Instant,
    pause: Duration,
}

/// A worker that runs.
struct Worker {
    pid: Pid,
    process: OwnedFd,
    /// Gone when the worker is to end.
    line: Option<OwnedFd>,
    change: Hand,
    read: Hand,
    started: Instant,
    /// It has carried a command out.
    is_sound: bool,
    /// It is killed then, unless it has ended.
    ends: Option<Instant>,
}

/// The commands of one kind that a worker has.
#[derive(Default)]
struct Hand {
    job: Option<Job>,
    /// One whose time was over before it had begun, and since when there has been no word of it.
    silent: Option<(u32, Instant)>,
}

impl Hand {
    const fn is_empty(&self) -> bool {
        self.job.is_none() && self.silent.is_none()
    }

    /// Takes note that a command was answered; the command, if somebody waits for it still.
    fn answered(&mut self, number: u32) -> Option<Job> {
        self.silent.take_if(|(silent, _)| *silent == number);
        self.job.take_if(|job| job.number == number)
    }

    /// When something has to be done about it.
    fn due(&self) -> impl Iterator<Item = Instant> {
        let job = self.job.as_ref().map(|job| job.deadline + OVERTIME);
        job.into_iter().chain(self.silent.map(|(_, since)| since + SILENCE))
    }

    /// Answers what takes too long; whether the worker has to be killed for it.
    fn expire(&mut self, slot: Slot, now: Instant) -> bool {
        let mut kills = self.silent.is_some_and(|(_, since)| since + SILENCE <= now);
        if let Some(job) = self.job.take_if(|job| job.deadline + OVERTIME <= now) {
            if slot.has_begun(job.number) {
                kills = true;
            } else {
                // The worker sees that its time is over when it comes to it.
                self.silent.get_or_insert((job.number, now));
            }
            job.answer(&Verdict::Overdue);
        }
        kills
    }
}

/// A command on its way.
struct Job {
    number: u32,
    request: Request,
    reply: OwnedFd,
    deadline: Instant,
    /// A worker has died of it, or with it.
    again: bool,
}

impl Job {
    fn is_change(&self) -> bool {
        matches!(self.request.cdb.command(), Command::Out(_))
    }

    /// Says what came of it.
    fn answer(self, verdict: &Verdict) {
        // The daemon made this pipe for one verdict; if it does not wait any more, so be it.
        while let Err(Errno::INTR) = rustix::io::write(&self.reply, &verdict.to_bytes()) {}
    }
}

impl<'a> Keeper<'a> {
    fn new(line: &'a OwnedFd, means: &'a Means) -> Self {
        let _ = set_name(c"qemu-pr-keeper");
        let mut keeper = Self {
            line,
            is_open: true,
            means,
            guard: None,
            control: None,
            maps: HashMap::new(),
            numbers: 0,
            told: Figures::default(),
            room: Box::new([0; MAX_REQUEST]),
        };
        keeper.find_guard();
        // What a keeper before this one has left.
        for (device, slot) in means.journal.used() {
            keeper.keep(Map::numbered(device), slot);
        }
        for map in &means.left {
            if let Some(slot) = means.journal.slot(map.device) {
                // A worker that finds something takes the lock, and looks at what that says.
                if slot.load().is_none() {
                    slot.store(&Memory::default());
                }
                keeper.keep(map.clone(), slot);
            }
        }
        keeper
    }

    fn find_guard(&mut self) {
        self.guard = getppid().and_then(|guard| pidfd_open(guard, PidfdFlags::empty()).ok());
    }

    fn keep(&mut self, map: Map, slot: Slot) -> &mut Keeping {
        let now = Instant::now();
        self.maps.entry(map.device).or_insert_with(|| {
            let left = slot.load();
            Keeping {
                map,
                slot,
                changes: VecDeque::new(),
                reads: VecDeque::new(),
                worker: None,
                stays: left.is_some(),
                is_suspended: left.is_some_and(|memory| memory.suspended),
                since: now,
                starts: now,
                pause: FIRST_PAUSE,
            }
        })
    }

    /// Does its work until the daemon is gone, and no worker is left.
    fn run(mut self) {
        while self.is_open || self.maps.values().any(|kept| kept.worker.is_some()) {
            let wakes = self.wait();
            if wakes.guard {
                self.replace_guard();
            }
            for (device, has_ended) in wakes.workers {
                self.hear(device, has_ended);
                if has_ended {
                    self.reap(device);
                }
            }
            if self.is_open && wakes.line {
                self.take();
            }
            self.expire();
            match self.start() {
                0 => {}
                missing => self.make_room(missing),
            }
            self.hand_out();
            self.let_go();
            self.tell_figures();
        }
    }

    /// Tells the daemon how the maps are, if that has changed.
    fn tell_figures(&mut self) {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let figures = Figures {
            maps: number(self.maps.len()),
            suspended: number(self.maps.values().filter(|kept| kept.is_suspended).count()),
            deaths: self.means.journal.counted(Counter::Deaths),
            restored: self.means.journal.counted(Counter::Restored),
        };
        // Where there is no room for it now, there is the next time.
        if figures != self.told && tell(self.line, &Report::Figures(figures)) {
            self.told = figures;
        }
    }

    /// Waits until something happens or is due.
    fn wait(&self) -> Wakes {
        let mut set = vec![PollFd::new(self.line, if self.is_open { PollFlags::IN } else { PollFlags::empty() })];
        if let Some(guard) = &self.guard {
            set.push(PollFd::new(guard, PollFlags::IN));
        }
        let mut owners = Vec::new();
        let mut next: Option<Instant> = None;
        let mut due = |at: Instant| next = Some(next.map_or(at, |next| next.min(at)));
        for (device, kept) in &self.maps {
            kept.changes.iter().chain(&kept.reads).for_each(|job| due(job.deadline));
            match &kept.worker {
                Some(worker) => {
                    set.push(PollFd::new(&worker.process, PollFlags::IN));
                    owners.push((*device, true));
                    if let Some(line) = &worker.line {
                        set.push(PollFd::new(line, PollFlags::IN));
                        owners.push((*device, false));
                    }
                    worker.change.due().chain(worker.read.due()).for_each(&mut due);
                    worker.ends.iter().for_each(|ends| due(*ends));
                    if kept.starts > Instant::now() {
                        due(kept.starts);
                    }
                    if kept.is_idle() {
                        due(kept.since + IDLE);
                    }
                }
                None if kept.is_wanted(self.is_open) && self.has_room() => due(kept.starts),
                None => {}
            }
        }
        // A little past it, or it would not have passed.
        let timeout = next.map(|next| next.saturating_duration_since(Instant::now()) + Duration::from_millis(1));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        if !self.is_open {
            set.remove(0);
        }
        let woken = poll(&mut set, timeout.as_ref()).is_ok();
        let first = usize::from(self.is_open);
        let ready = |at: usize| woken && set.get(at).is_some_and(|fd| !fd.revents().is_empty());
        let (line, guard) = (self.is_open && ready(0), self.guard.is_some() && ready(first));
        let first = first + usize::from(self.guard.is_some());
        let mut workers: Vec<_> = (first..).zip(owners).filter(|(at, _)| ready(*at)).map(|(_, owner)| owner).collect();
        // One that has said something and ended is there twice.
        workers.dedup_by_key(|(device, _)| *device);
        Wakes { line, guard, workers }
    }

    /// The guard has died: this process becomes one, and a child of it goes on.
    fn replace_guard(&mut self) {
        match process::fork() {
            Ok(Fork::Child) => self.find_guard(),
            Ok(Fork::Parent(pid)) => {
                // The other keeper's are the only ones that may be left of these.
                self.maps.clear();
                self.means.journal.count(Counter::Deaths, 1);
                (self.guard, self.control) = (None, None);
                let _ = set_name(c"qemu-pr-broker");
                guard(self.line, self.means, Some(pid));
                process::exit_now(0)
            }
            // Then without, until the next time.
            Err(_) => self.guard = None,
        }
    }

    /// Takes what a worker says: one thing, or all of it.
    fn hear(&mut self, device: u64, all: bool) {
        let Some(kept) = self.maps.get_mut(&device) else { return };
        let Some(Worker { line: Some(line), change, read, is_sound, .. }) = &mut kept.worker else { return };
        let mut bytes = Vec::with_capacity(MAX_VERDICT);
        loop {
            bytes.clear();
            match recv(&*line, spare_capacity(&mut bytes), RecvFlags::DONTWAIT) {
                Ok((_, 1..)) => {}
                Err(Errno::INTR) => continue,
                Ok(_) | Err(_) => break,
            }
            let Some(Word { stays, what }) = Word::parse(&bytes) else { continue };
            (kept.stays, kept.since) = (stays, Instant::now());
            let mut may_have_changed = true;
            match what {
                What::State => {}
                What::Note(words) => {
                    tell(self.line, &Report::Note { map: device, words });
                }
                What::Answer(number, answer) => {
                    *is_sound = true;
                    let job = [&mut *change, &mut *read].into_iter().find_map(|hand| hand.answered(number));
                    if let Some(job) = job {
                        may_have_changed = job.is_change();
                        job.answer(&Verdict::Answered(answer));
                    }
                }
            }
            // A change that is under way may have the map suspended, for a moment.
            if may_have_changed && change.is_empty() {
                kept.is_suspended = kept.slot.left_suspended();
            }
            if !all {
                break;
            }
        }
    }

    /// Sees to a worker that may have ended.
    fn reap(&mut self, device: u64) {
        let now = Instant::now();
        let Some(kept) = self.maps.get_mut(&device) else { return };
        let Some(how) = kept.worker.as_ref().and_then(Worker::ended) else { return };
        let Some(worker) = kept.worker.take() else { return };
        // What changed nothing, and what was not begun, is another one's to do.
        match worker.change.job {
            Some(job) if job.again || kept.slot.has_begun(job.number) => job.answer(&Verdict::Died(how.clone())),
            Some(job) => kept.changes.push_front(Job { again: true, ..job }),
            None => {}
        }
        match worker.read.job {
            Some(job) if job.again => job.answer(&Verdict::Died(how)),
            Some(job) => kept.reads.push_front(Job { again: true, ..job }),
            None => {}
        }
        let was_to_end = worker.line.is_none();
        if was_to_end && !kept.stays {
            return;
        }
        // Whatever it was at, another one has to look.
        kept.stays = true;
        kept.is_suspended = kept.slot.left_suspended();
        self.means.journal.count(Counter::Deaths, 1);
        let is_sound = worker.is_sound || worker.started.elapsed() > SOON;
        kept.pause = if is_sound { FIRST_PAUSE } else { (kept.pause * 2).min(LAST_PAUSE) };
        kept.starts = now + kept.pause;
    }

    /// Takes commands from the daemon.
    fn take(&mut self) {
        loop {
            match receive(self.line, &mut self.room) {
                Ok(Some((request, device, reply))) => self.queue(request, &device, reply),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::OutOfMemory
                    ) =>
                {
                    return;
                }
                // A message that makes no sense is lost with its descriptors; whoever sent it sees its pipe end.
                Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::ConnectionReset) => {}
                // The daemon is gone, and with it every client; or the socket is of no use any more, and asking it again
                // would never end. What has not begun is not wanted any more.
                Ok(None) | Err(_) => {
                    self.is_open = false;
                    for kept in self.maps.values_mut() {
                        kept.changes.clear();
                        kept.reads.clear();
                    }
                    return;
                }
            }
        }
    }

    fn queue(&mut self, request: Request, device: &OwnedFd, reply: OwnedFd) {
        self.numbers = self.numbers.wrapping_add(1);
        let deadline = Instant::now() + request.timeout;
        let job = Job { number: self.numbers, request, reply, deadline, again: false };
        if self.control.is_none() {
            self.control = dm::control().ok();
        }
        let map = match classify(device.as_fd(), self.control.as_ref()) {
            Ok(Kind::Map(map)) => map,
            Ok(Kind::OnMap(name)) if job.is_change() => {
                let note = format!(
                    "the disk is a part of map {name}, and the command would reach one path of it only; \
                     give the guest the whole map"
                );
                let refusal = Answer::check(SenseCode::INVALID_OPERATION_CODE, note);
                return job.answer(&Verdict::Answered(refusal));
            }
            Ok(Kind::Other) if job.is_change() => {
                let verdict = match part::look_up(device.as_fd()) {
                    Ok(None) => Verdict::NotMultipath,
                    Ok(Some(reason)) => Verdict::Part(reason),
                    Err(error) => Verdict::NotBegun(format!("cannot tell whether this is a part of a disk: {error}")),
                };
                return job.answer(&verdict);
            }
            Ok(Kind::OnMap(_) | Kind::Other) => return job.answer(&Verdict::NotMultipath),
            Err(error) => {
                return job.answer(&Verdict::NotBegun(format!("cannot tell whether this is a map: {error}")));
            }
        };
        let Some(slot) = self.means.journal.slot(map.device) else {
            return job.answer(&Verdict::NotBegun(format!("more than {SLOTS} maps are in use")));
        };
        let kept = self.keep(map, slot);
        let queue = if job.is_change() { &mut kept.changes } else { &mut kept.reads };
        if queue.len() >= MAX_QUEUE {
            return job.answer(&Verdict::NotBegun("too many commands wait for this map".to_owned()));
        }
        queue.push_back(job);
    }

    /// Answers what takes too long, and kills the worker that does not come to an end with it.
    fn expire(&mut self) {
        let now = Instant::now();
        for kept in self.maps.values_mut() {
            for queue in [&mut kept.changes, &mut kept.reads] {
                let (late, in_time) = std::mem::take(queue).into_iter().partition(|job| job.deadline <= now);
                *queue = in_time;
                VecDeque::into_iter(late).for_each(|job| job.answer(&Verdict::Overdue));
            }
            let Some(worker) = &mut kept.worker else { continue };
            let (change, read) = (worker.change.expire(kept.slot, now), worker.read.expire(kept.slot, now));
            if change || read || worker.ends.is_some_and(|ends| ends <= now) {
                // Its process number is its own until it is reaped.
                let _ = kill_process(worker.pid, Signal::KILL);
                worker.ends = None;
                (worker.change.silent, worker.read.silent) = (None, None);
                kept.stays = true;
            }
        }
    }

    fn has_room(&self) -> bool {
        self.maps.values().filter(|kept| kept.worker.is_some()).count() < self.means.most_workers
    }

    /// Starts the workers that are wanted, as far as there is room for them: first where something is left to do, then
    /// where it has to be done soonest. Returns how many are not started for want of room.
    fn start(&mut self) -> usize {
        let now = Instant::now();
        let is_open = self.is_open;
        let running = self.maps.values().filter(|kept| kept.worker.is_some()).count();
        let mut room = self.means.most_workers.saturating_sub(running);
        let is_due = |kept: &&mut Keeping| kept.worker.is_none() && kept.starts <= now && kept.is_wanted(is_open);
        let mut due: Vec<&mut Keeping> = self.maps.values_mut().filter(is_due).collect();
        due.sort_by_key(|kept| (!kept.stays, kept.deadline()));
        let mut missing = 0;
        for kept in due {
            if room == 0 {
                missing += 1;
                continue;
            }
            match start(&kept.map, kept.slot, self.means) {
                Ok(worker) => (kept.worker, kept.since, room) = (Some(worker), now, room - 1),
                Err(error) => {
                    kept.refuse(&format!("no worker can be started: {error}"));
                    kept.starts = now + LAST_PAUSE;
                }
            }
        }
        missing
    }

    /// Has workers end that only wait for more to do, for others that have to be started. Where all have to stay there is
    /// nothing to be waited for.
    fn make_room(&mut self, missing: usize) {
        let most = self.means.most_workers;
        for kept in self.maps.values_mut().filter(|kept| kept.is_idle()).take(missing) {
            kept.end_worker();
        }
        let comes = |kept: &Keeping| kept.worker.as_ref().is_some_and(|worker| worker.is_at_work() || !kept.stays);
        if self.maps.values().any(comes) {
            return;
        }
        for kept in self.maps.values_mut().filter(|kept| kept.worker.is_none()) {
            kept.refuse(&format!(
                "keys are registered on {most} maps, and there are no file descriptors for more; raise the limit of open \
                 files (LimitNOFILE= in the unit)"
            ));
        }
    }

    /// Gives each worker the next command of a kind that it has none of.
    fn hand_out(&mut self) {
        let now = Instant::now();
        for kept in self.maps.values_mut().filter(|kept| kept.starts <= now) {
            let Some(Worker { line: Some(line), change, read, .. }) = &mut kept.worker else { continue };
            for (queue, hand) in [(&mut kept.changes, change), (&mut kept.reads, read)] {
                if hand.job.is_some() {
                    continue;
                }
                let Some(job) = queue.pop_front() else { continue };
                let timeout = job.deadline.saturating_duration_since(now);
                let request = Request { timeout, ..job.request.clone() }.to_bytes();
                let bytes = [&job.number.to_le_bytes()[..], &request].concat();
                if send(&*line, &bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).is_ok() {
                    hand.job = Some(job);
                } else {
                    // It has ended, which is seen soon, or there is no room for it now.
                    queue.push_front(job);
                    kept.starts = now + FIRST_PAUSE;
                }
                kept.since = now;
            }
        }
    }

    /// Lets workers end that nobody needs, and forgets their maps when they have.
    fn let_go(&mut self) {
        let is_open = self.is_open;
        let now = Instant::now();
        for kept in self.maps.values_mut() {
            let is_due = kept.is_idle() && now >= kept.since + IDLE;
            if let Some(worker) = &kept.worker
                && worker.line.is_some()
                && (is_due || !is_open && !worker.is_at_work())
            {
                kept.end_worker();
            }
        }
        self.maps.retain(|_, kept| {
            let is_needed = kept.worker.is_some() || kept.is_wanted(is_open);
            if !is_needed {
                kept.slot.free();
            }
            is_needed
        });
    }
}

/// What has something for the keeper.
struct Wakes {
    line: bool,
    guard: bool,
    /// The maps whose workers say something, and whether they have ended.
    workers: Vec<(u64, bool)>,
}

impl Keeping {
    /// There is nothing to do, and nobody to look after.
    fn is_idle(&self) -> bool {
        let has_none = |worker: &Worker| !worker.is_at_work() && worker.line.is_some();
        !self.stays && self.changes.is_empty() && self.reads.is_empty() && self.worker.as_ref().is_some_and(has_none)
    }

    /// There is something to do for a worker.
    fn is_wanted(&self, is_open: bool) -> bool {
        is_open && (self.stays || !self.changes.is_empty() || !self.reads.is_empty())
    }

    /// When the first of the commands that wait has to be done.
    fn deadline(&self) -> Option<Instant> {
        self.changes.iter().chain(&self.reads).map(|job| job.deadline).min()
    }

    /// Answers the commands that wait.
    fn refuse(&mut self, why: &str) {
        for job in self.changes.drain(..).chain(self.reads.drain(..)) {
            job.answer(&Verdict::NotBegun(why.to_owned()));
        }
    }

    fn end_worker(&mut self) {
        if let Some(worker) = &mut self.worker {
            worker.line = None;
            worker.ends = Some(Instant::now() + ENDING);
        }
    }
}

impl Worker {
    fn is_at_work(&self) -> bool {
        !self.change.is_empty() || !self.read.is_empty()
    }

    /// How it ended, if it has.
    fn ended(&self) -> Option<String> {
        match waitid(WaitId::PidFd(self.process.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(None) | Err(Errno::INTR) => None,
            Ok(Some(status)) => Some(match (status.exit_status(), status.terminating_signal()) {
                (_, Some(signal)) => format!("died of signal {signal}"),
                (Some(code), _) => format!("exited with {code}"),
                _ => "ended".to_owned(),
            }),
            // The child of a keeper before this one; its guard has seen to it.
            Err(Errno::CHILD) => {
                let now = Timespec { tv_sec: 0, tv_nsec: 0 };
                let ended = poll(&mut [PollFd::new(&self.process, PollFlags::IN)], Some(&now));
                (ended == Ok(1)).then(|| "ended".to_owned())
            }
            Err(error) => Some(format!("cannot be waited for: {error}")),
        }
    }
}

/// Tells the daemon; false if there is no room for it now.
fn tell(line: &OwnedFd, report: &Report) -> bool {
    send(line, &report.to_bytes(), SendFlags::NOSIGNAL | SendFlags::DONTWAIT).is_ok()
}

/// Starts a worker.
fn start(map: &Map, slot: Slot, means: &Means) -> io::Result<Worker> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let keeper = getpid();
    let pid = match process::fork()? {
        Fork::Child => {
            // What others have open is none of its business; and without its keeper it is of no use.
            let presence = means.broker.as_ref().ok().map(|broker| broker.descriptor());
            let keep: Vec<_> = [Some(theirs.as_fd()), presence].into_iter().flatten().collect();
            let ready = process::close_all_but(&keep).is_ok()
                && set_parent_process_death_signal(Some(Signal::KILL)).is_ok()
                && getppid() == Some(keeper);
            let _ = set_name(c"qemu-pr-map");
            if ready {
                worker::run(map.clone(), theirs, slot, means.journal, &means.broker);
            }
            process::exit_now(u8::from(!ready))
        }
        Fork::Parent(pid) => pid,
    };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => Ok(Worker {
            pid,
            process,
            line: Some(ours),
            change: Hand::default(),
            read: Hand::default(),
            started: Instant::now(),
            is_sound: false,
            ends: None,
        }),
        Err(error) => {
            // Without it the worker's end could not be seen.
            let _ = kill_process(pid, Signal::KILL);
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
            Err(error.into())
        }
    }
}

/// One message from the daemon; `None` when it is gone.
pub fn receive(line: &OwnedFd, room: &mut [u8; MAX_REQUEST]) -> io::Result<Option<(Request, OwnedFd, OwnedFd)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let length = recvmsg(line, &mut [io::IoSliceMut::new(room)], &mut ancillary, flags)?.bytes;
    if length == 0 {
        return Ok(None);
    }
    let mut descriptors = ancillary.drain().flat_map(|message| {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message { descriptors.collect() } else { Vec::new() }
    });
    match (Request::parse(&room[..length]), descriptors.next(), descriptors.next()) {
        (Some(request), Some(device), Some(reply)) => Ok(Some((request, device, reply))),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_is_of_no_use_ends_the_keeper() {
        let line = File::open("/dev/null").unwrap().into();
        Keeper::new(&line, &Means::new(Descriptors { own: 56, each: 3 }).unwrap()).run();
    }
}
