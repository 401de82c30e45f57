//! What the helper tells of itself: the records of its audit log, a snapshot of its counters and connections, and
//! the conversation on its control socket that carries both.
//!
//! The daemon fills these types in, `qemu-pr-ctl` and `qemu-pr-exporter` show them. Their JSON is public: fields may be added, none changes
//! its meaning.
#![forbid(unsafe_code)]

mod client;
pub mod deadline;
mod find;
mod protocol;
mod record;
mod snapshot;

pub use client::{Control, ControlError, Follow, Told};
pub use find::{DEFAULT_CONTROL, sockets};
pub use protocol::{Answer, Ask, MAX_ASK, MAX_SETTINGS};
pub use record::{Client, Command, Count, Device, Outcome, Record, What};
pub use snapshot::{
    BUCKETS, Connection, Failure, HUNG_US, InFlight, Named, REQUEST_ACTIONS, REQUEST_RESULTS, Requests, Settings,
    Snapshot, Totals, request_result,
};

/// What all programs say of themselves: the version, and in parentheses the revision of the source where it is known.
pub const VERSION: &str = env!("QEMU_PR_VERSION");
