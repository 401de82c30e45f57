//! Serves clients.
//!
//! What imports what, from the top: `main_loop` ▶ `worker` ▶ `accept` ▶ `context` ▶ `connection_table` ▶ `connection` ▶
//! `shared`. A connection knows what it shares with the others, and neither them nor the threads.

mod accept;
mod closer;
mod connection;
mod connection_table;
mod context;
mod control_handler;
mod delayed;
#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod for_tests;
mod main_loop;
mod shared;
mod status;
mod token;
mod worker;
mod worker_pool;

pub use self::main_loop::run;
#[cfg(fuzzing)]
pub use self::{context::Server, main_loop::wait_for, shared::Shared, worker::start as start_workers};
