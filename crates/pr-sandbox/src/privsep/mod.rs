//! Dropping privileges, child processes, and whether they are ready.

pub mod child;
pub mod privileges;
mod readiness;

pub use self::{
    privileges::{Privileged, Sandboxed, Unprivileged, enter_sandbox},
    readiness::{ChildError, Wait, WaitError, await_ready},
};
