//! A process that may have no more descriptors. The limit is the whole process', so this test has a program of its own.
#![expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]

use std::{
    fs::File,
    io::{IoSlice, pipe},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
};

use qemu_pr_protocol::{Descriptors, channel};
use rustix::{
    io::{self, Errno},
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
    process::{Resource, getrlimit, setrlimit},
};

#[test]
fn descriptors_for_which_there_is_no_room_are_noticed() {
    assert!(matches!(receive(1, 1), Ok(Descriptors::One(()))), "there is room for one");
    assert_eq!(receive(1, 0).err(), Some(Errno::MFILE), "there is room for none");
    assert_eq!(receive(2, 0).err(), Some(Errno::MFILE), "there is room for none of two");
    // One that arrives while another does not is one of several, and no proper request.
    for sent in [2, 3, 253] {
        assert!(matches!(receive(sent, 1), Ok(Descriptors::Many)), "there is room for one of {sent}");
    }
    assert!(matches!(receive(0, 0), Ok(Descriptors::None)), "none needs no room");
}

/// Sends so many descriptors and receives them with room for so many; what was received is closed.
fn receive(sent: usize, room: u64) -> io::Result<Descriptors<()>> {
    let (client, helper) = UnixStream::pair().expect("two sockets");
    let (reader, _writer) = pipe().expect("a pipe");
    let descriptors = vec![reader.as_fd(); sent];
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if sent > 0 {
        assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)), "too many descriptors");
    }
    sendmsg(&client, &[IoSlice::new(b"request")], &mut control, SendFlags::empty()).expect("a living peer");

    // New descriptors get the lowest free numbers, all of which are below the limit.
    let free = File::open("/dev/null").expect("a descriptor").as_raw_fd();
    let before = getrlimit(Resource::Nofile);
    let mut limit = before;
    limit.current = Some(u64::try_from(free).expect("a number") + room);
    setrlimit(Resource::Nofile, limit).expect("a lower limit");
    let received = channel::receive_with_descriptors(&helper, &mut [0; 16]);
    setrlimit(Resource::Nofile, before).expect("the old limit");

    received.map(|(length, descriptors)| {
        assert_eq!(length, 7);
        match descriptors {
            Descriptors::None => Descriptors::None,
            Descriptors::One(_) => Descriptors::One(()),
            Descriptors::Many => Descriptors::Many,
        }
    })
}
