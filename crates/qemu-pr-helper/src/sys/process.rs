//! Processes and descriptors that come from outside.

use std::{
    io,
    os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

/// Which side of a [`fork`] this is.
pub enum Fork {
    /// The process that went on.
    Parent,
    /// The new process.
    Child,
}

/// Splits the process in two.
///
/// # Errors
/// The system has no room for another process.
///
/// # Panics
/// When this process has more than one thread: the child would have the other threads' locks without the threads.
pub fn fork() -> io::Result<Fork> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    assert_eq!(threads, 1, "a process with several threads must not fork");
    // SAFETY: there is one thread (just counted), so that the child's memory is consistent.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        _ => Ok(Fork::Parent),
    }
}

/// Ends the process now, without running destructors: what they would undo belongs to another process, or must stay.
pub fn exit_now(code: u8) -> ! {
    // SAFETY: ends the process; nothing of it is used afterwards.
    unsafe { libc::_exit(code.into()) }
}

/// Takes over a descriptor that this process was started with, by its number.
///
/// # Errors
/// `EBADF` when there is none.
pub fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: asks about a number; whatever it is, nothing is changed.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and by the activation protocol it is this program's own; nothing else here uses it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What is behind a descriptor that another thread of this process has open, as its device number or the number of
/// its file system. It may be closed or replaced meanwhile: good enough for a message, not for a decision.
pub fn describe(fd: RawFd) -> Option<String> {
    if fd < 0 {
        return None;
    }
    // SAFETY: the number is not negative, and a closed descriptor makes fstat fail and does nothing else.
    let stat = rustix::fs::fstat(unsafe { BorrowedFd::borrow_raw(fd) }).ok()?;
    let (kind, number) = match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
        rustix::fs::FileType::BlockDevice => ("block device", stat.st_rdev),
        rustix::fs::FileType::CharacterDevice => ("character device", stat.st_rdev),
        _ => ("file on device", stat.st_dev),
    };
    Some(format!("{kind} {}:{}", rustix::fs::major(number), rustix::fs::minor(number)))
}
