//! A connection and its client on a socket pair, without a server.

use std::{
    fs::File,
    io::{Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    sync::Arc,
    time::Duration,
};

use qemu_pr_protocol::{GREETING, HEADER_LENGTH, ReplyHeader, channel};
use scsi_persistent_reservations::{
    BASIC_LENGTH, Cdb, InAction, OutAction, PersistentReserveIn, PersistentReserveOut, Status,
};

use super::{
    connection::{Connection, Next, Scratch},
    shared::Shared,
    status::ConnectionStatus,
};
use crate::{
    audit::Audit,
    device::{Router, multipath::Multipath},
    metrics::Metrics,
    peer::{Origin, Peer},
    policy::Policy,
};

/// `--request-timeout`.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// What connections share, with simulated disks behind files, or with no disk at all.
pub fn shared(simulate: bool) -> Shared {
    // No broker is at the other end: none of these tests has a map.
    let (broker, _) = UnixStream::pair().expect("two sockets");
    let metrics = Arc::new(Metrics::default());
    let audit = Arc::new(Audit::new(Arc::default(), Arc::clone(&metrics), None, None));
    let multipath = Multipath::over(broker.into(), Arc::clone(&metrics));
    let router = Router::new(Duration::from_secs(1), multipath, simulate, Arc::clone(&audit));
    Shared::new(router, Policy::new(None, None), audit, metrics, TIMEOUT, true).expect("an epoll set")
}

/// The client of this number.
pub const fn origin(client: u64) -> Origin {
    Origin { client, peer: Peer { pid: 0, uid: 107 }, connected: 0 }
}

/// A connection, and what a worker thread has for it.
pub struct Served {
    pub shared: Shared,
    pub connection: Connection,
    pub status: ConnectionStatus,
    scratch: Scratch,
    pub client: UnixStream,
    /// The disk: a file of its own.
    disk: File,
}

impl Served {
    /// A connection that has just been accepted.
    pub fn new(simulate: bool) -> Self {
        let (ours, client) = UnixStream::pair().expect("two sockets");
        ours.set_nonblocking(true).expect("a flag");
        let shared = shared(simulate);
        let connection = Connection::new(ours.into(), origin(1), &shared.audit);
        let status = ConnectionStatus::default();
        status.accepted(origin(1));
        let disk = tempfile::tempfile().expect("a file");
        Self { shared, connection, status, scratch: Scratch::default(), client, disk }
    }

    /// One whose client has said which features it wants.
    pub fn negotiated(simulate: bool) -> Self {
        let mut served = Self::new(simulate);
        served.client.write_all(&GREETING).expect("room");
        assert!(matches!(served.handle(), Next::Wait(_)));
        served
    }

    /// What a worker thread does when the socket has an event.
    pub fn handle(&mut self) -> Next {
        self.connection.handle(&self.shared, &self.status, &mut self.scratch)
    }

    /// The client sends a request, or the first bytes of one.
    pub fn send(&self, cdb: &Cdb, parameters: &[u8], bytes: usize) {
        let all = [cdb.as_bytes().as_slice(), parameters].concat();
        let sent = channel::send_with_descriptor(&self.client, &all[..bytes.min(all.len())], b"", self.disk.as_fd());
        assert_eq!(sent.expect("room"), bytes.min(all.len()));
    }

    /// The client sends a whole request.
    pub fn send_all(&self, cdb: &Cdb, parameters: &[u8]) {
        self.send(cdb, parameters, usize::MAX);
    }

    /// The client reads an answer; its status.
    pub fn receive(&mut self) -> Status {
        let mut header = [0; HEADER_LENGTH];
        self.client.read_exact(&mut header).expect("an answer");
        let header = ReplyHeader::parse(&header).expect("a header");
        let mut data = vec![0; usize::try_from(header.size).expect("a size")];
        self.client.read_exact(&mut data).expect("its data");
        header.status
    }

    /// Whether the client has something to read.
    pub fn has_answer(&self) -> bool {
        let mut byte = [0; 1];
        let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
        rustix::net::recv(&self.client, &mut byte[..], flags).is_ok_and(|(length, _)| length > 0)
    }
}

/// READ KEYS.
pub fn read_keys() -> Cdb {
    PersistentReserveIn::new(InAction::ReadKeys, 8192).cdb()
}

/// REGISTER with these keys, and its parameter list.
pub fn register(key: u64, service_action_key: u64) -> (Cdb, [u8; BASIC_LENGTH]) {
    let mut list = [0; BASIC_LENGTH];
    list[..8].copy_from_slice(&key.to_be_bytes());
    list[8..16].copy_from_slice(&service_action_key.to_be_bytes());
    (PersistentReserveOut::new(OutAction::Register, None, 24).cdb(), list)
}
