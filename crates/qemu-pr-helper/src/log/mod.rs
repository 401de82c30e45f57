//! What the program says: messages and audit records on standard error or in the journal, traces where `-T` wants
//! them. Logging never makes a client wait: all of it goes through a bounded queue to a thread of its own, and what
//! does not fit is counted and dropped.
//!
//! Other rooms log with `tracing`'s macros (`subscriber`); the audit log has lines of its own ([`Record`]).

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
pub mod for_tests;
pub mod format;
mod ftrace;
mod handle;
mod journal;
mod once;
mod output;
mod queue;
mod rate_limit;
mod subscriber;
pub mod trace;

pub use self::{
    handle::{Backlog, Log},
    once::Once,
    output::Output,
    queue::Record,
    rate_limit::{RateLimit, Source},
};
