//! How many workers there may be below the limit of open files, which is the daemon's as well.

/// What the keeper has open for a command: the pipe for the verdict.
const A_COMMAND: u64 = 1;

/// And for a worker: its process and its line.
const A_WORKER: u64 = 2;

/// What the daemon needs of the limit that both live under.
#[derive(Clone, Copy, Debug)]
pub struct Descriptors {
    /// Those that are no connection's.
    pub own: u64,
    /// Those of a connection, which has one command at a time.
    pub each: u64,
}

impl Descriptors {
    /// How many workers there may be at once. The daemon lives under the same limit and sends as many commands as it has
    /// connections; what they need is set aside, so that no command is ever lost for want of a descriptor, and the rest is
    /// the workers'.
    pub fn most_workers(self, limit: Option<u64>) -> usize {
        let Some(limit) = limit else { return usize::MAX };
        let room = limit.saturating_sub(self.own);
        let workers = (room - room / self.each * A_COMMAND) / A_WORKER;
        usize::try_from(workers).unwrap_or(usize::MAX).max(1)
    }

    /// How many descriptors the keeper has open at the most, with so many commands and workers.
    pub const fn needed(self, commands: u64, workers: u64) -> u64 {
        self.own + A_COMMAND * commands + A_WORKER * workers
    }
}
