//! Who is measured, and one of them running.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use pr_lab::{Bed, Helper, Stream, Subject as Program};

use crate::sys::processor_time;
use crate::tree::{Memory, memory_of, processes_below};

/// Debian's C helper.
pub const THEIRS: &str = "C helper";
/// This project's.
pub const OURS: &str = "this daemon";
/// What the protocol costs at the least.
pub const BOUND: &str = "lower bound";

/// In an option: a folder of the running subject's own.
pub const FOLDER: &str = "{folder}";

/// A program with its options.
#[derive(Clone, Debug)]
pub struct Subject {
    /// What it is called in the result.
    pub name: String,
    /// The executable.
    pub program: PathBuf,
    /// Its options, besides the socket.
    pub options: Vec<String>,
}

impl Subject {
    /// A program without options.
    pub fn new(name: &str, program: &Path) -> Self {
        Self { name: name.to_owned(), program: program.to_owned(), options: Vec::new() }
    }

    /// The same with more options.
    #[must_use]
    pub fn with(&self, options: &[&str]) -> Self {
        let mut subject = self.clone();
        subject.options.extend(options.iter().map(|option| (*option).to_owned()));
        subject
    }

    /// The same, serving so many clients: who has a limit lifts it.
    #[must_use]
    pub fn with_room_for(&self, connections: u32) -> Self {
        let limited = self.name != THEIRS && self.name != BOUND;
        // As it is shipped it has room for 1024, of which one process may have half.
        if limited && connections > 512 {
            self.with(&["--max-connections", &(2 * connections).to_string()])
        } else {
            self.clone()
        }
    }

    /// Starts it, on the processors that this thread is on.
    pub fn start(&self) -> Running {
        let bed = Bed::new(&Program::ours(&self.program));
        let options = self.options.iter().map(|option| option.replace(FOLDER, &bed.dir().display().to_string()));
        // Reading what they write would be work of this process, and count as the client's.
        let helper = bed.launch().stream(2, Stream::Null).args(options).start();
        Running { helper, _bed: bed }
    }
}

/// A subject that has greeted. It ends with the value.
pub struct Running {
    helper: Helper,
    // Behind the helper: its directory goes when the helper has gone.
    _bed: Bed,
}

impl Running {
    /// Where it listens.
    pub fn socket(&self) -> &Path {
        self.helper.socket()
    }

    /// Its process number.
    pub fn process(&self) -> i32 {
        self.helper.process().id()
    }

    /// How much processor time it has used, in all of its threads.
    pub fn processor_time(&self) -> Result<Duration> {
        processor_time(self.process()).context("the processor clock of a helper cannot be read")
    }

    /// All of its processes, itself first.
    pub fn processes(&self) -> Vec<i32> {
        let mut all = vec![self.process()];
        all.extend(processes_below(self.process()));
        all
    }

    /// Its memory, without its children's.
    pub fn memory(&self) -> Result<Memory> {
        memory_of(self.process())
    }

    /// Its children's memory.
    pub fn children_memory(&self) -> Result<Memory> {
        processes_below(self.process()).into_iter().map(memory_of).sum()
    }

    /// How many of its threads send something to a device, or close it: while nobody else asks, they hang there.
    pub fn threads_at_a_device(&self) -> Result<usize> {
        let calls_to_devices = [libc::SYS_ioctl, libc::SYS_close].map(|number| format!("{number} "));
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process())).context("the threads cannot be seen")?;
        let calls = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("syscall")).ok());
        Ok(calls.filter(|call| calls_to_devices.iter().any(|number| call.starts_with(number))).count())
    }
}
