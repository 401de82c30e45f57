//! What the program says: messages and audit records on standard error or in the journal, traces where `-T` wants
//! them. Logging never makes a client wait: all of it goes through a bounded queue to a thread of its own, and what
//! does not fit is counted and dropped.
//!
//! Other rooms log with `tracing`'s macros (`subscriber`); the audit log has lines of its own ([`Record`]).

pub mod format;
mod ftrace;
mod journal;
mod once;
mod output;
mod queue;
mod rate_limit;
mod subscriber;
pub mod trace;

pub use self::{
    once::Once,
    output::Output,
    queue::{Backlog, Record, finish, lost, record, silence, start, wake},
    rate_limit::{RateLimit, Source},
    subscriber::{also_to_standard_error, install},
};
