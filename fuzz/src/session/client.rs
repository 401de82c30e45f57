//! One client's connection: what it sends, and the answers that are due.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read},
    mem::MaybeUninit,
    net::Shutdown,
    os::unix::net::UnixStream,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::{Errno, IoSlice, retry_on_intr},
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
};

use super::{
    model::{Expected, Wire},
    stage::{Sent, Stage},
};

/// One client.
pub struct Client {
    /// Its number at the server.
    pub number: u64,
    /// What it has sent, as far as it is not a request yet.
    pub wire: Wire,
    stream: Option<UnixStream>,
    due: VecDeque<(usize, Expected)>,
    received: Vec<u8>,
}

impl Client {
    /// Connects.
    pub fn connect(stage: &Stage, number: u64) -> Self {
        let (wire, due, received) = (Wire::default(), VecDeque::new(), Vec::new());
        Self { number, wire, stream: Some(stage.connect()), due, received }
    }

    fn stream(&self) -> &UnixStream {
        self.stream.as_ref().expect("it has not hung up")
    }

    /// The server says four zeros.
    pub fn expect_greeting(&mut self) {
        self.receive(4);
        assert_eq!(self.received.split_off(0), [0; 4]);
    }

    /// An answer is due.
    pub fn owe(&mut self, disk: usize, answer: Expected) {
        self.due.push_back((disk, answer));
    }

    /// Whether answers of these disks are due.
    pub fn is_owed(&self, disks: &[usize]) -> bool {
        self.due.iter().any(|(disk, _)| disks.contains(disk))
    }

    /// Whether an answer is due and comes.
    pub fn is_answered(&self) -> bool {
        !self.due.is_empty()
    }

    /// The disks that it may have changed since it was last answered.
    pub fn disks(&self) -> impl Iterator<Item = usize> {
        self.due.iter().map(|(disk, _)| *disk)
    }

    /// Sends bytes in two pieces. What the server does not take any more is lost, as it should be.
    pub fn send(&mut self, bytes: &[u8], fds: &[Sent], cut: usize) {
        // A descriptor needs a byte to go with.
        let (first, second) = bytes.split_at(if (1..bytes.len()).contains(&cut) { cut } else { bytes.len() });
        let fds: Vec<_> = fds.iter().map(Sent::fd).collect();
        if self.send_piece(first, &fds) {
            std::thread::yield_now();
            self.send_piece(second, &[]);
        }
    }

    fn send_piece(&mut self, mut bytes: &[u8], mut fds: &[std::os::fd::BorrowedFd<'_>]) -> bool {
        while !bytes.is_empty() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(fds)));
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match sendmsg(self.stream(), &[IoSlice::new(bytes)], &mut control, flags) {
                Ok(sent) => (bytes, fds) = (&bytes[sent..], &[]),
                // Full: the server waits for its answers to be taken, or is just not that fast.
                Err(Errno::AGAIN) => self.make_room(),
                Err(Errno::PIPE | Errno::CONNRESET) => return false,
                Err(error) => panic!("sending: {error}"),
            }
        }
        true
    }

    fn make_room(&mut self) {
        let readable = {
            let mut set = [PollFd::new(self.stream(), PollFlags::IN | PollFlags::OUT)];
            retry_on_intr(|| poll(&mut set, None)).expect("a socket");
            set[0].revents().contains(PollFlags::IN)
        };
        if readable {
            self.receive(self.received.len() + 1);
        }
    }

    /// Reads what is there, until there are so many bytes.
    fn receive(&mut self, wanted: usize) {
        let mut buffer = [0; 16384];
        while self.received.len() < wanted {
            let length = match self.stream().read(&mut buffer) {
                // libFuzzer looks at its clock by way of a signal.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                length => length.expect("an answer"),
            };
            assert!(length > 0, "the server hung up instead of answering");
            self.received.extend_from_slice(&buffer[..length]);
        }
    }

    /// Reads all answers that are due, and compares them.
    pub fn settle(&mut self) {
        while let Some((_, expected)) = self.due.pop_front() {
            self.receive(expected.length(&self.received));
            self.receive(expected.length(&self.received));
            let rest = self.received.split_off(expected.length(&self.received));
            expected.check(&self.received);
            self.received = rest;
        }
    }

    /// There is nothing more to come.
    pub fn expect_end(&mut self) {
        assert!(self.received.is_empty(), "more than was due");
        self.expect_end_while(|| ());
    }

    /// The same, while something is done again and again to that end.
    pub fn expect_end_while(&mut self, act: impl Fn()) {
        self.stream().set_read_timeout(Some(Duration::from_millis(10))).expect("a timeout");
        loop {
            act();
            match self.stream().read(&mut [0; 1]) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Ok(0) => break,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                other => panic!("more than was due: {other:?}"),
            }
        }
        self.close();
    }

    /// Sends no more.
    pub fn stop_sending(&self) {
        let _ = self.stream().shutdown(Shutdown::Write);
    }

    /// Hangs up.
    pub fn close(&mut self) {
        self.stream = None;
    }
}
