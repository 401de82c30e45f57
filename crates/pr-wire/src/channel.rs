//! Bytes and file descriptors over a Unix socket.
//!
//! Descriptors are received close-on-exec and owned from the first moment on; one that nobody takes is closed. Where
//! none is wanted none is received: the kernel drops it, and this process never has it.

use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, recv, recvmsg, sendmsg,
    },
};

use crate::Descriptors;

/// Receives bytes, and no descriptors. Zero bytes are the end of the stream.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    recv(socket, buffer, RecvFlags::DONTWAIT).map(|(length, _)| length)
}

/// Receives bytes and the descriptors that came with them, without waiting. Zero bytes are the end of the stream.
///
/// Fails with `EMFILE` where a descriptor was sent that this process has no room for.
pub fn receive_with_descriptors(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Descriptors<OwnedFd>)> {
    // The kernel's alignment leaves room for a second descriptor behind the first, so "one" has to be counted.
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let message = recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
    let mut descriptors = Descriptors::None;
    for fd in control.drain().filter_map(rights).flatten() {
        descriptors = match descriptors {
            Descriptors::None => Descriptors::One(fd),
            Descriptors::One(_) | Descriptors::Many => Descriptors::Many,
        };
    }
    // Whether there were more than arrived: the space above has room for two, this process may have room for less.
    let cut = message.flags.contains(ReturnFlags::CTRUNC);
    match descriptors {
        // Nothing arrived of what was sent.
        Descriptors::None if cut => Err(io::Errno::MFILE),
        // A process at its limit must not take one of several for the only one.
        Descriptors::One(_) if cut => Ok((message.bytes, Descriptors::Many)),
        descriptors => Ok((message.bytes, descriptors)),
    }
}

fn rights(message: RecvAncillaryMessage<'_>) -> Option<impl Iterator<Item = OwnedFd>> {
    match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    }
}

/// Sends as much of the two parts as the socket takes without waiting; how many bytes that was. A client that is
/// gone is an error, not a signal.
pub fn send(socket: impl AsFd, head: &[u8], tail: &[u8]) -> io::Result<usize> {
    let parts = [IoSlice::new(head), IoSlice::new(tail)];
    let parts = if tail.is_empty() { &parts[..1] } else { &parts[..] };
    let mut control = SendAncillaryBuffer::default();
    sendmsg(socket, parts, &mut control, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
}

/// Sends two parts with a descriptor, waiting until at least one byte (and with it the descriptor) is on its way;
/// how many bytes that was.
pub fn send_with_descriptor(
    socket: impl AsFd,
    head: &[u8],
    tail: &[u8],
    descriptor: BorrowedFd<'_>,
) -> io::Result<usize> {
    let descriptors = [descriptor];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(socket, &[IoSlice::new(head), IoSlice::new(tail)], &mut control, SendFlags::NOSIGNAL)
}
