//! Seccomp filters, as the kernel takes them.

use std::io;

use libc::{sock_filter, sock_fprog};

/// Puts a filter into force, for this thread and those that it starts.
///
/// # Errors
/// `EINVAL` or `ENOSYS` where the kernel has no filters; `EACCES` unless new privileges are ruled out.
pub fn apply(program: &[sock_filter]) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    let program = sock_fprog { len, filter: program.as_ptr().cast_mut() };
    let flags: libc::c_ulong = 0;
    // SAFETY: the kernel reads `len` instructions where the pointer says, writes nothing, and keeps no pointer.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
