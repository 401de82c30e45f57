//! The names of processes and disks, for people who read the trail.
//!
//! They are in `/proc`, `/sys` and udev's data base. The daemon opens nothing once it serves; a process without any
//! privileges, forked before the daemon gave its own up, does it on request. If that process is gone or slow, the trail
//! has numbers and no names.

mod aliases;
mod disk;
mod peer;

use std::{
    os::fd::OwnedFd,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use pr_control::{Client, Device};
use rustix::{
    buffer::spare_capacity,
    event::{PollFd, PollFlags, Timespec, poll},
    net::{RecvFlags, SendFlags, recv, send},
};
use serde::{Deserialize, Serialize};

pub use self::aliases::Aliases;
use crate::{
    boot::{
        Privileged,
        companion::{self, CompanionError},
        privilege,
    },
    confine::{self, Sandbox},
    device::{Identity, Kind},
};

/// How long an answer may take. Nobody waits but the log.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long a process that did not answer is left alone, so that a log without names does not become one without
/// records as well.
const REST: Duration = Duration::from_secs(1);

/// The longest message: the names of a map of many paths.
const MAX_MESSAGE: usize = 64 * 1024;

/// The line to the process.
pub struct Names(Mutex<Line>);

/// The process is gone, or slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence;

struct Line {
    socket: OwnedFd,
    asked: u64,
    /// It did not answer; until then it is not asked again.
    resting: Option<Instant>,
}

/// A question, with a number that its answer repeats: one that comes too late must not pass for the next.
#[derive(Serialize, Deserialize)]
struct Question {
    number: u64,
    about: About,
}

#[derive(Serialize, Deserialize)]
enum About {
    Process { pid: u32 },
    Disk { kind: u8, device: u64 },
    ControlGroup { pid: u32 },
    Aliases { kind: u8, device: u64 },
}

#[derive(Serialize, Deserialize)]
struct Answer {
    number: u64,
    found: Found,
}

#[derive(Serialize, Deserialize)]
enum Found {
    Process(Client),
    Disk(Device),
    ControlGroup(Option<String>),
    Aliases(Option<Aliases>),
}

/// Starts the process.
///
/// # Errors
/// The system has no room for another process.
pub fn start(privileged: &Privileged, sandbox: Sandbox) -> Result<Names, CompanionError> {
    let confine = || {
        privilege::keep_nothing()?;
        Ok(confine::names(sandbox)?)
    };
    let socket = companion::start(privileged, c"qemu-pr-names", confine, serve)?;
    Ok(Names::over(socket))
}

/// Answers until the daemon is gone.
pub fn serve(socket: &OwnedFd) {
    // Of all this room a question takes little, and what is never written to is no memory.
    let mut bytes = Vec::with_capacity(MAX_MESSAGE);
    loop {
        bytes.clear();
        match recv(socket, spare_capacity(&mut bytes), RecvFlags::empty()) {
            Ok((_, 0)) => return,
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
        }
        let Ok(Question { number, about }) = serde_json::from_slice(&bytes) else { continue };
        let found = match about {
            About::Process { pid } => Found::Process(peer::look_up(pid)),
            About::Disk { kind, device } => {
                Found::Disk(disk::look_up(Identity { kind: Kind::from_code(kind), device }))
            }
            About::ControlGroup { pid } => Found::ControlGroup(peer::control_group(pid)),
            About::Aliases { kind, device } => {
                Found::Aliases(aliases::look_up(Identity { kind: Kind::from_code(kind), device }))
            }
        };
        if let Ok(answer) = serde_json::to_vec(&Answer { number, found }) {
            // The daemon does not wait for ever, and neither does this.
            let _ = send(socket, &answer, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        }
    }
}

impl Names {
    /// The daemon's end of a line with the process at the other.
    pub const fn over(socket: OwnedFd) -> Self {
        Self(Mutex::new(Line { socket, asked: 0, resting: None }))
    }

    /// Waits until the process is ready.
    ///
    /// # Errors
    /// It will never be.
    pub fn await_ready(&self) -> Result<(), CompanionError> {
        companion::await_ready(&self.0.lock().unwrap_or_else(PoisonError::into_inner).socket)
    }

    /// Program, unit and virtual machine of a process.
    pub fn process(&self, pid: u32) -> Option<Client> {
        match self.ask(About::Process { pid })? {
            Found::Process(client) => Some(clean_client(client)),
            _ => None,
        }
    }

    /// The names of a disk.
    pub fn disk(&self, identity: Identity) -> Option<Device> {
        if matches!(identity.kind, Kind::File | Kind::Unknown) {
            return None;
        }
        match self.ask(About::Disk { kind: identity.kind as u8, device: identity.device })? {
            Found::Disk(device) => Some(clean_device(device)),
            _ => None,
        }
    }

    /// The path of a process' control group; `None` if it has none.
    ///
    /// # Errors
    /// No answer.
    pub fn control_group(&self, pid: u32) -> Result<Option<String>, Silence> {
        match self.ask(About::ControlGroup { pid }) {
            Some(Found::ControlGroup(path)) => Ok(path),
            _ => Err(Silence),
        }
    }

    /// All names of a disk; `None` if there is no such disk.
    ///
    /// # Errors
    /// No answer.
    pub fn aliases(&self, identity: Identity) -> Result<Option<Aliases>, Silence> {
        match self.ask(About::Aliases { kind: identity.kind as u8, device: identity.device }) {
            Some(Found::Aliases(aliases)) => Ok(aliases),
            _ => Err(Silence),
        }
    }

    fn ask(&self, about: About) -> Option<Found> {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if line.resting.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let found = line.ask(about);
        line.resting = if found.is_none() { Some(Instant::now() + REST) } else { None };
        found
    }
}

impl Line {
    fn ask(&mut self, about: About) -> Option<Found> {
        self.asked += 1;
        let number = self.asked;
        let question = serde_json::to_vec(&Question { number, about }).ok()?;
        send(&self.socket, &question, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).ok()?;
        let deadline = Instant::now() + PATIENCE;
        let mut bytes = Vec::with_capacity(MAX_MESSAGE);
        loop {
            bytes.clear();
            let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok()?;
            match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&left)) {
                Ok(0) => return None,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return None,
            }
            match recv(&self.socket, spare_capacity(&mut bytes), RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return None,
                Ok(_) => {}
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => continue,
                Err(_) => return None,
            }
            let answer: Answer = serde_json::from_slice(&bytes).ok()?;
            if answer.number == number {
                return Some(answer.found);
            }
        }
    }
}

