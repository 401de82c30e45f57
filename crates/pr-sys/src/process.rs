//! Processes and descriptors that come from outside.

use std::{
    fs::File,
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

/// How many threads a process may have that forks. The thread sanitizer gives a forked process one of its own, which it
/// starts again in the next.
const ALLOWED_THREADS: usize = if cfg!(thread_sanitizer) { 2 } else { 1 };

/// Splits the process in two.
///
/// # Errors
/// The system has no room for another process.
///
/// # Panics
/// When this process has more than one thread: the child would have the other threads' locks without the threads.
pub fn fork() -> io::Result<Fork> {
    // Without /proc that is not known.
    let threads = match std::fs::read_dir("/proc/self/task") {
        Ok(threads) => threads.collect::<io::Result<Vec<_>>>()?.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 1,
        Err(error) => return Err(error),
    };
    assert!(threads <= ALLOWED_THREADS, "a process with several threads must not fork");
    // SAFETY: there is one thread of ours (just counted), so that the child's memory is consistent.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(Pid::from_raw(pid).ok_or(io::ErrorKind::Other)?)),
    }
}

/// Closes every descriptor but the standard ones and those named: what a process inherited from one that has other
/// things to do. The caller never returns to code that owns one of them.
///
/// # Errors
/// There is neither `close_range` (Linux 5.9) nor a list of them.
pub fn close_all_but(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut keep: Vec<libc::c_uint> = keep.iter().filter_map(|fd| fd.as_raw_fd().try_into().ok()).collect();
    keep.sort_unstable();
    let mut first = 3;
    for fd in keep.iter().copied().chain([libc::c_uint::MAX]) {
        // SAFETY: closing descriptors breaks code that still uses them; this process has none of that kind left.
        if first < fd && unsafe { libc::close_range(first, fd - 1, 0) } < 0 {
            return close_listed(&keep);
        }
        first = fd.saturating_add(1);
    }
    Ok(())
}

/// The same, one by one.
fn close_listed(keep: &[libc::c_uint]) -> io::Result<()> {
    let names = std::fs::read_dir("/proc/self/fd")?.map(|entry| Ok(entry?.file_name()));
    let names = names.collect::<io::Result<Vec<_>>>()?;
    let numbers = names.iter().filter_map(|name| name.to_str()?.parse::<RawFd>().ok());
    for fd in numbers.filter(|fd| *fd > 2 && libc::c_uint::try_from(*fd).is_ok_and(|fd| !keep.contains(&fd))) {
        // SAFETY: as above; that of the list itself is closed by now, and closing nothing does no harm.
        unsafe { libc::close(fd) };
    }
    Ok(())
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

/// Lets go of everything that a process inherited from the daemon but these descriptors: the rest is the daemon's, and
/// so is the terminal.
///
/// # Errors
/// There is no `/dev/null`, or what is inherited cannot be closed.
pub fn detach(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    close_all_but(keep)?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}
