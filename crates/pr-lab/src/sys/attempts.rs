//! System calls as an attacker would make them who executes code in a process.

use std::{ffi::CStr, io};

/// What stands for a path in the arguments of [`attempt`].
pub const PATH: i64 = -0x5afe;

/// Makes a system call; [`PATH`] among the arguments is replaced by `path`.
///
/// The caller names calls that a filter stops, or that change nothing when they are not.
pub fn attempt(number: libc::c_long, arguments: [i64; 6], path: &CStr) -> io::Result<i64> {
    let path = i64::try_from(path.as_ptr().addr()).map_err(io::Error::other)?;
    let arguments = arguments.map(|argument| if argument == PATH { path } else { argument });
    let [first, second, third, fourth, fifth, sixth] = arguments;
    // SAFETY: every pointer among the arguments is null or a live string, so the kernel reads nothing else, and what
    // the calls do to this process is what its tests are about.
    match unsafe { libc::syscall(number, first, second, third, fourth, fifth, sixth) } {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result),
    }
}
