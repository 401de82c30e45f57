//! Locks of single bytes of a file that belong to an open file description: all processes that have inherited it hold
//! them, and the last of them that ends gives them up.

use std::{
    io, mem,
    os::fd::{AsRawFd, BorrowedFd},
};

/// Locks a byte; false if another process has it.
///
/// # Errors
/// What the kernel says.
pub fn claim(file: BorrowedFd<'_>, byte: i32) -> io::Result<bool> {
    let lock = one(byte)?;
    // SAFETY: the lock is a whole one, which the kernel only reads.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) { Ok(false) } else { Err(error) }
}

/// Whether another process has locked a byte.
///
/// # Errors
/// What the kernel says.
pub fn is_claimed(file: BorrowedFd<'_>, byte: i32) -> io::Result<bool> {
    let mut lock = one(byte)?;
    // SAFETY: the lock is a whole one, which is ours for the kernel to write to.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

fn one(byte: i32) -> io::Result<libc::flock> {
    // SAFETY: zeros are a valid value; the process number has to be zero for locks of this kind.
    let mut lock: libc::flock = unsafe { mem::zeroed() };
    lock.l_type = libc::F_WRLCK.try_into().map_err(io::Error::other)?;
    lock.l_whence = libc::SEEK_SET.try_into().map_err(io::Error::other)?;
    lock.l_start = byte.into();
    lock.l_len = 1;
    Ok(lock)
}
