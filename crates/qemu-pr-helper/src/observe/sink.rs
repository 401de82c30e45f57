//! The queue, and the thread that empties it.
//!
//! Whoever has something to say adds it to a vector under a lock that is never held for long; the thread swaps the
//! vector for an empty one and writes what it got in one go. It alone may be held up by a full pipe, a full disk or a
//! journal that does not read. What does not fit meanwhile is counted, and said as soon as something can be said.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    audit::{self, Pending},
    follow,
    format::Level,
    output::{self, Output},
};

/// How many entries may wait.
const MAX_ENTRIES: usize = 1024;

/// How many bytes of text may wait.
const MAX_BYTES: usize = 256 * 1024;

/// Where there is one line there are more: looked at after so long, they cost one wake-up and one write together.
const GATHER: Duration = Duration::from_millis(1);

/// How often it is said at the most that something was lost, and tried again to send followers what they are owed.
const TICK: Duration = Duration::from_secs(1);

/// What an idle program may keep of the queue.
const KEPT: usize = 16;

static QUEUE: Mutex<Queue> = Mutex::new(Queue { entries: Vec::new(), bytes: 0, waiting: false });
static BELL: Condvar = Condvar::new();
static OUTPUT: Mutex<Output> = Mutex::new(Output::new());
static RUNNING: AtomicBool = AtomicBool::new(false);
static SILENT: AtomicBool = AtomicBool::new(false);
static LOST: AtomicU64 = AtomicU64::new(0);

struct Queue {
    entries: Vec<Entry>,
    /// Of the text in them.
    bytes: usize,
    /// Whether the thread waits to be told.
    waiting: bool,
}

/// Something to be written.
pub enum Entry {
    /// A message of the program.
    Message { time_us: u64, level: Level, text: String },
    /// An event that is traced.
    Trace { time_us: u64, text: String },
    /// A record of the audit trail.
    Audit(Pending),
    /// Everything before this is written.
    Mark(SyncSender<()>),
}

impl Entry {
    fn length(&self) -> usize {
        match self {
            Self::Message { text, .. } | Self::Trace { text, .. } => text.len(),
            Self::Audit(_) | Self::Mark(_) => 0,
        }
    }
}

/// A message for the log.
pub fn message(level: Level, text: String) {
    push(Entry::Message { time_us: audit::now(), level, text });
}

/// An event for the trace.
pub fn trace(text: String) {
    push(Entry::Trace { time_us: audit::now(), text });
}

/// A record for the audit trail.
pub fn audit(record: Pending) {
    push(Entry::Audit(record));
}

/// Sends the audit trail from now on to a stream socket as well, after `Following`.
///
/// # Errors
/// Enough of them follow already; here is the socket again.
pub fn follow(socket: OwnedFd) -> Result<(), OwnedFd> {
    follow::add(socket)
}

/// How many messages, traces and records were lost since the start because nobody took them in time.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Changes where things go; at the start only, later the thread may hold this up.
pub fn configure(change: impl FnOnce(&mut Output)) {
    change(&mut output());
}

/// Says nothing from here on: in a process of which neither standard error nor any file is its own.
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
    let length = entry.length();
    let is_mark = matches!(entry, Entry::Mark(_));
    if !is_mark && (queue.entries.len() >= MAX_ENTRIES || queue.bytes + length > MAX_BYTES) {
        drop(queue);
        count_lost(1);
        return;
    }
    queue.bytes += length;
    queue.entries.push(entry);
    // A flood does not cost a system call for each line: the thread looks again before it waits.
    let wake = std::mem::take(&mut queue.waiting);
    drop(queue);
    if wake {
        BELL.notify_one();
    }
}

fn count_lost(count: u64) {
    LOST.fetch_add(count, Ordering::Relaxed);
}

/// Starts the thread. Until then lines are written where they arise.
///
/// # Errors
/// The system has no room for another thread.
pub fn start() -> io::Result<()> {
    thread::Builder::new().name("log".into()).stack_size(128 * 1024).spawn(run)?;
    RUNNING.store(true, Ordering::Release);
    Ok(())
}

fn run() {
    let mut batch = Vec::new();
    let mut losses = Losses { said: lost(), when: None };
    loop {
        take(&mut batch, losses.is_due_later() || follow::owing());
        let mut output = output();
        count_lost(output.write(batch.drain(..)));
        losses.say(&mut output);
        drop(output);
        follow::settle();
    }
}

/// Waits for entries and takes them; with `tick` not for ever.
fn take(batch: &mut Vec<Entry>, tick: bool) {
    if queue().entries.is_empty() {
        // Nothing of a flood is kept.
        batch.shrink_to(KEPT);
        output().rest();
    }
    let mut queue = queue();
    if queue.entries.is_empty() {
        queue.entries.shrink_to(KEPT);
        let idle = |queue: &mut Queue| {
            queue.waiting = queue.entries.is_empty();
            queue.waiting
        };
        if tick {
            (queue, _) = BELL.wait_timeout_while(queue, TICK, idle).unwrap_or_else(PoisonError::into_inner);
            queue.waiting = false;
        } else {
            queue = BELL.wait_while(queue, idle).unwrap_or_else(PoisonError::into_inner);
        }
        drop(queue);
        thread::sleep(GATHER);
        queue = self::queue();
    }
    std::mem::swap(batch, &mut queue.entries);
    queue.bytes = 0;
}

/// What was lost, and what was said of it.
struct Losses {
    said: u64,
    when: Option<Instant>,
}

impl Losses {
    /// Whether there is something to say that was held back.
    fn is_due_later(&self) -> bool {
        lost() > self.said && self.when.is_some_and(|when| when.elapsed() < TICK)
    }

    /// Says how many, if it is time to. If this does not get through either, it is for the next time.
    fn say(&mut self, output: &mut Output) {
        let total = lost();
        if total <= self.said || self.is_due_later() {
            return;
        }
        let text = format!(
            "{} messages were dropped: standard error, the journal or the trace file did not take them in time",
            total - self.said
        );
        let entry = Entry::Message { time_us: audit::now(), level: Level::Warning, text };
        self.when = Some(Instant::now());
        if output.write(std::iter::once(entry)) == 0 {
            self.said = total;
        }
    }
}

/// How long the end waits for the log at the most.
const MAX_FINISH: Duration = Duration::from_secs(5);

/// Waits until what was said is written, but not for long: whoever reads it may have stopped reading.
pub fn finish() {
    if !RUNNING.load(Ordering::Acquire) {
        return;
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
