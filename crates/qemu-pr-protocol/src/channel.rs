//! Bytes and file descriptors over a Unix socket.
//!
//! Descriptors are received close-on-exec and owned from the first moment on; one that nobody takes is closed. Where
//! none is wanted none is received: the kernel drops it, and this process never has it.

use std::{
    ffi::c_int,
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd},
};

use rustix::{
    io,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, recv, recvmsg, sendmsg,
    },
};

use crate::Descriptors;

/// The kernel's `struct cmsghdr`, in bytes: a length and two numbers.
const CONTROL_HEADER: usize = size_of::<usize>() + 2 * size_of::<c_int>();

/// Room for a control message with one descriptor. `cmsg_space!` rounds up to the kernel's alignment, which is room for
/// a second one: a process that counts its descriptors would have one more than it counted, if only for a moment.
#[repr(C, align(8))]
struct OneDescriptor([MaybeUninit<u8>; CONTROL_HEADER + size_of::<RawFd>()]);

impl OneDescriptor {
    const fn new() -> Self {
        Self([MaybeUninit::uninit(); CONTROL_HEADER + size_of::<RawFd>()])
    }
}

/// Receives bytes, and no descriptors. Zero bytes are the end of the stream.
///
/// # Errors
///
/// Those of recv(2): `EAGAIN` where nothing is there.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    recv(socket, buffer, RecvFlags::DONTWAIT).map(|(length, _)| length)
}

/// Receives bytes and the descriptor that came with them, without waiting. Zero bytes are the end of the stream. Of
/// several descriptors this process never has more than one, which is closed.
///
/// # Errors
///
/// Those of recvmsg(2): `EAGAIN` where nothing is there. `EMFILE` where a descriptor was sent that this process has no
/// room for.
pub fn receive_with_descriptors(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Descriptors<OwnedFd>)> {
    let mut space = OneDescriptor::new();
    let mut control = RecvAncillaryBuffer::new(&mut space.0);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let message = recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
    let mut descriptors = Descriptors::None;
    for fd in control.drain().filter_map(rights).flatten() {
        descriptors = match descriptors {
            Descriptors::None => Descriptors::One(fd),
            Descriptors::One(_) | Descriptors::Many => Descriptors::Many,
        };
    }
    // Whether there were more than arrived: there is room for one, and this process may have none.
    let cut = message.flags.contains(ReturnFlags::CTRUNC);
    match descriptors {
        // Nothing arrived of what was sent.
        Descriptors::None if cut => Err(io::Errno::MFILE),
        // One of several must not be taken for the only one.
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
///
/// # Errors
///
/// Those of sendmsg(2): `EAGAIN` where the socket has no room.
pub fn send(socket: impl AsFd, head: &[u8], tail: &[u8]) -> io::Result<usize> {
    let parts = [IoSlice::new(head), IoSlice::new(tail)];
    let parts = if tail.is_empty() { &parts[..1] } else { &parts[..] };
    let mut control = SendAncillaryBuffer::default();
    sendmsg(socket, parts, &mut control, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
}

/// Sends two parts with a descriptor, waiting until at least one byte (and with it the descriptor) is on its way;
/// how many bytes that was.
///
/// # Errors
///
/// Those of sendmsg(2): `EAGAIN` where the socket is non-blocking and has no room.
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

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn there_is_room_for_one_descriptor_and_not_for_a_second() {
        for (sent, is_cut) in [(1, false), (2, true), (253, true)] {
            let (client, helper) = UnixStream::pair().expect("two sockets");
            let descriptors = vec![client.as_fd(); sent];
            let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)), "too many descriptors");
            sendmsg(&client, &[IoSlice::new(b"request")], &mut control, SendFlags::empty()).expect("a living peer");

            let mut space = OneDescriptor::new();
            let mut control = RecvAncillaryBuffer::new(&mut space.0);
            let message = recvmsg(&helper, &mut [IoSliceMut::new(&mut [0; 16])], &mut control, RecvFlags::empty());
            let cut = message.expect("a message").flags.contains(ReturnFlags::CTRUNC);
            let received = control.drain().filter_map(rights).flatten().count();
            assert_eq!((received, cut), (1, is_cut), "{sent} descriptors");
        }
    }
}
