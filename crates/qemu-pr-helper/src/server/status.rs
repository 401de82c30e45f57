//! What a connection is and does, to be looked at from outside while its thread is at work or stuck.

use std::{
    sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use pr_device::{Identity, Kind};
use scsi_persistent_reservations::{AdditionalSense, Cdb, Command, Sense, SenseCode, SenseKey, Status};

use crate::{
    clock::{micros, since_start, uptime},
    peer::{Origin, Peer},
};

/// A connection and its command. The numbers may be of two different moments; that is good enough to be looked at.
#[derive(Default)]
pub struct ConnectionStatus {
    /// The number of the connection; zero while there is none.
    client: AtomicU64,
    pid: AtomicU32,
    uid: AtomicU32,
    connected: AtomicU64,
    /// Microseconds since the program started, as all times here.
    accepted: AtomicU64,
    requests: AtomicU64,
    /// Zero while nothing is under way.
    since: AtomicU64,
    /// Zero while nothing that the client sent is being closed.
    closing: AtomicU64,
    /// Operation code and service action.
    command: AtomicU32,
    kind: AtomicU8,
    device: AtomicU64,
    /// Zero while nothing has failed.
    failed: AtomicU64,
    failed_command: AtomicU32,
    /// The status in the highest byte, below it key, code and qualifier.
    failed_with: AtomicU32,
}

/// A connection as it was a moment ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Whose the connection is.
    pub origin: Origin,
    /// For how long.
    pub age: Duration,
    /// How many requests it has sent.
    pub requests: u64,
    /// What is under way.
    pub under_way: Option<UnderWay>,
    /// What failed last.
    pub failure: Option<Failed>,
    /// For how long what the client sent has been being closed.
    pub closing: Option<Duration>,
}

/// A command that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// The command, as far as its service action.
    pub command: Command,
    /// Where it went.
    pub device: Identity,
    /// For how long.
    pub since: Duration,
}

/// A command that did not end in GOOD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The command, as far as its service action.
    pub command: Command,
    /// How it ended.
    pub status: Status,
    /// What the sense data said.
    pub sense: Option<SenseCode>,
    /// How long ago.
    pub ago: Duration,
}

impl ConnectionStatus {
    pub fn accepted(&self, Origin { client, peer, connected }: Origin) {
        for counter in [&self.requests, &self.since, &self.failed, &self.closing] {
            counter.store(0, Ordering::Relaxed);
        }
        self.pid.store(peer.pid, Ordering::Relaxed);
        self.uid.store(peer.uid, Ordering::Relaxed);
        self.connected.store(connected, Ordering::Relaxed);
        self.accepted.store(now(), Ordering::Relaxed);
        self.client.store(client, Ordering::Release);
    }

    /// The connection is gone.
    pub fn closed(&self) {
        self.client.store(0, Ordering::Release);
        self.since.store(0, Ordering::Release);
    }

    /// A command is sent to its device; when.
    pub fn command_started(&self, cdb: &Cdb, device: Identity) -> Instant {
        let start = Instant::now();
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.command.store(code(cdb), Ordering::Relaxed);
        self.kind.store(device.kind as u8, Ordering::Relaxed);
        self.device.store(device.device, Ordering::Relaxed);
        self.since.store(micros(since_start(start)).max(1), Ordering::Release);
        start
    }

    /// It is over.
    pub fn command_done(&self, cdb: &Cdb, status: Status, sense: &Sense) {
        self.since.store(0, Ordering::Release);
        if status == Status::GOOD {
            return;
        }
        let code_of = |code: SenseCode| {
            let [key, code, qualifier] = code.to_bytes();
            u32::from_be_bytes([0, key, code, qualifier]) | 1 << 23
        };
        let sense = sense.code().map_or(0, code_of);
        self.failed_command.store(code(cdb), Ordering::Relaxed);
        self.failed_with.store(u32::from(status.0) << 24 | sense, Ordering::Relaxed);
        self.failed.store(now().max(1), Ordering::Release);
    }

    /// What the client sent is being closed.
    pub fn closing_started(&self) {
        self.closing.store(now().max(1), Ordering::Release);
    }

    /// It is closed.
    pub fn closing_done(&self) {
        self.closing.store(0, Ordering::Release);
    }

    /// Who is at the other end of the connection, if there is one.
    pub fn peer(&self) -> Option<Peer> {
        let peer = || Peer { pid: self.pid.load(Ordering::Relaxed), uid: self.uid.load(Ordering::Relaxed) };
        (self.client.load(Ordering::Acquire) > 0).then(peer)
    }

