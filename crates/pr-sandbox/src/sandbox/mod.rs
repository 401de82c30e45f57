//! The sandbox of each process, entered once it has what it needs: after this even an attacker who executes code in the
//! process reaches little.
//!
//! It has two parts. A seccomp filter lists the system calls that are allowed, with the arguments that matter; what
//! is not on the list ends the process with a message that names it. Landlock, where the kernel has it, denies
//! every file but those that are named. What is left to each process is in `syscalls.rs` and below, and for
//! people in SECURITY.md.

mod arch;
mod bpf;
mod filter;
mod landlock;
mod rule;
mod syscalls;

use std::{os::fd::BorrowedFd, path::Path};

use rustix::{
    io::Errno,
    process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit},
};
use thiserror::Error;
use tracing::warn;

use landlock::Reach;
use syscalls::Process;

/// How much of it there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sandbox {
    /// No sandbox.
    Off,
    /// Allow, but report what would be denied to the kernel's log.
    Log,
    /// Deny all other system calls. Landlock is not used, and the kernel is not asked whether it has it.
    Seccomp,
    /// Deny all other system calls and files.
    #[default]
    Enforce,
}

/// Why a process cannot enter it.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// The filter.
    #[error("cannot enter the sandbox: {0}; start without it: --sandbox off")]
    Filter(#[from] filter::FilterError),
    /// The files.
    #[error("cannot restrict access to files: {0}; start without that: --sandbox seccomp")]
    Files(#[from] landlock::FilesError),
    /// Everything else.
    #[error("cannot {step}: {error}; start without the sandbox: --sandbox off")]
    Step {
        /// What was tried.
        step: &'static str,
        /// What the kernel says.
        error: rustix::io::Errno,
    },
}

/// For the daemon. It may have so many descriptors, and remove files in `removable`: those that it has made. One that
/// simulates disks may ask a descriptor for its file offset.
pub fn daemon(
    sandbox: Sandbox,
    simulates: bool,
    descriptors: u64,
    removable: &[BorrowedFd<'_>],
) -> Result<(), SandboxError> {
    if sandbox == Sandbox::Off {
        return Ok(());
    }
    limit(Resource::Nofile, descriptors, "limit the number of descriptors")?;
    let process = if simulates { Process::Simulator } else { Process::Daemon };
    enter(process, sandbox, &landlock::Files { removable, ..Default::default() })
}

/// For the process that removes what the daemon may not.
pub fn cleanup(sandbox: Sandbox, removable: &[BorrowedFd<'_>]) -> Result<(), SandboxError> {
    match sandbox {
        Sandbox::Off => Ok(()),
        _ => enter(Process::Cleanup, sandbox, &landlock::Files { removable, ..Default::default() }),
    }
}

/// For the processes that look up names and what rules need.
pub fn resolver(sandbox: Sandbox) -> Result<(), SandboxError> {
    let reachable = ["/sys", "/run/udev", "/proc"].map(|directory| (directory, Reach::Read));
    match sandbox {
        Sandbox::Off => Ok(()),
        _ => enter(Process::Resolver, sandbox, &landlock::Files { reachable: &reachable, ..Default::default() }),
    }
}

/// Where device-mapper's control node is.
const MAPPER: &str = "/dev/mapper";

/// Where the locks of maps are.
pub const LOCKS: &str = "/run/qemu-pr-broker";

/// For the multipath broker: its guard, its keeper and its workers.
pub fn broker(sandbox: Sandbox) -> Result<(), SandboxError> {
    // sysfs tells what is a map and what its paths are. The paths are opened for reading, and device-mapper's control
    // node to write to; where there is none yet, it may be made anywhere there. How many threads there are is asked
    // of /proc. Sockets are not reached by their files.
    let control = if is_there(MAPPER)? { MAPPER } else { "/dev" };
    let reachable = [
        ("/sys", Reach::Read),
        ("/proc", Reach::Read),
        ("/dev", Reach::Devices),
        (control, Reach::WriteDevices),
        (LOCKS, Reach::Make),
    ];
    let files = landlock::Files { reachable: &reachable, reaches_abstract_sockets: true, ..Default::default() };
    match sandbox {
        Sandbox::Off => Ok(()),
        _ => enter(Process::Broker, sandbox, &files),
    }
}

fn is_there(path: &str) -> Result<bool, SandboxError> {
    let failed = |error| SandboxError::Step { step: "look for /dev/mapper", error };
    Path::new(path).try_exists().map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))
}

fn enter(process: Process, sandbox: Sandbox, files: &landlock::Files<'_>) -> Result<(), SandboxError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| SandboxError::Step { step: "keep debuggers away", error })?;
    limit(Resource::Core, 0, "rule out core dumps")?;
    if sandbox == Sandbox::Enforce {
        landlock::restrict(files)?;
    }
    if sandbox != Sandbox::Log {
        pr_sys::sandbox::no_new_code()
            .map_err(|error| SandboxError::Step { step: "rule out memory that becomes code", error })?;
    }
    // One arena is enough for what little is allocated, and to make another one the C library may open files.
    pr_sys::sandbox::one_arena();
    pr_sys::sandbox::report_violations();
    if !filter::apply(process, sandbox)? {
        warn!("this kernel or architecture has no seccomp filters; the program runs without (see the systemd unit)");
    }
    Ok(())
}

/// Lowers a limit to exactly this, or leaves it where it is lower.
fn limit(resource: Resource, value: u64, step: &'static str) -> Result<(), SandboxError> {
    let now = rustix::process::getrlimit(resource);
    let lower = |limit: Option<u64>| Some(limit.map_or(value, |limit| limit.min(value)));
    let limit = Rlimit { current: lower(now.current), maximum: lower(now.maximum) };
    setrlimit(resource, limit).map_err(|error| SandboxError::Step { step, error })
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
#[path = "tests.rs"]
mod tests;
