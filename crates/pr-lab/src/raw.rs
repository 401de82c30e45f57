//! A client that can be as wrong as it likes.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, sendmsg, socket_with,
};

use crate::{PATIENCE, within};

/// PERSISTENT RESERVE IN.
pub const PR_IN: u8 = 0x5e;
/// PERSISTENT RESERVE OUT.
pub const PR_OUT: u8 = 0x5f;

/// A reply as it came over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The SCSI status.
    pub status: u32,
    /// The size that the header announced.
    pub size: u32,
    /// All 96 bytes of sense.
    pub sense: [u8; 96],
    /// As many bytes as announced.
    pub payload: Vec<u8>,
}

impl Reply {
    /// Sense key, additional sense code and qualifier of fixed format sense; the rest must be as the reference fills it.
    pub fn fixed_sense(&self) -> (u8, u8, u8) {
        let (key, code, qualifier) = (self.sense[2], self.sense[12], self.sense[13]);
        let expected = fixed_sense(key, code, qualifier);
        assert_eq!(self.sense[..], expected[..], "fixed format sense, 18 bytes used and 78 zero");
        (key, code, qualifier)
    }

    /// Asserts a bare status: no sense, no payload.
    #[track_caller]
    pub fn expect_bare(&self, status: u32) {
        assert_eq!((self.status, self.size, self.sense), (status, 0, [0; 96]), "a bare status");
    }

    /// Asserts CHECK CONDITION with this sense and no payload.
    #[track_caller]
    pub fn expect_check(&self, key: u8, code: u8, qualifier: u8) {
        assert_eq!((self.status, self.size), (2, 0), "CHECK CONDITION without payload");
        assert_eq!(self.fixed_sense(), (key, code, qualifier));
    }
}

/// 96 bytes of current, fixed format sense, of which 18 are used.
pub(crate) fn fixed_sense(key: u8, code: u8, qualifier: u8) -> [u8; 96] {
    let mut sense = [0; 96];
    (sense[0], sense[2], sense[7], sense[12], sense[13]) = (0x70, key, 10, code, qualifier);
    sense
}

/// A connection to a helper, at the level of bytes.
#[derive(Debug)]
pub struct Raw {
    stream: UnixStream,
}

impl Raw {
    /// Connects, and says nothing.
    #[track_caller]
    pub fn connect(socket: &Path) -> Self {
        let stream = connect_stream(socket).unwrap_or_else(|error| panic!("connect to {}: {error}", socket.display()));
        Self::from_stream(stream)
    }

    /// Takes over a stream that is connected already.
    pub fn from_stream(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("set a timeout");
        Self { stream }
    }

    /// Connects as soon as there is room in the listener's queue; `None` when there is none within `limit`.
    pub fn connect_within(socket: &Path, limit: Duration) -> Option<Self> {
        let mut stream = None;
        within(limit, || {
            stream = try_connect(socket).ok();
            stream.is_some()
        });
        stream.map(Self::from_stream)
    }

    /// Waits no longer than this for the helper from now on.
    #[must_use]
    pub fn patience(self, limit: Duration) -> Self {
        self.stream.set_read_timeout(Some(limit)).expect("set a timeout");
        self.stream.set_write_timeout(Some(limit)).expect("set a timeout");
        self
    }

    /// Connects and exchanges features: none.
    #[track_caller]
    pub fn greeted(socket: &Path) -> Self {
        let raw = Self::connect(socket);
        raw.hello();
        raw
    }

    /// Reads the helper's features, which must be none, and answers the same.
    #[track_caller]
    pub fn hello(&self) {
        assert_eq!(self.read(4), [0; 4], "the helper's features");
        self.send(&[0; 4]);
    }

    /// The stream below.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Sends bytes without descriptors.
    #[track_caller]
    pub fn send(&self, bytes: &[u8]) {
        (&self.stream).write_all(bytes).expect("send");
    }

    /// Sends one message with descriptors.
    #[track_caller]
    pub fn send_with(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        self.try_send_with(bytes, fds).expect("send with descriptors");
    }

