//! Users and groups by name.

use std::{
    ffi::{CStr, c_int},
    io,
    mem::MaybeUninit,
    ptr,
};

/// A user, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User(pub u32);

/// A group, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group(pub u32);

/// More than any entry takes.
const BUFFER: usize = 16 * 1024;

/// The user id of a name, where there is such a user.
///
/// # Errors
/// The database cannot be read.
pub fn user_id(name: &CStr) -> io::Result<Option<u32>> {
    let mut entry = MaybeUninit::<libc::passwd>::uninit();
    let mut buffer = [0; BUFFER];
    let mut found = ptr::null_mut();
    // SAFETY: the name is NUL-terminated, entry and buffer are live and of the sizes given.
    let error = uninterrupted(|| unsafe {
        libc::getpwnam_r(name.as_ptr(), entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &raw mut found)
    });
    // SAFETY: `found` is null, or points to the entry, which the call has filled then.
    let id = unsafe { found.as_ref() }.map(|entry| entry.pw_uid);
    looked_up(error).map(|()| id)
}

/// The group id of a name, where there is such a group.
///
/// # Errors
/// As above.
pub fn group_id(name: &CStr) -> io::Result<Option<u32>> {
    let mut entry = MaybeUninit::<libc::group>::uninit();
    let mut buffer = [0; BUFFER];
    let mut found = ptr::null_mut();
    // SAFETY: as above.
    let error = uninterrupted(|| unsafe {
        libc::getgrnam_r(name.as_ptr(), entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &raw mut found)
    });
    // SAFETY: as above.
    let id = unsafe { found.as_ref() }.map(|entry| entry.gr_gid);
    looked_up(error).map(|()| id)
}

/// Looks again when a signal came between.
fn uninterrupted(mut look: impl FnMut() -> c_int) -> c_int {
    loop {
        match look() {
            libc::EINTR => {}
            error => return error,
        }
    }
}

/// "There is none" is an answer, and some databases say it with an error.
fn looked_up(error: c_int) -> io::Result<()> {
    match error {
        0 | libc::ENOENT | libc::ESRCH => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}
