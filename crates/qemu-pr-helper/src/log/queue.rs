//! The queue, and the thread that empties it.
//!
//! An entry is added to a vector under a lock that is never held for long; the thread swaps the vector for an empty one
//! and writes what it got in one go. It alone may be held up by a full pipe, a full disk or a journal that does not read.
//! What does not fit meanwhile is counted, and reported as soon as something can be written.
//!
//! No source fills the queue for others: when it is full, the source with most entries in it (first by user, then by
//! process) makes room, so that each of n sources has an n-th of it for certain.

use std::{
    collections::{BTreeMap, btree_map},
    io,
    sync::{
        Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    format::Level,
    output::{self, Output},
};
use crate::{clock, peer::Peer};

/// How many entries may wait.
const MAX_ENTRIES: usize = 1024;

/// How many bytes of text may wait.
const MAX_BYTES: usize = 256 * 1024;

/// Batch delay: lines that arrive within it are written together, for one wake-up.
const BATCH_DELAY: Duration = Duration::from_millis(1);

/// How often it is reported at the most that something was lost, and the backlog is tried again.
const TICK: Duration = Duration::from_secs(1);

/// What an idle program may keep of the queue.
const KEPT: usize = 16;

static QUEUE: Mutex<Queue> = Mutex::new(Queue::new());
static ARRIVED: Condvar = Condvar::new();
static OUTPUT: Mutex<Output> = Mutex::new(Output::new());
static RUNNING: AtomicBool = AtomicBool::new(false);
static SILENT: AtomicBool = AtomicBool::new(false);
static LOST: AtomicU64 = AtomicU64::new(0);
static BACKLOG: OnceLock<Box<dyn Backlog>> = OnceLock::new();

/// Something whose text the log thread makes, because that takes time.
pub trait Record: Send {
    /// Writes it, if there is anything to be written.
    fn write(self: Box<Self>, output: &mut Output);
}

/// What else the log thread is to do from time to time.
pub trait Backlog: Send + Sync {
    /// Whether there is something to be tried again in a moment. Asked while the queue is locked.
    fn is_pending(&self) -> bool;
    /// Tries.
    fn flush(&self);
    /// There is no later time.
    fn finish(&self);
}

fn has_backlog() -> bool {
    BACKLOG.get().is_some_and(|backlog| backlog.is_pending())
}

struct Queue {
    entries: Vec<Entry>,
    /// Of the text in them.
    bytes: usize,
    /// How many of them are whose. In a full queue each new one asks, and there may be many of those.
    counts: BTreeMap<Option<Peer>, usize>,
    /// Whether the thread sleeps.
    waiting: bool,
}

/// Something to be written.
pub enum Entry {
    /// A message of the program.
    Message { time_us: u64, level: Level, text: String },
    /// An event that is traced.
    Trace { time_us: u64, text: String },
    /// A record, and the process that caused it.
    Record(Peer, Box<dyn Record>),
    /// Everything before this is written.
    Mark(SyncSender<()>),
}

impl Entry {
    fn length(&self) -> usize {
        match self {
            Self::Message { text, .. } | Self::Trace { text, .. } => text.len(),
            Self::Record(..) | Self::Mark(_) => 0,
        }
    }

    /// Which process fills the queue with it; none for the program's own messages.
    const fn source(&self) -> Option<Peer> {
        match self {
            Self::Record(peer, _) => Some(*peer),
            Self::Message { .. } | Self::Trace { .. } | Self::Mark(_) => None,
        }
    }
}

impl Queue {
    const fn new() -> Self {
        Self { entries: Vec::new(), bytes: 0, counts: BTreeMap::new(), waiting: false }
    }

    fn push(&mut self, entry: Entry) {
        self.bytes += entry.length();
        *self.counts.entry(entry.source()).or_default() += 1;
        self.entries.push(entry);
    }

    fn remove(&mut self, place: usize) {
        let entry = self.entries.remove(place);
        self.bytes -= entry.length();
        if let btree_map::Entry::Occupied(mut count) = self.counts.entry(entry.source()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    /// Whether there is room for this, perhaps in the place of something of a source that has more in the queue; how
    /// many entries that cost.
    fn has_room_for(&mut self, entry: &Entry) -> (bool, u64) {
        let length = entry.length();
        if matches!(entry, Entry::Mark(_)) {
            return (true, 0);
        }
        if self.bytes + length > MAX_BYTES {
            return (false, 1);
        }
        if self.entries.len() < MAX_ENTRIES {
            return (true, 0);
        }
        let source = entry.source();
        let user = |source: Option<Peer>| source.map(|peer| peer.uid);
        let sources = || self.counts.iter().map(|(source, count)| (*source, *count));
        let most = largest(sources().map(|(source, count)| (user(source), count)), Some(user(source)));
        let is_ours = user(source) == most;
        let victim = largest(sources().filter(|(other, _)| user(*other) == most), is_ours.then_some(source));
        let is_mine = is_ours && victim == source;
        let last = |other: &Entry| !matches!(other, Entry::Mark(_)) && other.source() == victim;
        match self.entries.iter().rposition(last) {
            Some(place) if !is_mine => {
                self.remove(place);
                (true, 1)
            }
            _ => (false, 1),
        }
    }
}

/// Which of these there are most of. `own` is one that is about to be among them, and wins a tie.
fn largest<K: Copy + Default + Ord>(counts: impl Iterator<Item = (K, usize)>, own: Option<K>) -> K {
    let mut sums = BTreeMap::new();
    for (key, count) in counts.chain(own.map(|own| (own, 1))) {
        *sums.entry(key).or_insert(0_usize) += count;
    }
    sums.into_iter().max_by_key(|(key, count)| (*count, Some(*key) == own)).map(|(key, _)| key).unwrap_or_default()
}

/// A message for the log.
pub fn message(level: Level, text: String) {
    push(Entry::Message { time_us: clock::unix_micros(), level, text });
}

/// An event for the trace.
pub fn trace(text: String) {
    push(Entry::Trace { time_us: clock::unix_micros(), text });
}

/// A record that this process has caused.
pub fn record(peer: Peer, record: Box<dyn Record>) {
    push(Entry::Record(peer, record));
}

/// How many messages, traces and records were lost since the start because they could not be written in time.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Changes where things go; at the start only, later the thread may hold this up.
pub fn configure(change: impl FnOnce(&mut Output)) {
    change(&mut output());
}

/// Writes nothing from here on: for a process that owns neither standard error nor any file.
pub fn silence() {
    SILENT.store(true, Ordering::Relaxed);
}

fn output() -> MutexGuard<'static, Output> {
    OUTPUT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn queue() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn push(entry: Entry) {
    if SILENT.load(Ordering::Relaxed) {
        return;
    }
    // Before the thread runs there are no clients that could wait.
    if !RUNNING.load(Ordering::Acquire) {
        count_lost(output().write(std::iter::once(entry)));
        return;
    }
    let mut queue = queue();
    let (has_room, lost) = queue.has_room_for(&entry);
    count_lost(lost);
    if !has_room {
        return;
    }
    queue.push(entry);
    notify(queue);
}

/// Wakes the thread if it sleeps. A flood does not cost a system call for each line: it looks again before it does.
fn notify(mut queue: MutexGuard<'static, Queue>) {
    let wake = std::mem::take(&mut queue.waiting);
    drop(queue);
    if wake {
        ARRIVED.notify_one();
    }
}

/// Has the thread look at the backlog: it may be waiting for entries alone, and for ever.
pub fn wake() {
    notify(queue());
}

fn count_lost(count: u64) {
    LOST.fetch_add(count, Ordering::Relaxed);
}

/// Starts the thread, which looks after this backlog as well. Until then lines are written by the thread that has them.
///
/// # Errors
/// The system has no room for another thread.
pub fn start(backlog: Box<dyn Backlog>) -> io::Result<()> {
    // Once, at the start.
    let _ = BACKLOG.set(backlog);
    thread::Builder::new().name("log".into()).stack_size(128 * 1024).spawn(run)?;
    RUNNING.store(true, Ordering::Release);
    Ok(())
}

fn run() {
    let mut batch = Vec::new();
    let mut losses = Losses { reported: lost(), when: None };
    loop {
        take(&mut batch, losses.is_due_later() || has_backlog());
        let mut output = output();
        count_lost(output.write(batch.drain(..)));
        losses.report(&mut output);
        drop(output);
        if let Some(backlog) = BACKLOG.get() {
            backlog.flush();
        }
    }
}

/// Waits for entries and takes them; with `tick` not for ever.
fn take(batch: &mut Vec<Entry>, tick: bool) {
    if queue().entries.is_empty() {
        // Nothing of a flood is kept.
        batch.shrink_to(KEPT);
        output().shrink();
    }
    let mut queue = queue();
    if queue.entries.is_empty() {
        queue.entries.shrink_to(KEPT);
        let idle = |queue: &mut Queue| {
            queue.waiting = queue.entries.is_empty();
            queue.waiting
        };
        if tick {
            (queue, _) = ARRIVED.wait_timeout_while(queue, TICK, idle).unwrap_or_else(PoisonError::into_inner);
        } else {
            let idle = |queue: &mut Queue| idle(queue) && !has_backlog();
            queue = ARRIVED.wait_while(queue, idle).unwrap_or_else(PoisonError::into_inner);
        }
        queue.waiting = false;
        drop(queue);
        thread::sleep(BATCH_DELAY);
        queue = self::queue();
    }
    std::mem::swap(batch, &mut queue.entries);
    queue.bytes = 0;
    queue.counts.clear();
}

/// How many were lost, and how many of them were reported.
struct Losses {
    reported: u64,
    when: Option<Instant>,
}

impl Losses {
    /// Whether there is something to report that was held back.
    fn is_due_later(&self) -> bool {
        lost() > self.reported && self.when.is_some_and(|when| when.elapsed() < TICK)
    }

    /// Reports how many, if it is time to. If this does not get through either, it is for the next time.
    fn report(&mut self, output: &mut Output) {
        let total = lost();
        if total <= self.reported || self.is_due_later() {
            return;
        }
        let text = format!(
            "{} messages were dropped: standard error, the journal or the trace file did not take them in time",
            total - self.reported
        );
        let entry = Entry::Message { time_us: clock::unix_micros(), level: Level::Warning, text };
        self.when = Some(Instant::now());
        if output.write(std::iter::once(entry)) == 0 {
            self.reported = total;
        }
    }
}

/// How long the shutdown waits for the log at the most.
const MAX_FINISH: Duration = Duration::from_secs(5);

/// Waits until what is queued is written, but not for long: the reader may have stopped reading.
pub fn finish() {
    if !RUNNING.load(Ordering::Acquire) {
        return;
    }
    if let Some(backlog) = BACKLOG.get() {
        backlog.finish();
    }
    let (sender, receiver) = sync_channel(1);
    push(Entry::Mark(sender));
    let start = Instant::now();
    let mut written = 0;
    // As long as it goes on, within reason.
    while start.elapsed() < MAX_FINISH {
        let before = std::mem::replace(&mut written, output::written());
        match receiver.recv_timeout(Duration::from_millis(500)) {
            Err(RecvTimeoutError::Timeout) if output::written() > before => {}
            _ => return,
        }
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    struct Nothing;

    impl Record for Nothing {
        fn write(self: Box<Self>, _: &mut Output) {}
    }

    /// Offers so many records of a process; how many were lost, whichever source's.
    fn offer(queue: &mut Queue, uid: u32, pid: u32, count: usize) -> u64 {
        let mut all = 0;
        for _ in 0..count {
            let peer = Peer { pid, uid };
            let entry = Entry::Record(peer, Box::new(Nothing));
            let (has_room, lost) = queue.has_room_for(&entry);
            all += lost;
            if has_room {
                queue.push(entry);
            }
        }
        all
    }

    fn held(queue: &Queue, is_it: impl Fn(Peer) -> bool) -> usize {
        queue.entries.iter().filter_map(Entry::source).filter(|peer| is_it(*peer)).count()
    }

    #[test]
    fn a_full_queue_makes_room_for_the_source_that_has_less_in_it() {
        let mut queue = Queue::new();
        assert_eq!(offer(&mut queue, 1, 10, 2 * MAX_ENTRIES), MAX_ENTRIES as u64);
        assert_eq!(offer(&mut queue, 2, 20, 100), 100, "the other's records make room");
        assert_eq!((held(&queue, |peer| peer.uid == 1), held(&queue, |peer| peer.uid == 2)), (MAX_ENTRIES - 100, 100));
        offer(&mut queue, 2, 20, 2 * MAX_ENTRIES);
        offer(&mut queue, 1, 10, 2 * MAX_ENTRIES);
        let (one, two) = (held(&queue, |peer| peer.uid == 1), held(&queue, |peer| peer.uid == 2));
        assert!(one.abs_diff(two) <= 1 && queue.entries.len() == MAX_ENTRIES, "{one} {two}");
    }

    #[test]
    fn many_processes_of_one_user_do_not_crowd_out_another_user() {
        let mut queue = Queue::new();
        for pid in 1..=3000 {
            offer(&mut queue, 1, pid, 1);
        }
        offer(&mut queue, 2, 9000, 500);
        assert_eq!(held(&queue, |peer| peer.uid == 2), 500);
        // Of one user's, the process that has most makes room.
        offer(&mut queue, 2, 9001, 200);
        assert_eq!(held(&queue, |peer| peer.pid == 9001), 200);
    }

    #[test]
    fn messages_of_the_program_make_room_for_records_and_marks_always_fit() {
        let mut queue = Queue::new();
        let message = || Entry::Message { time_us: 0, level: Level::Warning, text: "x".repeat(100) };
        for _ in 0..MAX_ENTRIES {
            queue.push(message());
        }
        assert_eq!(queue.has_room_for(&message()), (false, 1));
        assert_eq!(offer(&mut queue, 1, 1, 10), 10);
        assert_eq!((held(&queue, |_| true), queue.bytes), (10, (MAX_ENTRIES - 10) * 100));
        assert_eq!(queue.has_room_for(&Entry::Mark(sync_channel(1).0)), (true, 0));
    }
}
