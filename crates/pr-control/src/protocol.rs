//! The conversation: the client sends one [`Ask`] as a line of JSON, the helper sends [`Answer`]s as lines of JSON and
//! hangs up. All but [`Ask::Log`] get one answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{record::Record, snapshot::Snapshot};

/// The longest line that the helper reads, in bytes: a settings file with everything in it that JSON escapes.
pub const MAX_ASK: usize = 4 * MAX_SETTINGS;

/// The longest settings file, in bytes.
pub const MAX_SETTINGS: usize = 128 * 1024;

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Ask {
    /// The helper's state now.
    Snapshot,
    /// The audit log from now on, until either side hangs up.
    Log,
    /// Enable trace events, or disable those with `-` in front: names and globs, as with `-T`.
    Trace {
        /// The patterns, in order.
        patterns: Vec<String>,
    },
    /// Replace the settings. The helper opens no files and asks no directory, so both come along.
    Reload {
        /// The file, for messages.
        path: String,
        /// What is in it.
        text: String,
        /// The numbers of the users that it names, as far as there are such users.
        users: BTreeMap<String, u32>,
        /// The same for groups.
        groups: BTreeMap<String, u32>,
    },
}

/// What the helper answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// To [`Ask::Snapshot`].
    Snapshot(Box<Snapshot>),
    /// To [`Ask::Log`], first: the records from here on are complete.
    Following,
    /// To [`Ask::Log`], one for each record.
    Record(Box<Record>),
    /// To [`Ask::Log`]: so many records did not reach this client, because it read too slowly.
    Lost {
        /// How many.
        count: u64,
    },
    /// It is done.
    Done {
        /// What was odd about it.
        warnings: Vec<String>,
    },
    /// It is not done.
    Failed {
        /// Why, and what to do.
        reason: String,
    },
}
