//! Descriptors that can be counted, and sent in any number.

use std::{
    fs,
    io::{IoSlice, PipeReader, PipeWriter, pipe},
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    path::PathBuf,
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// How many descriptors one message can carry on Linux.
pub const MOST: usize = 253;

/// A pipe of a test's own. How many descriptors of this process are one of its ends can be told whatever else goes on.
pub struct Probe {
    reader: PipeReader,
    _writer: PipeWriter,
}

impl Default for Probe {
    fn default() -> Self {
        let (reader, writer) = pipe().expect("a pipe");
        Self { reader, _writer: writer }
    }
}

impl AsFd for Probe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

impl Probe {
    /// How many copies of it this process has, besides the original.
    pub fn copies(&self) -> usize {
        let entries = fs::read_dir("/proc/self/fd").expect("the list of descriptors");
        let own = identity(self);
        let all = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).filter(|link| *link == own);
        all.count() - 2
    }

    /// Whether a descriptor is a copy of it.
    pub fn is(&self, other: impl AsFd) -> bool {
        identity(self) == identity(other)
    }
}

fn identity(fd: impl AsFd) -> PathBuf {
    fs::read_link(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())).expect("what a descriptor is")
}

/// Sends bytes in one message that carries a descriptor `count` times.
pub fn send(socket: impl AsFd, bytes: &[u8], descriptor: impl AsFd, count: usize) {
    let descriptors = vec![descriptor.as_fd(); count];
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if count > 0 {
        assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)), "too many descriptors");
    }
    let sent = sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::empty());
    assert_eq!(sent, Ok(bytes.len()));
}
