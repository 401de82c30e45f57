//! A helper that runs, or has run.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use crate::launch::Text;
use crate::{PATIENCE, Process, Raw, SgIo, connect_stream, eventually, within};

/// A running helper; killed and reaped when dropped.
#[derive(Debug)]
pub struct Helper {
    child: Child,
    socket: Option<PathBuf>,
    stdout: Text,
    stderr: Text,
    device: Option<SgIo>,
}

/// A helper that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error but the audit log.
    pub stderr: String,
    /// The audit log, a record a line.
    pub audit: Vec<String>,
}

impl Helper {
    pub(crate) fn new(child: Child, socket: Option<PathBuf>, stdout: Text, stderr: Text, device: Option<SgIo>) -> Self {
        Self { child, socket, stdout, stderr, device }
    }

    /// Its process.
    pub fn process(&self) -> Process {
        Process::new(i32::try_from(self.child.id()).expect("a process number"))
    }

    /// A process that it has started, by its name in the process list. It may take a moment to name itself.
    #[track_caller]
    pub fn child(&self, name: &str) -> Process {
        let parent = self.process().id().to_string();
        let is_it = |process: &Process| {
            let status = process.status();
            status.get("PPid") == Some(&parent) && status.get("Name").is_some_and(|found| found == name)
        };
        let find = || Process::all().into_iter().find(is_it);
        assert!(within(PATIENCE, || find().is_some()), "the helper has no child {name}");
        find().expect("it was there")
    }

    /// The processes that it has started and that have not ended, in order of birth.
    pub fn children(&self) -> Vec<Process> {
        self.process().children()
    }

    /// Where it listens.
    #[track_caller]
    pub fn socket(&self) -> &Path {
        self.socket.as_deref().expect("a helper with a socket of its own")
    }

    /// The device behind it.
    #[track_caller]
    pub fn device(&self) -> &SgIo {
        self.device.as_ref().expect("a helper with a device")
    }

    /// A new connection on which the features have been exchanged.
    #[track_caller]
    pub fn connect(&self) -> Raw {
        Raw::greeted(self.socket())
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.so_far()
    }

    /// What it has written to standard error so far, without the audit log: that is what it is asked to say, and no
    /// complaint.
    pub fn stderr(&self) -> String {
        split(&self.stderr.so_far()).0
    }

    /// The audit log on standard error so far, a record a line.
    pub fn audit(&self) -> Vec<String> {
        split(&self.stderr.so_far()).1
    }

    /// Waits until standard error contains `text`.
    #[track_caller]
    pub fn await_stderr(&self, text: &str) {
        let found = within(PATIENCE, || self.stderr().contains(text));
        assert!(found, "no {text:?} on standard error: {:?}", self.stderr());
    }

    /// Waits until it greets; panics with its words when it ends instead.
    #[track_caller]
    pub fn await_greeting(&self) {
        let deadline = Instant::now() + PATIENCE;
        let greeted = within(PATIENCE, || !self.process().is_alive() || greets(self.socket(), deadline));
        assert!(self.process().is_alive(), "the helper ended instead of greeting: {}", self.stderr.whole());
        assert!(greeted, "the helper does not greet: {}", self.stderr());
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process().signal(signal);
    }

    /// Sends it a signal and waits for its end.
    #[track_caller]
    pub fn end(self, signal: Signal) -> Finished {
        self.signal(signal);
        self.finish()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn finish(mut self) -> Finished {
        assert!(self.ends_within(PATIENCE), "the helper does not end; it says {:?}", self.stderr());
        let status = self.child.wait().expect("reap the helper");
        let (stderr, audit) = split(&self.stderr.whole());
        Finished { status, stdout: self.stdout.whole(), stderr, audit }
    }

    /// Whether it ends within `limit`; tells at the very moment.
    pub fn ends_within(&self, limit: Duration) -> bool {
        let pid = Pid::from_raw(self.process().id()).expect("a process number");
        // The child is not reaped before `finish` or drop: the number is still its own.
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("open the process");
        let limit = limit.try_into().expect("a time");
        let mut ready = [PollFd::new(&pidfd, PollFlags::IN)];
        poll(&mut ready, Some(&limit)).expect("wait for the process") == 1
    }

    /// Waits until it has as many descriptors as this.
    #[track_caller]
    pub fn await_descriptors(&self, count: usize) {
        let settled = within(PATIENCE, || self.process().descriptors().len() == count);
        assert!(settled, "not {count} descriptors but {:#?}", self.process().descriptors());
    }

    /// The number of descriptors once no client is connected any more.
    pub fn settled_descriptors(&self) -> usize {
        let count = || self.process().descriptors().len();
        let mut last = (count(), Instant::now());
        eventually("the number of descriptors settles", || {
            let now = count();
            if now != last.0 {
                last = (now, Instant::now());
            }
            last.1.elapsed() >= Duration::from_millis(60)
        });
        last.0
    }
}

impl Finished {
    /// The exit code, or minus the signal that ended it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| -self.status.signal().unwrap_or_default())
    }

    /// Asserts success without a word on standard error.
    #[track_caller]
    pub fn expect_silent_success(&self) {
        assert_eq!((self.code(), self.stderr.as_str()), (0, ""));
    }

    /// Asserts exit status 1 and a message that begins with the program's name and contains each of these.
    #[track_caller]
    pub fn expect_refusal(&self, fragments: &[&str]) {
        assert_eq!(self.code(), 1, "{}", self.stderr);
        let words = self.stderr.to_lowercase();
        for fragment in fragments {
            assert!(words.contains(&fragment.to_lowercase()), "no {fragment:?} in {:?}", self.stderr);
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn greets(socket: &Path, deadline: Instant) -> bool {
    let Ok(mut stream) = connect_stream(socket) else { return false };
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    stream.set_read_timeout(Some(left)).expect("set a timeout");
    stream.read_exact(&mut [0; 4]).is_ok()
}

/// What stands before a record of the audit log.
const AUDIT: &str = "qemu-pr-helper: audit: ";

/// Messages, and records without what stands before them.
fn split(text: &str) -> (String, Vec<String>) {
    let (audit, messages): (Vec<&str>, Vec<&str>) =
        text.split_inclusive('\n').partition(|line| line.starts_with(AUDIT));
    let record = |line: &str| line.trim_end().trim_start_matches(AUDIT).to_owned();
    (messages.concat(), audit.into_iter().map(record).collect())
}
