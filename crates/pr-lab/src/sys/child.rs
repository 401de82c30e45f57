//! What happens in the child between fork and exec.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, connect, sendmsg};
use rustix::process::{Resource, Rlimit, setrlimit, umask};

use super::notify::{Which, divert};

/// The child's world, as far as `Command` cannot shape it.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) umask: Option<u32>,
    pub(crate) limits: Vec<(Resource, u64)>,
    /// Descriptors to be placed, which must be far above every place.
    pub(crate) descriptors: Vec<(OwnedFd, RawFd)>,
    pub(crate) closed: Vec<RawFd>,
    /// Which system calls wait for the test, and where to send the listener for them.
    pub(crate) divert: Option<(Which, OwnedFd)>,
}

/// Lets `command` start in this world.
pub(crate) fn shape(command: &mut Command, world: World) {
    // SAFETY: between fork and exec `enter` makes system calls on memory of its own stack and of `world`: it neither
    // allocates nor takes a lock (its errors are bare errno values).
    unsafe { command.pre_exec(move || enter(&world)) };
}

/// Lets `command` connect these sockets before it starts, so that their peer is its process.
pub(crate) fn connect_from(command: &mut Command, sockets: Vec<OwnedFd>, address: SocketAddrUnix) {
    let enter = move || {
        for socket in &sockets {
            connect(socket, &address)?;
        }
        Ok(())
    };
    // SAFETY: as above; connecting is one system call on memory that is there already.
    unsafe { command.pre_exec(enter) };
}

fn enter(world: &World) -> io::Result<()> {
    let divert_now = || match &world.divert {
        Some((which, test)) => send(test, &divert(*which, test.as_raw_fd())?),
        None => Ok(()),
    };
    // A low limit of descriptors is not to be in the way; what other calls would wait for comes last.
    let is_first = world.divert.as_ref().is_some_and(|(which, _)| *which == Which::SgIo);
    if is_first {
        divert_now()?;
    }
    if let Some(mask) = world.umask {
        umask(rustix::fs::Mode::from_raw_mode(mask));
    }
    for (fd, place) in &world.descriptors {
        // SAFETY: both are plain numbers to the kernel; whatever was open at the place belongs to nobody in this child.
        if unsafe { libc::dup2(fd.as_raw_fd(), *place) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    for fd in &world.closed {
        // SAFETY: the child's own copy is closed, and nothing in it uses the number again before exec.
        unsafe { libc::close(*fd) };
    }
    for (resource, limit) in &world.limits {
        setrlimit(*resource, Rlimit { current: Some(*limit), maximum: Some(*limit) })?;
    }
    if !is_first {
        // From here on this process' own calls may wait.
        divert_now()?;
    }
    Ok(())
}

fn send(socket: &OwnedFd, fd: &OwnedFd) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [fd.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(socket, &[io::IoSlice::new(b"!")], &mut ancillary, SendFlags::empty())?;
    Ok(())
}
