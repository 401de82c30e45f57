//! Walls around each process, put up once it has what it needs: after this even somebody who takes the process over
//! from inside reaches little.
//!
//! There are two kinds. A seccomp filter lists the system calls that are allowed, with the arguments that matter; what
//! is not on the list ends the process with a message that names it. Landlock, where the kernel has it, rules out
//! every file but those that are named. What is left to each process is in `lists.rs` and below, and for
//! people in SECURITY.md.

mod arch;
mod bpf;
mod filter;
mod landlock;
mod lists;

use std::{os::fd::BorrowedFd, path::Path};

use rustix::{
    io::Errno,
    process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit},
};
use thiserror::Error;
use tracing::warn;

use landlock::Reach;
pub use lists::Process;

use crate::{boot::privilege::Unprivileged, config::Config, limits::descriptors_for, sys};

/// Whether the walls stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Sandbox {
    /// There are none.
    Off,
    /// What they would stop is reported to the kernel's log, and happens.
    Log,
    /// They stand, but for Landlock: nobody asks whether the kernel has it.
    Seccomp,
    /// They stand.
    #[default]
    Enforce,
}

/// Proof that the walls are up, as far as they were asked for. Threads are started with it.
pub struct Confined(());

#[cfg(fuzzing)]
impl Confined {
    /// A fuzzer has no walls: it measures and reports in ways that they rule out.
    pub const fn pretend() -> Self {
        Self(())
    }
}

/// Why they are not.
#[derive(Debug, Error)]
pub enum ConfineError {
    /// The filter.
    #[error("cannot confine this process: {0}; --sandbox off starts it without")]
    Filter(#[from] filter::FilterError),
    /// The files.
    #[error("cannot confine this process to its files: {0}; --sandbox seccomp starts it without that")]
    Files(#[from] landlock::FilesError),
    /// Everything else.
    #[error("cannot {step}: {error}; --sandbox off starts the program without")]
    Step {
        /// What was tried.
        step: &'static str,
        /// What the kernel says.
        error: rustix::io::Errno,
    },
}

/// The daemon's walls. It may remove files in `removable`: what it made it takes away at its end.
pub fn daemon(_: &Unprivileged, removable: &[BorrowedFd<'_>], config: &Config) -> Result<Confined, ConfineError> {
    if config.options.sandbox != Sandbox::Off {
        // As many as the connections need, and no way to more.
        let connections = u64::try_from(config.max_connections).unwrap_or(u64::MAX);
        limit(Resource::Nofile, descriptors_for(connections), "limit the number of descriptors")?;
        confine(Process::Daemon, config.options.sandbox, &landlock::Files { removable, ..Default::default() })?;
    }
    Ok(Confined(()))
}

/// The walls of the process that removes what the daemon may not.
pub fn cleanup(sandbox: Sandbox, removable: &[BorrowedFd<'_>]) -> Result<(), ConfineError> {
    match sandbox {
        Sandbox::Off => Ok(()),
        _ => confine(Process::Cleanup, sandbox, &landlock::Files { removable, ..Default::default() }),
    }
}

/// The walls of the process that looks names up.
pub fn names(sandbox: Sandbox) -> Result<(), ConfineError> {
    let reachable = ["/sys", "/run/udev", "/proc"].map(|folder| (folder, Reach::Read));
    match sandbox {
        Sandbox::Off => Ok(()),
        _ => confine(Process::Names, sandbox, &landlock::Files { reachable: &reachable, ..Default::default() }),
    }
}

/// Where device-mapper's control node is.
const MAPPER: &str = "/dev/mapper";

/// Where the locks of maps are.
const LOCKS: &str = "/run/qemu-pr-broker";

/// The walls of the multipath broker: its guard, its keeper and its workers.
pub fn broker(sandbox: Sandbox) -> Result<(), ConfineError> {
    // sysfs tells what is a map and what its paths are. The paths are opened for reading, and device-mapper's control
    // node to write to; where there is none yet, nobody knows where it will be made. How many threads there are is asked
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
        _ => confine(Process::Broker, sandbox, &files),
    }
}

fn is_there(path: &str) -> Result<bool, ConfineError> {
    let failed = |error| ConfineError::Step { step: "look for /dev/mapper", error };
    Path::new(path).try_exists().map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))
}

fn confine(process: Process, sandbox: Sandbox, files: &landlock::Files<'_>) -> Result<(), ConfineError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| ConfineError::Step { step: "keep debuggers away", error })?;
    limit(Resource::Core, 0, "rule out core dumps")?;
    if sandbox == Sandbox::Enforce {
        landlock::restrict(files)?;
    }
    if sandbox != Sandbox::Log {
        sys::sandbox::no_new_code()
            .map_err(|error| ConfineError::Step { step: "rule out memory that becomes code", error })?;
    }
    // One arena is enough for what little is allocated, and to make another one the C library may open files.
    sys::sandbox::one_arena();
    sys::sandbox::report_violations();
    if !filter::apply(process, sandbox)? {
        warn!("this kernel or architecture has no seccomp filters; the program runs without (see the systemd unit)");
    }
    Ok(())
}

/// Lowers a limit to exactly this, or leaves it where it is lower.
fn limit(resource: Resource, value: u64, step: &'static str) -> Result<(), ConfineError> {
    let now = rustix::process::getrlimit(resource);
    let lower = |limit: Option<u64>| Some(limit.map_or(value, |limit| limit.min(value)));
    let limit = Rlimit { current: lower(now.current), maximum: lower(now.maximum) };
    setrlimit(resource, limit).map_err(|error| ConfineError::Step { step, error })
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
#[path = "tests.rs"]
mod tests;
