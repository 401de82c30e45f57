//! The helper at one moment: what it has counted since its start, and what each connection is doing.

use serde::{Deserialize, Serialize};

use crate::record::{Client, Device};

/// A command that a disk has been at for longer is one that hangs, in microseconds.
pub const HUNG_US: u64 = 5_000_000;

/// The upper bounds of the latency histogram's buckets, in microseconds; one more bucket has no bound.
pub const BUCKETS: [u64; 16] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000,
    30_000_000,
];

/// The service actions with a name, in the order of their codes: first those of PERSISTENT RESERVE IN, then those of
/// PERSISTENT RESERVE OUT.
pub const REQUEST_ACTIONS: [&str; 13] = [
    "READ KEYS",
    "READ RESERVATION",
    "REPORT CAPABILITIES",
    "READ FULL STATUS",
    "REGISTER",
    "RESERVE",
    "RELEASE",
    "CLEAR",
    "PREEMPT",
    "PREEMPT AND ABORT",
    "REGISTER AND IGNORE EXISTING KEY",
    "REGISTER AND MOVE",
    "REPLACE LOST RESERVATION",
];

/// What a request can come to, as counted.
pub const REQUEST_RESULTS: [&str; 5] = ["good", "conflict", "check-condition", "busy", "other"];

/// The place in [`REQUEST_RESULTS`] of a SCSI status byte (SAM-5, 5.3.1).
pub const fn request_result(status: u8) -> usize {
    match status {
        0x00 => 0,
        0x18 => 1,
        0x02 => 2,
        // BUSY and TASK SET FULL: come back later.
        0x08 | 0x28 => 3,
        _ => 4,
    }
}

/// The helper at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The helper's version.
    pub version: String,
    /// Its process number.
    pub pid: u32,
    /// When it started: microseconds since the Unix epoch.
    pub started_us: u64,
    /// For how long it has been running, in microseconds.
    pub uptime_us: u64,
    /// How many connections it serves at the most.
    pub max_connections: u64,
    /// Sums since the start.
    pub totals: Totals,
    /// Requests by action and result; pairs that never came up are left out.
    pub requests: Vec<Requests>,
    /// Clients that broke the protocol, by rule.
    pub violations: Vec<Named>,
    /// Requests that were answered without asking the device, by reason.
    pub refusals: Vec<Named>,
    /// The connections.
    pub connections: Vec<Connection>,
    /// The trace events that are enabled.
    pub trace: Vec<String>,
    /// The settings in force, if there is a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
}

/// The settings in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The file that they came from.
    pub path: String,
    /// How many rules there are.
    pub rules: u64,
    /// When they were read: microseconds since the Unix epoch.
    pub since_us: u64,
}

/// Sums.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections turned away because all places were taken.
    pub turned_away: u64,
    /// Connections turned away because their user or process has as many as it may have.
    #[serde(default)]
    pub over_limit: u64,
    /// How often a connection was left unread for a while, because its process is over its rate.
    #[serde(default)]
    pub paused: u64,
    /// Connections closed because the client did not go on in time.
    pub overdue: u64,
    /// Commands given to the multipath broker.
    pub multipath_commands: u64,
    /// Commands that the multipath broker is at now.
    pub multipath_in_flight: u64,
    /// Multipath commands without an answer: their process died, the time was over, or there was none.
    pub multipath_failures: u64,
    /// What there was to say about maps: what is not as it should be on which path, and what was done about it.
    #[serde(default)]
    pub multipath_notes: u64,
    /// Multipath maps in use.
    #[serde(default)]
    pub multipath_maps: u64,
    /// Those of them that the broker suspended and could not resume: I/O on them stands still.
    #[serde(default)]
    pub multipath_suspended: u64,
    /// Processes of the broker that died and were replaced.
    #[serde(default)]
    pub multipath_deaths: u64,
    /// Paths that had gone, or were put out of use, and have their guest's key again.
    #[serde(default)]
    pub multipath_restored: u64,
    /// Audit records written.
    pub audit_records: u64,
    /// Commands that were counted in an audit record and have none of their own.
    pub audit_left_out: u64,
    /// One once records have no names any more, because the process that looks them up is gone.
    #[serde(default)]
    pub without_names: u64,
    /// Messages, traces and records that were lost because nobody took them in time.
    pub messages_lost: u64,
}

/// Requests of one kind that ended in one way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// The service action, one of [`REQUEST_ACTIONS`]; `OTHER IN` or `OTHER OUT` for what has no name.
    pub action: String,
    /// One of [`REQUEST_RESULTS`].
    pub result: String,
    /// How many took how long: one number for each of [`BUCKETS`], and one for those above.
    pub buckets: Vec<u64>,
    /// How long all of them took together, in microseconds.
    pub sum_us: u64,
}

impl Requests {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// A name and a number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The name.
    pub name: String,
    /// The number.
    pub count: u64,
}

/// One connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Who is at the other end.
    pub client: Client,
    /// For how long it has been connected, in microseconds.
    pub age_us: u64,
    /// How many requests it has sent.
    pub requests: u64,
    /// The command that is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<InFlight>,
    /// The last command that did not end in GOOD.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Failure>,
    /// For how long what the client sent has been being closed, in microseconds. It may have hung up already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closing_us: Option<u64>,
}

/// A command under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// Its service action.
    pub action: String,
    /// Where it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// Since when, in microseconds.
    pub for_us: u64,
}

/// A command that did not end in GOOD.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its service action.
    pub action: String,
    /// Its SCSI status.
    pub status: String,
    /// Its sense data in words, where there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sense: Option<String>,
    /// How long ago, in microseconds.
    pub ago_us: u64,
}
