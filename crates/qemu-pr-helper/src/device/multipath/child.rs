//! One command in a process of its own, where the library may exit, crash or hang.

use std::{
    io::{PipeWriter, Write},
    os::fd::{AsFd, OwnedFd},
    sync::OnceLock,
};

use scsi_pr::{BasicParameters, Command, SenseCode};

use super::{
    change::{self, invalid},
    map::{Kind, classify},
    message::{Answer, Request},
    register,
    session::Session,
};
use crate::device::DataBuffer;

/// On the pipe to the broker: the map is about to be suspended.
pub const SUSPENDED: u8 = b'S';
/// It goes on.
pub const RESUMED: u8 = b'R';
/// A first key is on one path, and on its way to the others.
pub const BEGUN: u8 = b'B';
/// It is on every path, or on none again.
pub const SETTLED: u8 = b'E';
/// What follows, to the end, is the answer.
pub const ANSWER: u8 = b'A';

static BROKER: OnceLock<PipeWriter> = OnceLock::new();

fn tell(bytes: &[u8]) {
    if let Some(mut broker) = BROKER.get() {
        // The pipe has room for all that is ever written to it; without the broker nobody is left to care.
        let _ = broker.write_all(bytes);
    }
}

/// The map is going to be suspended. Said before it is: should this process die in between, a resumption too many
/// does no harm, and one too few stops the guest.
pub fn announce_suspension() {
    tell(&[SUSPENDED]);
}

/// The map goes on.
pub fn announce_resumption() {
    tell(&[RESUMED]);
}

/// A first key is on one path. Should this process not get as far as [`announce_settled`], it has to be taken back.
pub fn announce_begun() {
    tell(&[BEGUN]);
}

/// The key is on every path, or on none again.
pub fn announce_settled() {
    tell(&[SETTLED]);
}

/// Takes back what a child began that died.
pub fn undo(request: &Request, device: &OwnedFd) {
    let (Ok(Kind::Map(map)), Ok(list)) = (classify(device.as_fd()), BasicParameters::parse(&request.parameters)) else {
        return;
    };
    register::undo(&Session::new(device.as_fd(), map, request.timeout), list.service_action_key);
}

/// Carries out a command and tells the broker what came of it.
pub fn run(request: &Request, device: &OwnedFd, broker: PipeWriter) {
    let _ = BROKER.set(broker);
    let answer = answer(request, device);
    tell(&[&[ANSWER][..], &answer.to_bytes()].concat());
}

fn answer(request: &Request, device: &OwnedFd) -> Answer {
    let map = match classify(device.as_fd()) {
        Ok(Kind::Map(map)) => map,
        Err(error) => return register::failure(format!("the map cannot be looked at any more: {error}")),
        // It was one a moment ago, when the broker looked.
        Ok(Kind::OnMap(_) | Kind::Other) => return invalid(SenseCode::INTERNAL_TARGET_FAILURE),
    };
    let session = Session::new(device.as_fd(), map, request.timeout);
    match request.cdb.command() {
        Command::In(command) => {
            let mut buffer = DataBuffer::default();
            let length = buffer.len().min(command.allocation_length.into());
            let came = session.send_until(&request.cdb, &[], &mut buffer[..length], |came| came.reached);
            Answer { data: buffer[..came.data].to_vec(), ..came.into() }
        }
        Command::Out(_) => change::change(&session, &request.cdb, &request.parameters),
    }
}
