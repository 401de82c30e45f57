//! Processes and descriptors that come from outside.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use rustix::process::Pid;

/// Which side of a [`fork`] this is.
pub enum Fork {
    /// The process that went on, with the number of its child.
    Parent(Pid),
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
        pid => Ok(Fork::Parent(Pid::from_raw(pid).ok_or(io::ErrorKind::Other)?)),
    }
}

/// Closes every descriptor but the standard ones and those named: what a process inherited from one that has other
/// things to do. Whoever calls this never returns to code that owns one of them.
pub fn close_all_but(keep: &[BorrowedFd<'_>]) {
    let mut keep: Vec<libc::c_uint> = keep.iter().filter_map(|fd| fd.as_raw_fd().try_into().ok()).collect();
    keep.sort_unstable();
    let mut first = 3;
    for fd in keep.into_iter().chain([libc::c_uint::MAX]) {
        if first < fd {
            // SAFETY: closing descriptors breaks those who still use them; this process has nobody of that kind left.
            unsafe { libc::close_range(first, fd - 1, 0) };
        }
        first = fd.saturating_add(1);
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
