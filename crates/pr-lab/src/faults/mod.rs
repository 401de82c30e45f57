//! A helper's system calls, counted, and one of them failing.
//!
//! Which call is meant is told by the process that makes it, the call's number, and how many of that kind the process has
//! made before: threads may take turns as they like, and it is still the same call.

mod each;
mod errnos;

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use each::{Life, each_call_fails};
pub use errnos::plausible;

use crate::sys::memory;
use crate::sys::notify::{Waiting, Which};

/// `<linux/futex.h>`: what waits, and the mask for what is asked for.
const FUTEX_WAIT: u64 = 0;
const FUTEX_WAIT_BITSET: u64 = 9;
const FUTEX_COMMAND: u64 = 0x7f;

/// A system call of a helper.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Call {
    /// Whose it is: nothing for the process that was started, `0` for its first child, `0.1` for that one's second.
    pub process: String,
    /// Its number.
    pub number: i64,
    /// How many of this number the process has made by then, with this one.
    pub nth: usize,
    /// Its first three arguments.
    pub arguments: [u64; 3],
    /// The file that it is about, by name, where one of them tells it. Only in a record.
    pub file: Option<String>,
}

/// A call that fails, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which one.
    pub call: Call,
    /// What it returns.
    pub errno: i32,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is made.
    Pass,
    /// It fails with this errno.
    Fail(i32),
    /// It returns this.
    Return(i64),
}

/// The record of a helper's system calls, or the one that fails.
#[derive(Debug, Clone)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    fault: Option<Fault>,
    is_on: bool,
    has_failed: bool,
    calls: Vec<Call>,
    counts: HashMap<(String, i64), usize>,
    /// Processes by the numbers of their threads.
    processes: HashMap<i32, String>,
}

impl Call {
    /// The name of the system call.
    pub fn name(&self) -> &'static str {
        syscall_names::name(self.number).unwrap_or("?")
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, third] = self.arguments;
        write!(f, "{}#{}({first:#x}, {second:#x}, {third:#x})", self.name(), self.nth)?;
        if let Some(file) = &self.file {
            write!(f, " on {file:?}")?;
        }
        if self.process.is_empty() { Ok(()) } else { write!(f, " of process {}", self.process) }
    }
}

impl Faults {
    /// A record of every call from the start on; none fails.
    pub fn recorded() -> Self {
        Self::new(None, true)
    }

    /// This call fails, counted from the start on.
    pub fn from_start(fault: Fault) -> Self {
        Self::new(Some(fault), true)
    }

    fn new(fault: Option<Fault>, is_on: bool) -> Self {
        Self(Arc::new(Mutex::new(State { fault, is_on, ..State::default() })))
    }

    /// Where it is known from the start which call is to fail, no other one need wait.
    pub(crate) fn which(&self) -> Which {
        self.lock().fault.as_ref().map_or(Which::All, |fault| Which::And(fault.call.number))
    }

    /// Counts from here on.
    pub fn begin(&self) {
        let mut state = self.lock();
        (state.is_on, state.calls, state.counts) = (true, Vec::new(), HashMap::new());
    }

    /// Counts from here on, until this call fails.
    pub fn fail(&self, fault: Fault) {
        let mut state = self.lock();
        (state.is_on, state.has_failed, state.counts) = (true, false, HashMap::new());
        state.fault = Some(fault);
    }

    /// Counts no more, and lets nothing fail.
    pub fn end(&self) {
        let mut state = self.lock();
        (state.is_on, state.fault) = (false, None);
    }

    /// Whether the call has failed.
    pub fn has_failed(&self) -> bool {
        self.lock().has_failed
    }

