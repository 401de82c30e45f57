//! Child processes: forked at the start for what the daemon itself gives up. Each has an IPC socket to the daemon, on
//! which it first says whether it is ready (`readiness`).

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use pr_sys::process::{self, Fork};
use rustix::{
    buffer::spare_capacity,
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair},
};
use thiserror::Error;

use super::{
    privileges::{self, PrivilegeError, Privileged},
    readiness::{ChildError, MAX_REASON, READY},
};
use crate::sandbox::{self, Sandbox, SandboxError};

/// Forks a process with a name of its own, so that looking for the daemon finds one process. It keeps these descriptors,
/// drops its privileges and enters its sandbox with `reduce`, and then does its work until its socket to the daemon, whose
/// other end this returns, is closed.
pub fn fork(
    privileged: &Privileged,
    name: &CStr,
    keep: &[BorrowedFd<'_>],
    reduce: impl FnOnce() -> Result<(), UnreadyError>,
    work: impl FnOnce(&OwnedFd),
) -> Result<OwnedFd, ChildError> {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).map_err(io::Error::from)?;
    match process::fork()? {
        Fork::Parent(_) => Ok(ours),
        Fork::Child => {
            drop(ours);
            run(privileged, &theirs, name, keep, reduce, work)
        }
    }
}

/// Forks one that reads what every user may read, without any privileges, and answers questions about that.
pub fn fork_resolver(
    privileged: &Privileged,
    name: &CStr,
    sandbox: Sandbox,
    work: impl FnOnce(&OwnedFd),
) -> Result<OwnedFd, ChildError> {
    let reduce = || {
        privileges::keep_nothing()?;
        Ok(sandbox::resolver(sandbox)?)
    };
    fork(privileged, name, &[], reduce, work)
}

/// The next message on an IPC socket, with the room that `bytes` has; false when there are no more.
pub fn receive(socket: &OwnedFd, bytes: &mut Vec<u8>) -> bool {
    loop {
        bytes.clear();
        match recv(socket, spare_capacity(bytes), RecvFlags::empty()) {
            Err(Errno::INTR) => {}
            Ok((_, 0)) | Err(_) => return false,
            Ok(_) => return true,
        }
    }
}

/// Makes this process a child process: with its socket to the daemon, these descriptors, and nothing else of what it had.
pub fn run(
    privileged: &Privileged,
    socket: &OwnedFd,
    name: &CStr,
    keep: &[BorrowedFd<'_>],
    reduce: impl FnOnce() -> Result<(), UnreadyError>,
    work: impl FnOnce(&OwnedFd),
) -> ! {
    // The log and the trace are the daemon's; the numbers of their descriptors soon mean something else here.
    (privileged.in_child)();
    let _ = rustix::thread::set_name(name);
    let ready =
        process::detach(&[keep, &[socket.as_fd()]].concat()).map_err(UnreadyError::Detach).and_then(|()| reduce());
    match ready {
        Ok(()) if send_message(socket, READY).is_ok() => work(socket),
        Ok(()) => {}
        Err(error) => {
            let reason = error.to_string();
            let _ = send_message(socket, &reason.as_bytes()[..reason.len().min(MAX_REASON)]);
        }
    }
    process::exit_now(0)
}

/// Why a child process cannot do its work.
#[derive(Debug, Error)]
pub enum UnreadyError {
    /// It cannot close the daemon's files.
    #[error("cannot close the files of its parent process: {0}")]
    Detach(#[source] io::Error),
    /// It has no memory for what it has to know.
    #[error("cannot allocate the memory that the multipath processes share: {0}")]
    Memory(#[source] io::Error),
    /// It cannot drop its privileges.
    #[error(transparent)]
    Privilege(#[from] PrivilegeError),
    /// It cannot enter its sandbox.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

/// Sends a message on an IPC socket, however long the other end takes to read.
pub fn send_message(socket: &OwnedFd, message: &[u8]) -> Result<(), Errno> {
    loop {
        match send(socket, message, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            result => return result.map(drop),
        }
    }
}
