//! What outlives a run: the server, and the files that stand for disks.

use std::{
    fs::File,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use qemu_pr_helper::fuzzing::{Read, Server};
use rustix::fs::{MemfdFlags, memfd_create};

use super::model::SCENES;

/// `--max-connections`.
pub const MAX_CONNECTIONS: usize = 6;

/// Longer than `--request-timeout`.
pub const LONG: Duration = Duration::from_hours(2);

/// The numbers by which a run names descriptors.
pub struct Fds {
    /// No descriptor.
    pub none: u8,
    /// One of a disk.
    pub disks: [u8; DISKS],
}

/// See [`Stage::descriptors_for`].
pub const FDS: Fds = Fds { none: 5, disks: [0, 1, 2, 3] };

/// Files that are disks.
pub const DISKS: usize = 4;

/// A descriptor that is sent along.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Which disk.
    pub disk: usize,
    /// Whether it is open for writing.
    pub writable: bool,
    fd: BorrowedFd<'static>,
}

impl Sent {
    /// The descriptor.
    pub const fn fd(&self) -> BorrowedFd<'static> {
        self.fd
    }
}

/// The server and its surroundings.
pub struct Stage {
    /// The server.
    pub server: Server,
    /// The settings files of [`SCENES`].
    pub scenes: [Read; SCENES.len()],
    address: SocketAddr,
    disks: [OwnedFd; DISKS],
    read_only: OwnedFd,
    clients: AtomicU64,
}

impl Stage {
    /// The one of this process.
    pub fn get() -> &'static Self {
        static STAGE: OnceLock<Stage> = OnceLock::new();
        STAGE.get_or_init(Self::set_up)
    }

    fn set_up() -> Self {
        let name = format!("qemu-pr-helper-fuzz-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name).expect("an address");
        let listener = UnixListener::bind_addr(&address).expect("a socket");
        let connections = MAX_CONNECTIONS.to_string();
        let options = ["--simulate", "--max-connections", &connections, "--request-timeout", "3600"];
        Server::be_talkative();
        let server = Server::start(listener.into(), &options).expect("a server");
        let memory = |name: &str| memfd_create(name, MemfdFlags::CLOEXEC).expect("a file in memory");
        let null: OwnedFd = File::options().read(true).write(true).open("/dev/null").expect("a null device").into();
        let disks = [memory("one"), memory("two"), memory("three"), null];
        let again = rustix::path::DecInt::from_fd(&disks[0]);
        let path = format!("/proc/self/fd/{}", again.as_str());
        let read_only = File::open(path).expect("the first disk once more").into();
        let scenes = SCENES.map(|text| Read::new(text).expect("settings"));
        Self { server, scenes, address, disks, read_only, clients: AtomicU64::new(0) }
    }

    /// The number that the server gives to the next client.
    pub fn next_client(&self) -> u64 {
        self.clients.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A connection.
    pub fn connect(&self) -> UnixStream {
        UnixStream::connect_addr(&self.address).expect("a connection")
    }

    /// The descriptors that a byte of the input stands for.
    pub fn descriptors_for(&'static self, byte: u8) -> Vec<Sent> {
        let disk = |disk: usize| Sent { disk, writable: true, fd: self.disks[disk].as_fd() };
        match byte % 8 {
            number @ 0..4 => vec![disk(number.into())],
            4 => vec![Sent { writable: false, fd: self.read_only.as_fd(), ..disk(0) }],
            5 => Vec::new(),
            6 => vec![disk(0), disk(1)],
            _ => vec![disk(2); 3],
        }
    }

    /// Waits until the server has let go of all connections but so many.
    pub fn wait_for(&self, connections: usize) {
        while self.server.connections() > connections {
            thread::yield_now();
        }
        assert_eq!(self.server.connections(), connections, "a connection too few");
    }
}

/// Waits until this process has so many descriptors again: a thread that has just armed a socket, or closes what a client
/// has sent, may hold it for a moment longer than the connection lasts.
pub fn wait_for_descriptors(count: usize) {
    let patience = Instant::now() + Duration::from_secs(5);
    while descriptors() != count {
        assert!(Instant::now() < patience, "{} descriptors instead of {count}", descriptors());
        thread::yield_now();
    }
}

/// How many descriptors this process has.
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc").count()
}
