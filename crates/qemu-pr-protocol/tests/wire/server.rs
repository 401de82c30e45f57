//! Helpers that do what a test wants them to.

use std::{
    io::{Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    thread::{self, JoinHandle},
    time::Duration,
};

use qemu_pr_protocol::{
    Client, ClientError, Decoder, Descriptors, GREETING, HEADER_LENGTH, ReplyHeader, Step, channel,
};
use rustix::event::{PollFd, PollFlags, poll};
use scsi_persistent_reservations::{Cdb, Sense, Status};

/// Longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to a helper that greets, takes the client's features and then does this. What it returns is had by
/// joining it.
pub fn greeted<T: Send + 'static>(
    script: impl FnOnce(&mut UnixStream) -> T + Send + 'static,
) -> (Client, JoinHandle<T>) {
    let (client, helper) = start(|stream| {
        stream.write_all(&GREETING).expect("a living client");
        stream.read_exact(&mut [0; 4]).expect("the client's features");
        script(stream)
    });
    (client.expect("a greeting"), helper)
}

/// A connection to a helper that does just this.
pub fn start<T: Send + 'static>(
    script: impl FnOnce(&mut UnixStream) -> T + Send + 'static,
) -> (Result<Client, ClientError>, JoinHandle<T>) {
    let (ours, mut theirs) = UnixStream::pair().expect("two sockets");
    let helper = thread::spawn(move || script(&mut theirs));
    ours.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    (Client::over(ours), helper)
}

/// Receives requests as a helper does.
#[derive(Default)]
pub struct Receiver(Option<Decoder<OwnedFd>>);

impl Receiver {
    /// Waits for the next request.
    pub fn next(&mut self, stream: &UnixStream) -> (Cdb, OwnedFd, Vec<u8>) {
        let decoder = self.0.get_or_insert_with(crate::script::negotiated);
        let mut buffer = vec![0; qemu_pr_protocol::MAX_DATA];
        loop {
            poll(&mut [PollFd::new(stream, PollFlags::IN)], None).expect("wait for the client");
            let room = &mut buffer[..decoder.needs()];
            let (length, descriptors) = if decoder.takes_descriptor() {
                channel::receive_with_descriptors(stream, room).expect("a part of a request")
            } else {
                (channel::receive(stream, room).expect("a part of a request"), Descriptors::None)
            };
            assert_ne!(length, 0, "the client hung up");
            if let Step::Request(request) = decoder.feed(&buffer[..length], descriptors).expect("a proper request") {
                return (request.cdb, request.device, request.parameters.into_owned());
            }
        }
    }
}

/// A reply with status GOOD.
pub fn good(data: &[u8]) -> Vec<u8> {
    let size = u32::try_from(data.len()).expect("a small number");
    [&header(Status::GOOD, size)[..], data].concat()
}

/// The head of a reply without sense data.
pub fn header(status: Status, size: u32) -> [u8; HEADER_LENGTH] {
    ReplyHeader { status, size, sense: Sense::NONE }.to_bytes()
}
