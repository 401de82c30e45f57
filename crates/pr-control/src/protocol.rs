//! The conversation: the client sends one [`Ask`] as a line of JSON, the helper sends [`Answer`]s as lines of JSON and
//! hangs up. All but [`Ask::Log`] get one answer.

use serde::{Deserialize, Serialize};

use crate::{record::Record, snapshot::Snapshot};

/// The longest line that the helper reads, in bytes.
pub const MAX_ASK: usize = 4096;

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Ask {
    /// The helper's state now.
    Snapshot,
    /// The audit trail from now on, until either side hangs up.
    Log,
    /// Enable trace events, or disable those with `-` in front: names and globs, as with `-T`.
    Trace {
        /// The patterns, in order.
        patterns: Vec<String>,
    },
    /// Read the configuration file again.
    Reload,
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
