//! The names of processes and disks, for people who read the audit log, asked of a process of its own that looks them up
//! (`pr-resolver`).
//!
//! They are in `/proc`, `/sys` and udev's database. The daemon opens nothing once it serves; a process without any
//! privileges, forked before the daemon gave its own up, does it on request. If that process is gone or slow, the log
//! has numbers and no names, and nothing else is different: what rules need to know another one finds out (`resolver`).

use std::{
    os::fd::OwnedFd,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use pr_control::{Client, Device};
use pr_device::{Identity, Kind};
use pr_resolver::{
    Answer, Question, clean,
    names::{About, Found, MAX_MESSAGE},
};
use pr_sandbox::{ChildError, await_ready};
use rustix::{
    buffer::spare_capacity,
    event::{PollFd, PollFlags, Timespec, poll},
    net::{RecvFlags, SendFlags, recv, send},
};
use tracing::error;

use crate::metrics::Metrics;

/// How long an answer may take. Only the log waits.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long a process that did not answer is left alone after that, so that a log without names does not become one
/// without records as well.
const REST: Duration = Duration::from_secs(1);

/// The socket to the process.
pub struct Names {
    socket: OwnedFd,
    asked: Mutex<Asked>,
    is_gone: AtomicBool,
}

/// The numbers of the last question and of the last one that was answered.
#[derive(Default)]
struct Asked {
    last: u64,
    answered: u64,
    /// It did not answer; until then it is not asked again.
    resting: Option<Instant>,
}

impl Names {
    /// The daemon's end of a line with the process at the other.
    pub fn over(socket: OwnedFd) -> Self {
        Self { socket, asked: Mutex::default(), is_gone: AtomicBool::new(false) }
    }

    /// Waits until the process is ready.
    ///
    /// # Errors
    /// It will never be.
    pub fn await_ready(&self) -> Result<(), ChildError> {
        await_ready(&self.socket)
    }

    /// The socket; `None` once the process is known to be gone.
    pub fn line(&self) -> Option<&OwnedFd> {
        (!self.is_gone.load(Ordering::Relaxed)).then_some(&self.socket)
    }

    /// The process is gone: reports that once.
    pub fn report_gone(&self, metrics: &Metrics) {
        if !self.is_gone.swap(true, Ordering::Relaxed) {
            metrics.without_names.count();
            error!(
                "the name lookup process has exited; audit records have numbers instead of names until this program is \
                 restarted"
            );
        }
    }

    /// Program, unit and virtual machine of a process that was there by then; nothing of one that has its number since.
    pub fn process(&self, pid: u32, connected: u64) -> Option<Client> {
        match self.ask(About::Process { pid, connected })? {
            Found::Process(client) => Some(clean_client(client)),
            Found::Disk(_) => None,
        }
    }

    /// The names of a disk.
    pub fn disk(&self, identity: Identity) -> Option<Device> {
        if matches!(identity.kind, Kind::File | Kind::Unknown) {
            return None;
        }
        match self.ask(About::Disk { kind: identity.kind as u8, device: identity.device })? {
            Found::Disk(device) => Some(clean_device(device)),
            Found::Process(_) => None,
        }
    }

    fn ask(&self, about: About) -> Option<Found> {
        self.line()?;
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.resting.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        // While it is at an earlier question it is not waited for.
        while asked.answered < asked.last {
            asked.answered = self.receive(Instant::now())?.number;
        }
        let number = asked.last + 1;
        let question = serde_json::to_vec(&Question { number, about }).ok()?;
        send(&self.socket, &question, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).ok()?;
        asked.last = number;
        let deadline = Instant::now() + PATIENCE;
        while let Some(answer) = self.receive(deadline) {
            if answer.number == number {
                asked.answered = number;
                return Some(answer.found);
            }
        }
        asked.resting = Some(Instant::now() + REST);
        None
    }

    fn receive(&self, deadline: Instant) -> Option<Answer<Found>> {
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
                Ok(_) => return serde_json::from_slice(&bytes).ok(),
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(_) => return None,
            }
        }
    }
}

/// Names as they go into the audit log. The resolver may be controlled by an attacker, who must not make lines of their
/// own there.
fn clean_client(client: Client) -> Client {
    let Client { program, unit, inner_unit, vm, .. } = client;
    let [program, unit, inner_unit, vm] = [program, unit, inner_unit, vm].map(|name| clean(&name?));
    Client { program, unit, inner_unit, vm, ..Client::default() }
}

/// The same for a disk; its kind and number are not the other process' to tell.
fn clean_device(device: Device) -> Device {
    let [name, by_id, wwid, map] = [device.name, device.by_id, device.wwid, device.map].map(|name| clean(&name?));
    Device { name, by_id, wwid, map, ..Device::default() }
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
    fn a_name_lookup_process_that_an_attacker_controls_makes_no_lines_in_the_audit_log() {
        let lie = r#"{"number":1,"found":{"Process":{"connection":9,"program":"qemu\nqemu-pr-helper: audit: CLEAR",
                      "unit":"\u001b[2J","vm":""}}}"#;
        let (names, _theirs) = told(lie);
        let client = names.process(7, 0).unwrap();
        assert_eq!(client.program.as_deref(), Some("qemu?qemu-pr-helper: audit: CLEAR"));
        assert_eq!((client.unit.as_deref(), client.vm), (Some("?[2J"), None));

        let lie = r#"{"number":1,"found":{"Disk":{"kind":"x\ny","number":"\n","name":"s\nd","wwid":"a\u0085b"}}}"#;
        let (names, _theirs) = told(lie);
        let device = names.disk(Identity { kind: Kind::Block, device: 0x810 }).unwrap();
        assert_eq!((device.name.as_deref(), device.wwid.as_deref()), (Some("s?d"), Some("a?b")));
        assert_eq!((device.kind, device.number), (String::new(), String::new()));
    }

    #[test]
    fn while_it_is_at_one_question_no_other_waits() {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let names = Names::over(ours);
        assert_eq!(names.process(7, 0), None, "it is slow");
        assert!(names.asked.lock().unwrap().resting.take().is_some_and(|until| until > Instant::now()));
        let asked = |names: &Names| names.asked.lock().unwrap().last;
        for _ in 0..1000 {
            assert_eq!(names.process(8, 0), None);
        }
        assert_eq!(asked(&names), 1, "nothing else has been asked, and nothing has waited");
        // The late answer is dropped, and from then on it is asked again.
        let late = r#"{"number":1,"found":{"Process":{"connection":0,"program":"late"}}}"#;
        send(&theirs, late.as_bytes(), SendFlags::empty()).unwrap();
        let next = r#"{"number":2,"found":{"Process":{"connection":0,"program":"next"}}}"#;
        send(&theirs, next.as_bytes(), SendFlags::empty()).unwrap();
        assert_eq!(names.process(8, 0).unwrap().program.as_deref(), Some("next"));
    }
}
