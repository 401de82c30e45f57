//! The handle of a log, and the thread that writes what is queued.
//!
//! An entry is added to a vector under a lock that is never held for long; the thread swaps the vector for an empty one
//! and writes what it got in one go. It alone may be held up by a full pipe, a full disk or a journal that does not read.
//! What does not fit meanwhile is counted, and reported as soon as something can be written.

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{RecvTimeoutError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    format::Level,
    output::{Output, Progress},
    queue::{Entry, Queue, Record},
    trace::{self, Destinations, Switches, TraceBackend, TraceError, TraceOption},
};
use crate::{clock, peer::Peer};

/// Batch delay: lines that arrive within it are written together, for one wake-up.
const BATCH_DELAY: Duration = Duration::from_millis(1);

/// How often it is reported at the most that something was lost, and the backlog is tried again.
const TICK: Duration = Duration::from_secs(1);

/// What an idle program may keep of the queue.
const KEPT: usize = 16;

/// How long the shutdown waits for the log at the most.
const MAX_FINISH: Duration = Duration::from_secs(5);

/// What else the log thread is to do from time to time.
pub trait Backlog: Send + Sync {
    /// Whether there is something to be tried again in a moment. Asked while the queue is locked.
    fn is_pending(&self) -> bool;
    /// Tries.
    fn flush(&self);
    /// There is no later time.
    fn finish(&self);
}

/// A log. Until its thread is started, lines are written by the thread that has them.
#[derive(Default)]
pub struct Log {
    /// Which events are traced.
    pub traced: Switches,
    queue: Mutex<Queue>,
    arrived: Condvar,
    output: Mutex<Output>,
    progress: Progress,
    is_running: AtomicBool,
    is_silent: AtomicBool,
    lost: AtomicU64,
    backlog: OnceLock<Box<dyn Backlog>>,
}

impl Log {
    /// A message.
    pub fn message(&self, level: Level, text: String) {
        self.push(Entry::Message { time_us: clock::unix_micros(), level, text });
    }

    /// An event that is traced.
    pub fn trace(&self, text: String) {
        self.push(Entry::Trace { time_us: clock::unix_micros(), text });
    }

    /// A record that this process has caused.
    pub fn record(&self, peer: Peer, record: Box<dyn Record>) {
        self.push(Entry::Record(peer, record));
    }

    /// How many messages, traces and records were lost since the start because they could not be written in time.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Puts all `-T` of the command line into force; the warnings are about names that no event has.
    ///
    /// # Errors
    /// One of them names a file that cannot be used.
    pub fn apply_trace_options(
        &self,
        options: &[TraceOption],
        backend: TraceBackend,
    ) -> Result<Vec<String>, TraceError> {
        let (warnings, Destinations { file, marker }) = trace::apply(&self.traced, options, backend)?;
        self.configure(|output| (output.trace_file, output.marker) = (file, marker));
        Ok(warnings)
    }

    /// Changes where things go; at the start only, later the thread may hold this up.
    pub fn configure(&self, change: impl FnOnce(&mut Output)) {
        change(&mut self.output());
    }

    /// Writes everything from here on to standard error, too, where that is not the journal anyway.
    pub fn also_to_standard_error(&self) {
        self.progress.repeat();
    }

    /// Writes nothing from here on: for a process that owns neither standard error nor any file.
    pub fn silence(&self) {
        self.is_silent.store(true, Ordering::Relaxed);
    }

