//! Privilege separation: what the daemon gives up is left to child processes that are forked before, and each of them
//! keeps what its work takes and enters a sandbox of its own.
//!
//! The order of a start is kept by types: what has to happen while the process is alone and privileged takes a
//! [`Privileged`], [`drop`](privileges::drop) consumes it, only the [`Unprivileged`] that comes out of that enters the
//! sandbox, and only a [`Sandboxed`] process starts threads.
//!
//! It is all in one crate because neither half is right without the other: a process is ready when it is in its sandbox,
//! and a sandbox is entered by who has dropped its privileges. The processes have lists here ([`sandbox`]); what they do
//! with what they may is not known, nor the command line, the settings and where messages go.
#![forbid(unsafe_code)]

mod privsep;
pub mod sandbox;

pub use self::{
    privsep::{
        ChildError, Privileged, Sandboxed, Unprivileged, Wait, WaitError, await_ready, child, enter_sandbox, privileges,
    },
    sandbox::{Sandbox, SandboxError},
};
