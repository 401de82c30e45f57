//! What the program says: messages and audit records on standard error or in the journal, traces where `-T` wants
//! them. Saying it never makes a client wait: all of it goes through a bounded queue to a thread of its own, and what
//! does not fit is counted and dropped.

pub mod audit;
pub mod control;
pub mod follow;
pub mod format;
mod ftrace;
mod journal;
pub mod limit;
pub mod log;
pub mod names;
pub mod once;
mod output;
pub mod share;
pub mod sink;
pub mod trace;

pub use sink::{finish, lost, start};
