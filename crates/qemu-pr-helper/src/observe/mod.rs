//! What the program says: messages on standard error, traces where `-T` wants them. Saying it never makes a client
//! wait: lines go through a bounded queue to a thread of their own, and what does not fit is counted and dropped.

pub mod audit;
pub mod control;
pub mod limit;
pub mod log;
pub mod metrics;
pub mod names;
mod sink;
pub mod trace;

pub use sink::{finish, lost, start};
