//! What rules need to know of processes and disks: the process that finds it out, and what is said to it and by it.

use std::os::fd::OwnedFd;

use pr_device::{Identity, Kind};
use pr_sandbox::{ChildError, Privileged, Sandbox, child};
use serde::{Deserialize, Serialize};

use crate::{
    aliases::{self, Aliases},
    exchange, unit,
};

/// The longest message: the names of a map of many paths.
pub const MAX_MESSAGE: usize = 2 * aliases::MAX_BYTES;

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub enum About {
    /// The control group of a process.
    ControlGroup {
        /// Its number.
        pid: u32,
        /// It has had that since before then, in clock ticks since the system started.
        connected: u64,
    },
    /// All names of a disk.
    Aliases {
        /// The kind of device, as its code.
        kind: u8,
        /// The device number.
        device: u64,
    },
}

/// What was found.
#[derive(Debug, Serialize, Deserialize)]
pub enum Found {
    /// The path of the control group; `None` if the process is gone, or its number is another's.
    ControlGroup(Option<String>),
    /// The names; `None` if there is no such disk.
    Aliases(Option<Aliases>),
}

/// Starts the process; the daemon's end of the socket to it.
///
/// # Errors
/// The system has no room for another process.
pub fn start(privileged: &Privileged, sandbox: Sandbox) -> Result<OwnedFd, ChildError> {
    child::fork_resolver(privileged, c"qemu-pr-resolve", sandbox, serve)
}

/// Answers until the daemon is gone.
pub fn serve(socket: &OwnedFd) {
    let find = |about| match about {
        About::ControlGroup { pid, connected } => Found::ControlGroup(unit::control_group(pid, connected)),
        About::Aliases { kind, device } => {
            Found::Aliases(aliases::look_up(Identity { kind: Kind::from_code(kind), device }))
        }
    };
    // The daemon has a thread that does nothing but read this.
    exchange::serve(socket, MAX_MESSAGE, find, |answer| child::send_message(socket, answer).is_ok());
}