    /// Sends one message with descriptors to a helper that may have hung up already.
    pub fn try_send_with(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> std::io::Result<()> {
        if fds.is_empty() {
            return (&self.stream).write_all(bytes);
        }
        let message = SendAncillaryMessage::ScmRights(fds);
        let mut space = vec![MaybeUninit::uninit(); message.size()];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(message), "room for the descriptors");
        let sent = sendmsg(&self.stream, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
        assert_eq!(sent, bytes.len(), "one message goes out whole");
        Ok(())
    }

    /// Sends bytes one at a time, descriptors with the byte number `at`.
    pub fn send_bytewise(&self, bytes: &[u8], fds: &[BorrowedFd<'_>], at: usize) {
        for (index, byte) in bytes.iter().enumerate() {
            let fds = if index == at { fds } else { &[] };
            self.send_with(&[*byte], fds);
        }
    }

    /// A PERSISTENT RESERVE IN of this service action and allocation length, and its reply.
    #[track_caller]
    pub fn pr_in(&self, fd: impl AsFd, action: u8, length: u16) -> Reply {
        self.send_with(&Self::cdb_in(action, length), &[fd.as_fd()]);
        self.reply()
    }

    /// A PERSISTENT RESERVE OUT of this service action with this parameter list, and its reply.
    #[track_caller]
    pub fn pr_out(&self, fd: impl AsFd, action: u8, parameters: &[u8]) -> Reply {
        self.send_with(&Self::cdb_out(action, parameters.len()), &[fd.as_fd()]);
        self.send(parameters);
        self.reply()
    }

    /// The sixteen bytes of a PERSISTENT RESERVE IN.
    pub fn cdb_in(action: u8, length: u16) -> [u8; 16] {
        let mut cdb = [0; 16];
        (cdb[0], cdb[1]) = (PR_IN, action);
        cdb[7..9].copy_from_slice(&length.to_be_bytes());
        cdb
    }

    /// The sixteen bytes of a PERSISTENT RESERVE OUT, type 1.
    pub fn cdb_out(action: u8, length: usize) -> [u8; 16] {
        let mut cdb = [0; 16];
        (cdb[0], cdb[1], cdb[2]) = (PR_OUT, action, 1);
        cdb[7..9].copy_from_slice(&u16::try_from(length).expect("a short list").to_be_bytes());
        cdb
    }

    /// Reads exactly this many bytes.
    #[track_caller]
    pub fn read(&self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        (&self.stream)
            .read_exact(&mut bytes)
            .unwrap_or_else(|error| panic!("no {count} bytes from the helper: {error}"));
        bytes
    }

    /// Reads one reply.
    #[track_caller]
    pub fn reply(&self) -> Reply {
        let head = self.read(104);
        let word = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let (status, size) = (word(0), word(4));
        assert!(size <= 8192, "a reply of {size} bytes");
        let payload = self.read(size as usize);
        Reply { status, size, sense: head[8..].try_into().expect("96 bytes"), payload }
    }

    /// Waits until the first bytes of a reply are there, and leaves them.
    #[track_caller]
    pub fn await_reply(&self) {
        let peeked = rustix::net::recv(&self.stream, &mut [0; 1][..], RecvFlags::PEEK);
        assert_eq!(peeked.map(|(count, _)| count), Ok(1), "the beginning of a reply");
    }

    /// Sends no more.
    pub fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).expect("half close");
    }

    /// Asserts that the helper hangs up without another byte.
    #[track_caller]
    pub fn expect_closed(&self) {
        assert!(self.closes_within(PATIENCE), "the helper keeps the connection open");
    }

    /// Whether the helper hangs up within `limit`; a byte from it is a failure either way.
    #[track_caller]
    pub fn closes_within(&self, limit: Duration) -> bool {
        let before = self.stream.read_timeout().expect("read the timeout");
        self.stream.set_read_timeout(Some(limit)).expect("set a timeout");
        let read = (&self.stream).read(&mut [0; 1]);
        self.stream.set_read_timeout(before).expect("set a timeout");
        match read {
            Ok(0) => true,
            Ok(_) => panic!("the helper answered instead of hanging up"),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => true,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => false,
            Err(error) => panic!("reading: {error}"),
        }
    }

    /// Asserts that the helper says nothing and stays connected for this long.
    #[track_caller]
    pub fn expect_silence(&self, span: Duration) {
        assert!(!self.closes_within(span), "the helper hung up");
    }
}

/// Connects to a socket, however long its path is.
pub fn connect_stream(socket: &Path) -> std::io::Result<UnixStream> {
    if socket.as_os_str().len() < 100 {
        return UnixStream::connect(socket);
    }
    // sun_path is too short for some paths that a helper can listen at: go by the directory's descriptor.
    let path = OFlags::PATH.bits().cast_signed();
    let dir = OpenOptions::new().read(true).custom_flags(path).open(socket.parent().expect("a directory"))?;
    let name = socket.file_name().expect("a name");
    UnixStream::connect(Path::new("/proc/self/fd").join(std::os::fd::AsRawFd::as_raw_fd(&dir).to_string()).join(name))
}

/// Connects without waiting: [`ErrorKind::WouldBlock`] when the listener's queue is full.
pub fn try_connect(socket: &Path) -> std::io::Result<UnixStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&fd, &SocketAddrUnix::new(socket)?)?;
    let stream = UnixStream::from(fd);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// A basic parameter list.
pub fn keys(key: u64, service_action_key: u64) -> [u8; 24] {
    let mut list = [0; 24];
    list[..8].copy_from_slice(&key.to_be_bytes());
    list[8..16].copy_from_slice(&service_action_key.to_be_bytes());
    list
}

/// A loop device as a guest's disk.
#[track_caller]
pub fn loop_device(minor: u32) -> File {
    let path = format!("/dev/loop{minor}");
    File::options().read(true).write(true).open(&path).unwrap_or_else(|error| {
        panic!("{path}: {error}; these tests need /dev/loop0 to /dev/loop7: modprobe loop max_loop=8, or mknod {path} b 7 {minor}")
    })
}

/// /dev/null, read and write: the device that is not there.
pub fn null() -> File {
    let fd = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).expect("open /dev/null");
    File::from(fd)
}
