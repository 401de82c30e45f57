//! Users and groups by name.

use std::{ffi::CStr, mem::MaybeUninit, ptr};

/// More than any entry takes; one that is longer counts as unknown.
const BUFFER: usize = 16 * 1024;

/// The user id of a name, where there is such a user.
pub fn user_id(name: &CStr) -> Option<u32> {
    let mut entry = MaybeUninit::<libc::passwd>::uninit();
    let mut buffer = [0; BUFFER];
    let mut found = ptr::null_mut();
    // SAFETY: the name is NUL-terminated, entry and buffer are live and of the sizes given.
    unsafe { libc::getpwnam_r(name.as_ptr(), entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &raw mut found) };
    // SAFETY: `found` is null, or points to the entry, which the call has filled then.
    unsafe { found.as_ref() }.map(|entry| entry.pw_uid)
}

/// The group id of a name, where there is such a group.
pub fn group_id(name: &CStr) -> Option<u32> {
    let mut entry = MaybeUninit::<libc::group>::uninit();
    let mut buffer = [0; BUFFER];
    let mut found = ptr::null_mut();
    // SAFETY: as above.
    unsafe { libc::getgrnam_r(name.as_ptr(), entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &raw mut found) };
    // SAFETY: as above.
    unsafe { found.as_ref() }.map(|entry| entry.gr_gid)
}