    /// How many calls there were so far.
    pub fn count(&self) -> usize {
        self.lock().calls.len()
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    pub(crate) fn decide(&self, waiting: &Waiting) -> Fate {
        let mut state = self.lock();
        let Some(process) = state.process_of(waiting.thread).filter(|_| state.is_on) else { return Fate::Pass };
        let nth = state.counts.entry((process.clone(), waiting.number)).or_default();
        *nth += 1;
        let [first, second, third, ..] = waiting.arguments;
        let arguments = [first, second, third];
        let mut call = Call { process, number: waiting.number, nth: *nth, arguments, file: None };
        let State { fault, has_failed, calls, .. } = &mut *state;
        let Some(fault) = fault.as_ref() else {
            call.file = file(call.name(), call.arguments, waiting.thread);
            calls.push(call);
            return Fate::Pass;
        };
        let is_it = (&call.process, call.number, call.nth) == (&fault.call.process, fault.call.number, fault.call.nth);
        // Threads take turns: this may be the call that wakes another one, which never fails.
        let wakes =
            fault.call.name() == "futex" && ![FUTEX_WAIT, FUTEX_WAIT_BITSET].contains(&(second & FUTEX_COMMAND));
        if !is_it || *has_failed || wakes {
            return Fate::Pass;
        }
        *has_failed = true;
        match fault.call.name() {
            // This one says no by leaving the end of the heap where it is.
            "brk" => end_of_heap(waiting.thread).map_or(Fate::Pass, Fate::Return),
            _ => Fate::Fail(fault.errno),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// `None` where that cannot be told: whoever has died meanwhile, in the middle of its call, has no family any more.
    fn process_of(&mut self, thread: i32) -> Option<String> {
        if let Some(known) = self.processes.get(&thread) {
            return Some(known.clone());
        }
        let (group, parent) = family(thread)?;
        let name = match () {
            () if group != thread => self.process_of(group)?,
            () if u32::try_from(parent) == Ok(std::process::id()) => String::new(),
            () => {
                let elder = self.process_of(parent)?;
                // In order of birth; the dead are among them until somebody looks.
                let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
                let place = children.split_whitespace().position(|id| id == thread.to_string()).unwrap_or(99);
                if elder.is_empty() { place.to_string() } else { format!("{elder}.{place}") }
            }
        };
        self.processes.insert(thread, name.clone());
        Some(name)
    }
}

/// The process of a thread and that one's parent; `None` if there is neither.
fn family(thread: i32) -> Option<(i32, i32)> {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let field = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name))?.strip_prefix(':')?;
        value.trim().parse::<i32>().ok()
    };
    Some((field("Tgid")?, field("PPid")?))
}

/// What file a call is about.
fn file(name: &str, [first, second, _]: [u64; 3], thread: i32) -> Option<String> {
    let behind = || fs::read_link(format!("/proc/{thread}/fd/{first}")).ok().map(|path| path.display().to_string());
    match name {
        "open" | "access" | "chmod" | "chown" | "unlink" | "rename" => text(thread, first),
        "openat" | "mkdirat" | "newfstatat" | "statx" | "unlinkat" | "faccessat" | "renameat2" => {
            text(thread, second).filter(|path| !path.is_empty()).or_else(behind)
        }
        "read" | "pread64" | "write" | "lseek" | "fstat" | "getdents64" | "flock" | "fcntl" => behind(),
        "connect" => {
            // A family, and a path.
            text(thread, second + 2)
        }
        "dup2" | "dup3" => Some(format!("descriptor {second}")),
        _ => None,
    }
}

/// A string in another process' memory.
fn text(thread: i32, mut address: u64) -> Option<String> {
    let mut bytes = Vec::new();
    while bytes.len() < 256 {
        let rest_of_page = 4096 - usize::try_from(address % 4096).ok()?;
        let piece = memory::read(thread, address, rest_of_page.min(256)).ok()?;
        if let Some(end) = piece.iter().position(|byte| *byte == 0) {
            bytes.extend_from_slice(&piece[..end]);
            break;
        }
        address += piece.len() as u64;
        bytes.extend(piece);
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Where a process' heap ends.
fn end_of_heap(thread: i32) -> Option<i64> {
    let maps = fs::read_to_string(format!("/proc/{thread}/maps")).ok()?;
    let heap = maps.lines().find(|line| line.ends_with("[heap]"))?;
    let end = heap.split([' ', '-']).nth(1)?;
    i64::from_str_radix(end, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_a_call_is_cannot_be_told_of_the_dead_and_of_those_whom_the_test_has_not_started() {
        let mut state = State::default();
        // The kernel gives no thread such a number, and 0 to those of another name space. The first process of all has
        // no parent, and the test's own is not its own child.
        for thread in [i32::MAX, 0, 1, std::process::id().cast_signed()] {
            assert_eq!(state.process_of(thread), None, "{thread}");
        }
        assert!(state.processes.is_empty(), "another thread may get the number");
    }
}