    fn output(&self) -> MutexGuard<'_, Output> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, entry: Entry) {
        if self.is_silent.load(Ordering::Relaxed) {
            return;
        }
        // Before the thread runs there are no clients that could wait.
        if !self.is_running.load(Ordering::Acquire) {
            self.write(&mut self.output(), std::iter::once(entry));
            return;
        }
        let mut queue = self.queue();
        let (has_room, lost) = queue.has_room_for(&entry);
        self.count_lost(lost);
        if !has_room {
            return;
        }
        queue.push(entry);
        self.notify(queue);
    }

    /// Writes entries, and counts those that could not be written.
    fn write(&self, output: &mut Output, entries: impl Iterator<Item = Entry>) {
        self.count_lost(output.write(entries, &self.progress));
    }

    /// Wakes the thread if it sleeps. A flood does not cost a system call for each line: it looks again before it does.
    fn notify(&self, mut queue: MutexGuard<'_, Queue>) {
        let wake = std::mem::take(&mut queue.waiting);
        drop(queue);
        if wake {
            self.arrived.notify_one();
        }
    }

    /// Has the thread look at the backlog: it may be waiting for entries alone, and for ever.
    pub fn wake(&self) {
        self.notify(self.queue());
    }

    fn count_lost(&self, count: u64) {
        self.lost.fetch_add(count, Ordering::Relaxed);
    }

    fn has_backlog(&self) -> bool {
        self.backlog.get().is_some_and(|backlog| backlog.is_pending())
    }

    /// Starts the thread, which looks after this backlog as well and runs until the process ends.
    ///
    /// # Errors
    /// The system has no room for another thread.
    pub fn start(self: &Arc<Self>, backlog: Box<dyn Backlog>) -> io::Result<()> {
        // Once, at the start.
        let _ = self.backlog.set(backlog);
        let log = Arc::clone(self);
        thread::Builder::new().name("log".into()).stack_size(128 * 1024).spawn(move || log.run())?;
        self.is_running.store(true, Ordering::Release);
        Ok(())
    }

    fn run(&self) {
        let mut batch = Vec::new();
        let mut losses = Losses { reported: self.lost(), when: None };
        loop {
            self.take(&mut batch, losses.is_due_later(self.lost()) || self.has_backlog());
            let mut output = self.output();
            self.write(&mut output, batch.drain(..));
            losses.report(self, &mut output);
            drop(output);
            if let Some(backlog) = self.backlog.get() {
                backlog.flush();
            }
        }
    }

    /// Waits for entries and takes them; with `tick` not for ever.
    fn take(&self, batch: &mut Vec<Entry>, tick: bool) {
        if self.queue().entries.is_empty() {
            // Nothing of a flood is kept.
            batch.shrink_to(KEPT);
            self.output().shrink();
        }
        let mut queue = self.queue();
        if queue.entries.is_empty() {
            queue.entries.shrink_to(KEPT);
            let idle = |queue: &mut Queue| {
                queue.waiting = queue.entries.is_empty();
                queue.waiting
            };
            if tick {
                let waited = self.arrived.wait_timeout_while(queue, TICK, idle);
                (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
            } else {
                let idle = |queue: &mut Queue| idle(queue) && !self.has_backlog();
                queue = self.arrived.wait_while(queue, idle).unwrap_or_else(PoisonError::into_inner);
            }
            queue.waiting = false;
            drop(queue);
            thread::sleep(BATCH_DELAY);
            queue = self.queue();
        }
        queue.take(batch);
    }

    /// Waits until what is queued is written, but not for long: the reader may have stopped reading.
    pub fn finish(&self) {
        if !self.is_running.load(Ordering::Acquire) {
            return;
        }
        if let Some(backlog) = self.backlog.get() {
            backlog.finish();
        }
        let (sender, receiver) = sync_channel(1);
        self.push(Entry::Mark(sender));
        let start = Instant::now();
        let mut written = 0;
        // As long as it goes on, within reason.
        while start.elapsed() < MAX_FINISH {
            let before = std::mem::replace(&mut written, self.progress.written());
            match receiver.recv_timeout(Duration::from_millis(500)) {
                Err(RecvTimeoutError::Timeout) if self.progress.written() > before => {}
                _ => return,
            }
        }
    }
}

/// How many were lost, and how many of them were reported.
struct Losses {
    reported: u64,
    when: Option<Instant>,
}

impl Losses {
    /// Whether there is something to report that was held back.
    fn is_due_later(&self, lost: u64) -> bool {
        lost > self.reported && self.when.is_some_and(|when| when.elapsed() < TICK)
    }

    /// Reports how many, if it is time to. If this does not get through either, it is for the next time.
    fn report(&mut self, log: &Log, output: &mut Output) {
        let total = log.lost();
        if total <= self.reported || self.is_due_later(total) {
            return;
        }
        let text = format!(
            "{} messages were dropped: standard error, the journal or the trace file did not take them in time",
            total - self.reported
        );
        let entry = Entry::Message { time_us: clock::unix_micros(), level: Level::Warning, text };
        self.when = Some(Instant::now());
        if output.write(std::iter::once(entry), &log.progress) == 0 {
            self.reported = total;
        }
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use tracing::warn;

    use super::*;
    use crate::log::for_tests::Captured;

    struct Nothing;

    impl Backlog for Nothing {
        fn is_pending(&self) -> bool {
            false
        }
        fn flush(&self) {}
        fn finish(&self) {}
    }

    #[test]
    fn two_logs_in_a_process_have_messages_of_their_own() {
        let (one, other) = (Captured::new(), Captured::new());
        one.during(|| warn!("first"));
        other.during(|| warn!("second"));
        one.log.silence();
        one.during(|| warn!("third"));
        other.during(|| warn!("fourth"));
        assert_eq!((one.text().as_str(), other.text().as_str()), (": first\n", ": second\n: fourth\n"));
    }

    #[test]
    fn each_log_has_a_thread_and_a_queue_of_its_own() {
        let (one, other) = (Captured::new(), Captured::new());
        for captured in [&one, &other] {
            captured.log.start(Box::new(Nothing)).expect("a thread");
        }
        // Its thread is held up, as by a full pipe.
        let held = one.log.output();
        one.during(|| (0..5000).for_each(|_| warn!("first")));
        other.during(|| warn!("second"));
        other.log.finish();
        assert_eq!((one.text().as_str(), other.text().as_str()), ("", ": second\n"));
        assert!(one.log.lost() > 0);
        assert_eq!(other.log.lost(), 0);
        drop(held);
        one.log.finish();
        assert_eq!(one.count(": first") + usize::try_from(one.log.lost()).expect("a number"), 5000);
    }
}
