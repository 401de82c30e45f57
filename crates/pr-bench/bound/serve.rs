//! The loop, and a connection's two states: before and after its feature word.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use pr_lab::{Sent, Way, send_command};
use qemu_pr_protocol::{Descriptors, GREETING, HEADER_LENGTH, MAX_DATA, WIRE_CDB, channel};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

/// As long as this daemon waits for a disk.
const TIMEOUT: Duration = Duration::from_secs(30);

const PR_IN: u8 = 0x5e;
const PR_OUT: u8 = 0x5f;

/// CHECK CONDITION, and ABORTED COMMAND, I/O PROCESS TERMINATED: what a helper answers if the ioctl itself fails.
const CHECK_CONDITION: u8 = 2;
const IOERR: [u8; 18] = [0x70, 0, 0x0b, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0];

/// A client.
struct Connection {
    socket: UnixStream,
    negotiated: bool,
}

/// The buffers: made once.
struct Scratch {
    data: Box<[u8; MAX_DATA]>,
    answer: [u8; HEADER_LENGTH],
}

/// Listens at `path` and serves until something fails that concerns all.
///
/// # Errors
/// The socket, or the epoll set.
pub fn serve(path: &Path) -> io::Result<Infallible> {
    let listener = UnixListener::bind(path)?;
    // The standard library's queue is too short for a thousand clients at once.
    rustix::net::listen(&listener, 4096)?;
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&set, &listener, token(&listener), EventFlags::IN)?;
    // By the number of its descriptor: nothing is searched.
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut scratch = Scratch { data: Box::new([0; MAX_DATA]), answer: [0; HEADER_LENGTH] };
    let mut events = Vec::with_capacity(256);
    loop {
        events.clear();
        match epoll::wait(&set, spare_capacity(&mut events), None) {
            // strace attaches, and lets go.
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let number = usize::try_from(event.data.u64()).map_err(io::Error::other)?;
            if event.data.u64() == token(&listener).u64() {
                accept(&listener, &set, &mut connections)?;
            } else if let Some(place) = connections.get_mut(number)
                && place.as_mut().is_some_and(|connection| connection.event(&mut scratch).is_none())
            {
                *place = None;
            }
        }
    }
}

fn token(socket: &impl std::os::fd::AsRawFd) -> EventData {
    EventData::new_u64(u64::from(socket.as_raw_fd().unsigned_abs()))
}

fn accept(listener: &UnixListener, set: &OwnedFd, connections: &mut Vec<Option<Connection>>) -> io::Result<()> {
    let (socket, _) = listener.accept()?;
    if !matches!(channel::send(&socket, &GREETING, &[]), Ok(4)) {
        return Ok(());
    }
    epoll::add(set, &socket, token(&socket), EventFlags::IN)?;
    let number = usize::try_from(socket.as_raw_fd()).map_err(io::Error::other)?;
    if connections.len() <= number {
        connections.resize_with(number + 1, || None);
    }
    connections[number] = Some(Connection { socket, negotiated: false });
    Ok(())
}

impl Connection {
    /// Carries one event to its end; `None` is a hang-up, ours or the client's.
    fn event(&mut self, scratch: &mut Scratch) -> Option<()> {
        if self.negotiated {
            return self.request(scratch);
        }
        let mut word = [0; 4];
        let length = channel::receive(&self.socket, &mut word).ok()?;
        self.negotiated = length == word.len() && word == [0; 4];
        self.negotiated.then_some(())
    }

    fn request(&self, scratch: &mut Scratch) -> Option<()> {
        let mut cdb = [0; WIRE_CDB];
        let (length, descriptors) = channel::receive_with_descriptors(&self.socket, &mut cdb).ok()?;
        let Descriptors::One(device) = descriptors else { return None };
        let data = usize::from(u16::from_be_bytes([cdb[7], cdb[8]]));
        if length != WIRE_CDB || data > MAX_DATA {
            return None;
        }
        let data = &mut scratch.data[..data];
        let way = match cdb[0] {
            PR_IN => Way::In(data.len()),
            PR_OUT => {
                // It came with the CDB. If not, everyone waits for this client.
                let (length, _) = recv(&self.socket, &mut *data, RecvFlags::WAITALL).ok()?;
                (length == data.len()).then_some(Way::Out(length))?
            }
            _ => return None,
        };
        let (answer, sense) = scratch.answer.split_at_mut(8);
        sense.fill(0);
        let done = send_command(device.as_fd(), &cdb[..10], way, data, sense, TIMEOUT);
        drop(device);
        let (status, size) = match done {
            Ok(Sent { status: 0, transferred, .. }) if cdb[0] == PR_IN => (0, transferred),
            Ok(Sent { status, .. }) => (status, 0),
            Err(_) => {
                sense[..IOERR.len()].copy_from_slice(&IOERR);
                (CHECK_CONDITION, 0)
            }
        };
        answer[..4].copy_from_slice(&u32::from(status).to_be_bytes());
        answer[4..].copy_from_slice(&u32::try_from(size).ok()?.to_be_bytes());
        let sent = channel::send(&self.socket, &scratch.answer, &scratch.data[..size]).ok()?;
        (sent == HEADER_LENGTH + size).then_some(())
    }
}
