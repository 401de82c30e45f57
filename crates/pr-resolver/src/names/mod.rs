//! The names of processes and disks, for people who read the audit log: the process that looks them up, and what is said
//! to it and by it.

mod disk;
mod peer;

use std::os::fd::OwnedFd;

use pr_control::{Client, Device};
use pr_device::{Identity, Kind};
use pr_sandbox::{ChildError, Privileged, Sandbox, child};
use rustix::net::{SendFlags, send};
use serde::{Deserialize, Serialize};

use crate::exchange;

/// More than any names have.
pub const MAX_MESSAGE: usize = 16 * 1024;

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub enum About {
    /// The names of a process.
    Process {
        /// Its number.
        pid: u32,
        /// It has had that since before then, in clock ticks since the system started.
        connected: u64,
    },
    /// The names of a disk.
    Disk {
        /// The kind of device, as its code.
        kind: u8,
        /// The device number.
        device: u64,
    },
}

/// What was found.
#[derive(Debug, Serialize, Deserialize)]
pub enum Found {
    /// Of a process.
    Process(Client),
    /// Of a disk.
    Disk(Device),
}

/// Starts the process; the daemon's end of the socket to it.
///
/// # Errors
/// The system has no room for another process.
pub fn start(privileged: &Privileged, sandbox: Sandbox) -> Result<OwnedFd, ChildError> {
    child::fork_resolver(privileged, c"qemu-pr-names", sandbox, serve)
}

/// Answers until the daemon is gone.
pub fn serve(socket: &OwnedFd) {
    let find = |about| match about {
        About::Process { pid, connected } => Found::Process(peer::look_up(pid, connected)),
        About::Disk { kind, device } => Found::Disk(disk::look_up(Identity { kind: Kind::from_code(kind), device })),
    };
    exchange::serve(socket, MAX_MESSAGE, find, |answer| {
        // The daemon does not wait for ever, and neither does this.
        let _ = send(socket, answer, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        true
    });
}
