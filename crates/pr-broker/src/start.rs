//! How a process becomes the broker.

use std::{cell::OnceCell, ffi::CStr, os::fd::OwnedFd};

use pr_sandbox::{
    ChildError, Privileged, Sandbox,
    child::{self, UnreadyError},
    privileges, sandbox,
};

use crate::{
    keeper::{self, Means},
    limits::Descriptors,
    lock,
};

/// What the broker is called among the processes.
const NAME: &CStr = c"qemu-pr-broker";

/// Starts the broker, below the limit of a daemon that needs these descriptors; the daemon's end of the line to it.
///
/// # Errors
/// The system has no room for another process.
pub fn start(privileged: &Privileged, sandbox: Sandbox, daemon: Descriptors) -> Result<OwnedFd, ChildError> {
    let means = OnceCell::new();
    let reduce = || reduce(sandbox, daemon, &means);
    child::fork(privileged, NAME, &[], reduce, |line| serve(line, &means))
}

/// Makes this process the broker of the daemon at the other end of the line.
pub fn become_broker(privileged: &Privileged, line: &OwnedFd, sandbox: Sandbox, daemon: Descriptors) -> ! {
    let means = OnceCell::new();
    child::run(privileged, line, NAME, &[], || reduce(sandbox, daemon, &means), |line| serve(line, &means))
}

fn serve(line: &OwnedFd, means: &OnceCell<Means>) {
    // They were made before this process was ready.
    if let Some(means) = means.get() {
        keeper::serve(line, means);
    }
}

/// Leaves the broker what multipath needs, and gives it the memory that all its processes share.
fn reduce(sandbox: Sandbox, daemon: Descriptors, means: &OnceCell<Means>) -> Result<(), UnreadyError> {
    let _ = means.set(Means::new(daemon).map_err(UnreadyError::Memory)?);
    lock::prepare();
    privileges::keep_for_multipath()?;
    Ok(sandbox::broker(sandbox)?)
}
