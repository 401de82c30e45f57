//! Users, and becoming one.

use std::{ffi::CString, io, mem::MaybeUninit, ptr};

/// More than any entry takes; one that is longer counts as unknown.
const BUFFER: usize = 16 * 1024;

/// More groups than Linux lets a process have (`NGROUPS_MAX`).
const MAX_GROUPS: libc::c_int = 65_536;

/// A user of this system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The number.
    pub uid: u32,
    /// That of the primary group.
    pub gid: u32,
    /// All groups that the user is a member of.
    pub groups: Vec<u32>,
}

/// The user with a name, where there is one.
pub fn find(name: &str) -> Option<User> {
    let name = CString::new(name).ok()?;
    let mut entry = MaybeUninit::<libc::passwd>::uninit();
    let mut buffer = vec![0; BUFFER];
    let mut found = ptr::null_mut();
    // SAFETY: the name is NUL-terminated, entry and buffer are live and of the sizes given.
    unsafe { libc::getpwnam_r(name.as_ptr(), entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &raw mut found) };
    // SAFETY: `found` is null, or points to the entry, which the call has filled then.
    let (uid, gid) = unsafe { found.as_ref() }.map(|entry| (entry.pw_uid, entry.pw_gid))?;
    let mut length: libc::c_int = 64;
    loop {
        let mut groups = vec![0; usize::try_from(length).ok()?];
        let room = length;
        // SAFETY: the name is NUL-terminated, and `groups` has room for as many groups as `length` says.
        let result = unsafe { libc::getgrouplist(name.as_ptr(), gid, groups.as_mut_ptr(), &raw mut length) };
        if result >= 0 {
            groups.truncate(usize::try_from(length).ok()?);
            return Some(User { uid, gid, groups });
        }
        // glibc sets the number of groups; for a library that does not, the buffer is doubled.
        length = length.max(room.saturating_mul(2));
        if length > MAX_GROUPS {
            return None;
        }
    }
}

/// Makes this process one of that user, for good: all of its threads, with all of their ids.
pub fn switch_to(user: &User) -> io::Result<()> {
    let done = |result| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: the pointer is to as many groups as it says.
    done(unsafe { libc::setgroups(user.groups.len(), user.groups.as_ptr()) })?;
    // SAFETY: it takes numbers and touches no memory of this process.
    done(unsafe { libc::setresgid(user.gid, user.gid, user.gid) })?;
    // SAFETY: as above. Last, because the calls before need root.
    done(unsafe { libc::setresuid(user.uid, user.uid, user.uid) })?;
    Ok(rustix::thread::set_no_new_privs(true)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_with_their_groups() {
        let root = find("root").expect("root");
        assert_eq!((root.uid, root.gid), (0, 0));
        assert!(root.groups.contains(&0), "{root:?}");
        assert_eq!(find("there is no such user"), None);
        assert_eq!(find("a\0b"), None);
    }
}
