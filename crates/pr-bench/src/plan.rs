//! How much is measured, and which rows.

use std::time::Duration;

use clap::ValueEnum;
use pr_measure::turn::Rounds;

/// A group of rows, by the name that `--rows` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Rows {
    /// PR IN and PR OUT a second, and the server's processor time for each, at 1 to 1000 connections
    Requests,
    /// The same for PR IN with server and client on a processor each
    TwoProcessors,
    /// Connect, greet, ask once, leave, 1 to 64 clients at a time
    Connect,
    /// System calls for each request
    Calls,
    /// From the start of the process to its first greeting
    Start,
    /// Memory: idle, and with 1000 idle connections
    Memory,
    /// Cost of a request and memory at 1 to 3000 connections
    Growth,
    /// A healthy client's latency while others wait for a dead device
    Isolation,
    /// A LUN of a real kernel, in a virtual machine: READ KEYS and REGISTER at 1 and 16 connections
    Lun,
}

/// How often and how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How often all subjects have their turns.
    pub rounds: Rounds,
    /// How often each subject is started.
    pub starts: usize,
    /// How many requests are counted under strace.
    pub traced: u32,
    /// How many rounds of the isolation, which starts each subject anew.
    pub isolation_rounds: usize,
    /// How many requests the healthy client sends in each.
    pub healthy: usize,
    /// Which rows.
    pub rows: Vec<Rows>,
    /// The processors that may be used.
    pub processors: Vec<usize>,
}

impl Plan {
    /// Five to eight minutes.
    pub fn thorough(rows: Vec<Rows>, processors: Vec<usize>) -> Self {
        Self {
            rounds: Rounds { count: 12, slice: Duration::from_millis(240) },
            starts: 40,
            traced: 3000,
            isolation_rounds: 7,
            healthy: 3000,
            rows: if rows.is_empty() { Rows::value_variants().to_vec() } else { rows },
            processors,
        }
    }

    /// One or two minutes.
    pub fn quick(rows: Vec<Rows>, processors: Vec<usize>) -> Self {
        Self {
            rounds: Rounds { count: 5, slice: Duration::from_millis(60) },
            starts: 11,
            traced: 1000,
            isolation_rounds: 2,
            healthy: 1000,
            ..Self::thorough(rows, processors)
        }
    }

    /// Whether a group of rows is wanted.
    pub fn wants(&self, rows: Rows) -> bool {
        self.rows.contains(&rows)
    }
}
