//! Privilege separation: what the daemon gives up is left to child processes that are forked before.
//!
//! The order of a start is kept by types: what has to happen while the process is alone and privileged takes a
//! [`Privileged`], [`drop`](privileges::drop) consumes it, only the [`Unprivileged`](privileges::Unprivileged) that comes
//! out of that enters the sandbox, and only a [`Sandboxed`](privileges::Sandboxed) process starts threads.

pub mod child;
pub mod privileges;
mod readiness;

pub use self::{
    privileges::{Privileged, Sandboxed, Unprivileged, enter_sandbox},
    readiness::{ChildError, Wait, WaitError, await_ready},
};