/// Names as they go into the trail. Whoever has taken the other process over answers what he likes, and must not make
/// lines of his own there.
fn clean_client(client: Client) -> Client {
    let [program, unit, vm] = [client.program, client.unit, client.vm].map(|name| clean(&name?));
    Client { program, unit, vm, ..client }
}

/// The same for a disk; its kind and number are not the other process' to tell.
fn clean_device(device: Device) -> Device {
    let [name, by_id, wwid, map] = [device.name, device.by_id, device.wwid, device.map].map(|name| clean(&name?));
    Device { name, by_id, wwid, map, ..Device::default() }
}

/// Text from elsewhere as part of one line, which a terminal may be shown.
fn clean(text: &str) -> Option<String> {
    let text: String = text.trim().chars().take(256).map(|c| if c.is_control() { '?' } else { c }).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn told(answer: &str) -> (Names, OwnedFd) {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        send(&theirs, answer.as_bytes(), SendFlags::empty()).unwrap();
        (Names::over(ours), theirs)
    }

    #[test]
    fn a_names_process_that_was_taken_over_makes_no_lines_in_the_trail() {
        let lie = r#"{"number":1,"found":{"Process":{"connection":9,"program":"qemu\nqemu-pr-helper: audit: CLEAR",
                      "unit":"\u001b[2J","vm":""}}}"#;
        let (names, _theirs) = told(lie);
        let client = names.process(7).unwrap();
        assert_eq!(client.program.as_deref(), Some("qemu?qemu-pr-helper: audit: CLEAR"));
        assert_eq!((client.unit.as_deref(), client.vm), (Some("?[2J"), None));

        let lie = r#"{"number":1,"found":{"Disk":{"kind":"x\ny","number":"\n","name":"s\nd","wwid":"a\u0085b"}}}"#;
        let (names, _theirs) = told(lie);
        let device = names.disk(Identity { kind: Kind::Block, device: 0x810 }).unwrap();
        assert_eq!((device.name.as_deref(), device.wwid.as_deref()), (Some("s?d"), Some("a?b")));
        assert_eq!((device.kind, device.number), (String::new(), String::new()));
    }
}
