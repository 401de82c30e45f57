//! Unix sockets: at paths of any length that the kernel takes, and who is at the other end.

use std::{
    ffi::OsStr,
    io,
    mem::offset_of,
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::ffi::OsStrExt,
    },
};

use super::layout::layout;

layout!(libc::sockaddr_un, 110, 2, sun_family 0 sun_path 2);
layout!(libc::ucred, 12, 4, pid 0 uid 4 gid 8);

/// The longest path, in bytes. At this length there is no terminating NUL, which Linux allows and the standard
/// library and rustix do not.
pub const MAX_PATH: usize = 108;

/// Binds a socket to a path.
///
/// # Errors
/// `ENAMETOOLONG` for a path over [`MAX_PATH`] bytes, otherwise what the kernel says.
pub fn bind(socket: BorrowedFd<'_>, path: &OsStr) -> io::Result<()> {
    let (address, length) = address(path)?;
    // SAFETY: the address is a whole `sockaddr_un`, and the length is within it.
    done(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) })
}

/// Connects a socket to a path.
///
/// # Errors
/// `ENAMETOOLONG` for a path over [`MAX_PATH`] bytes, otherwise what the kernel says.
pub fn connect(socket: BorrowedFd<'_>, path: &OsStr) -> io::Result<()> {
    let (address, length) = address(path)?;
    // SAFETY: as above.
    done(unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) })
}

/// Who was at the other end of a socket when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its process number; `None` for one that is in another PID namespace and not seen from here. (rustix has a number
    /// here that is never zero, and for such a process the kernel says zero.)
    pub pid: Option<u32>,
    /// Its user.
    pub uid: u32,
}

/// The other end of a Unix socket (`SO_PEERCRED`).
///
/// # Errors
/// What the kernel says.
pub fn peer(socket: BorrowedFd<'_>) -> io::Result<Peer> {
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = libc::socklen_t::try_from(size_of_val(&credentials)).map_err(io::Error::other)?;
    let (value, size) = ((&raw mut credentials).cast(), &raw mut length);
    // SAFETY: the value is a live `ucred` of the length beside it; any number the kernel writes there is valid.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, value, size) };
    let pid = u32::try_from(credentials.pid).ok().filter(|pid| *pid > 0);
    done(result).map(|()| Peer { pid, uid: credentials.uid })
}

fn address(path: &OsStr) -> io::Result<(libc::sockaddr_un, libc::socklen_t)> {
    let bytes = path.as_bytes();
    if bytes.len() > MAX_PATH {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    let family = libc::AF_UNIX.try_into().map_err(io::Error::other)?;
    let mut address = libc::sockaddr_un { sun_family: family, sun_path: [0; MAX_PATH] };
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        // `c_char` has a sign on some architectures and none on others; the byte is the same.
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    // A terminating NUL counts where there is room for one.
    let length = offset_of!(libc::sockaddr_un, sun_path) + (bytes.len() + 1).min(MAX_PATH);
    Ok((address, libc::socklen_t::try_from(length).map_err(io::Error::other)?))
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