    /// The connection as it is now, if there is one.
    pub fn snapshot(&self) -> Option<Snapshot> {
        let client = self.client.load(Ordering::Acquire);
        let past = |at: u64| Duration::from_micros(now().saturating_sub(at));
        let at = |time: &AtomicU64| Some(time.load(Ordering::Acquire)).filter(|time| *time > 0).map(past);
        let under_way = at(&self.since).and_then(|since| {
            let kind = Kind::from_code(self.kind.load(Ordering::Relaxed));
            let device = Identity { kind, device: self.device.load(Ordering::Relaxed) };
            Some(UnderWay { command: command(self.command.load(Ordering::Relaxed))?, device, since })
        });
        let failure = at(&self.failed).and_then(|ago| {
            let [status, key, code, qualifier] = self.failed_with.load(Ordering::Relaxed).to_be_bytes();
            let additional = AdditionalSense { code, qualifier };
            let sense = (key & 0x80 != 0).then_some(SenseCode { key: SenseKey(key & 0x0f), additional });
            let command = command(self.failed_command.load(Ordering::Relaxed))?;
            Some(Failed { command, status: Status(status), sense, ago })
        });
        let connected = self.connected.load(Ordering::Relaxed);
        self.peer().map(|peer| Snapshot {
            origin: Origin { client, peer, connected },
            age: past(self.accepted.load(Ordering::Relaxed)),
            requests: self.requests.load(Ordering::Relaxed),
            under_way,
            failure,
            closing: at(&self.closing),
        })
    }

    /// What is under way, for how long, and on which device, in words.
    pub fn describe(&self) -> Option<String> {
        let Snapshot { under_way, closing, .. } = self.snapshot()?;
        match (under_way, closing) {
            (Some(UnderWay { command, device, since }), _) => {
                Some(format!("{command} on {device} has been hanging for {:.1} s", since.as_secs_f64()))
            }
            (None, Some(since)) => {
                Some(format!("the closing of what a client sent has been hanging for {:.1} s", since.as_secs_f64()))
            }
            (None, None) => None,
        }
    }
}

fn now() -> u64 {
    micros(uptime())
}

/// Operation code and service action in one number.
fn code(cdb: &Cdb) -> u32 {
    let [operation, action, ..] = *cdb.as_bytes();
    u32::from(u16::from_be_bytes([operation, action]))
}

/// The command of such a number; `None` for the zero of a connection that has sent none.
fn command(code: u32) -> Option<Command> {
    let [_, _, operation, action] = code.to_be_bytes();
    let mut bytes = [0; 16];
    [bytes[0], bytes[1]] = [operation, action];
    Cdb::new(bytes).ok().map(|cdb| cdb.command())
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use scsi_persistent_reservations::{OutAction, PersistentReserveOut};

    use super::*;

    #[test]
    fn what_is_seen_is_what_was_done() {
        let status = ConnectionStatus::default();
        assert_eq!(status.snapshot(), None);
        let origin = Origin { client: 7, peer: Peer { pid: 12, uid: 107 }, connected: 5 };
        status.accepted(origin);
        let seen = status.snapshot().unwrap();
        assert_eq!((seen.origin, seen.requests), (origin, 0));
        assert_eq!((seen.under_way, seen.failure), (None, None));

        let cdb = PersistentReserveOut::new(OutAction::Clear, None, 24).cdb();
        let device = Identity { kind: Kind::Block, device: 0x810 };
        status.command_started(&cdb, device);
        let under_way = status.snapshot().unwrap().under_way.unwrap();
        assert_eq!((under_way.command.to_string().as_str(), under_way.device), ("CLEAR", device));

        let sense = Sense::fixed(SenseCode::RESERVATIONS_PREEMPTED);
        status.command_done(&cdb, Status::CHECK_CONDITION, &sense);
        let seen = status.snapshot().unwrap();
        assert_eq!((seen.requests, seen.under_way), (1, None));
        let failure = seen.failure.unwrap();
        assert_eq!(failure.status, Status::CHECK_CONDITION);
        assert_eq!(failure.sense, Some(SenseCode::RESERVATIONS_PREEMPTED));

        status.closed();
        assert_eq!(status.snapshot(), None);
        status.accepted(Origin { client: 8, ..origin });
        assert_eq!(status.snapshot().unwrap().failure, None);
    }
}
