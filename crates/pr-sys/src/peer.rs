//! What the kernel says of the process at the other end of a Unix socket, beyond user and number (unix(7)).

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// More groups than Linux lets a process have (`NGROUPS_MAX`).
const MAX_GROUPS: usize = 65_536;

/// Longer than any security context.
const MAX_CONTEXT: usize = 4096;

/// The groups of the peer when it connected: its own and the supplementary ones.
///
/// # Errors
/// What the kernel says; it knows this since Linux 4.13.
pub fn groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let own = rustix::net::sockopt::socket_peercred(socket)?.gid.as_raw();
    let mut groups = vec![0; 64];
    let length = match read(socket, libc::SO_PEERGROUPS, &mut groups) {
        Err(error) if error.raw_os_error() == Some(libc::ERANGE) => {
            groups = vec![0; MAX_GROUPS];
            read(socket, libc::SO_PEERGROUPS, &mut groups)?
        }
        result => result?,
    };
    groups.truncate(length / size_of::<u32>());
    groups.push(own);
    Ok(groups)
}

/// The security context of the peer when it connected, by SELinux or the security module in its place.
///
/// # Errors
/// There is no such module.
pub fn context(socket: BorrowedFd<'_>) -> io::Result<String> {
    let mut bytes = vec![0u8; MAX_CONTEXT];
    let length = read(socket, libc::SO_PEERSEC, &mut bytes)?;
    bytes.truncate(length);
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_end_matches(['\0', '\n']);
    if text.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(text.to_owned()) }
}

/// The process that connected, as long as it lives; `None` where the kernel does not hand it out (before Linux 6.5).
///
/// # Errors
/// It is gone.
pub fn process(socket: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let mut fd = [-1];
    match read(socket, libc::SO_PEERPIDFD, &mut fd) {
        // SAFETY: the kernel has just made this descriptor for the caller; nothing else knows its number.
        Ok(_) => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd[0]) })),
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether such a process lives.
pub fn is_alive(process: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&now)), Ok(0))
}

/// Numbers that the kernel may write as it likes.
trait Plain: Copy {}
impl Plain for u8 {}
impl Plain for u32 {}
impl Plain for i32 {}

/// Reads an option into `value`; how many bytes there are.
fn read<T: Plain>(socket: BorrowedFd<'_>, option: libc::c_int, value: &mut [T]) -> io::Result<usize> {
    let mut length = libc::socklen_t::try_from(size_of_val(value)).map_err(io::Error::other)?;
    // SAFETY: the pointer is to as many bytes as the length says, and every bit pattern is a value of their type.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value.as_mut_ptr().cast(), &raw mut length)
    };
    if result == 0 { usize::try_from(length).map_err(io::Error::other) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use std::os::{fd::AsFd, unix::net::UnixStream};

    use super::*;

    #[test]
    fn the_peer_of_a_pair_is_this_process() {
        let (one, _other) = UnixStream::pair().unwrap();
        let own = rustix::process::getgid().as_raw();
        assert!(groups(one.as_fd()).unwrap().contains(&own));
        // Both are answers: whether there is a security module, or such a kernel, is not for a test to say.
        assert!(context(one.as_fd()).is_ok_and(|context| !context.is_empty()) || context(one.as_fd()).is_err());
        if let Some(process) = process(one.as_fd()).unwrap() {
            assert!(is_alive(&process));
        }
    }
}
