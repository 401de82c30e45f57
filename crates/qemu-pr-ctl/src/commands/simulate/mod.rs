//! `simulate`: a server of simulated disks, for tests of other projects. It needs no privileges.
//!
//! Each connection is an initiator, or else each name (`--as`), as with the helper's own `--simulate`. Each connection has
//! a thread: a test has few of them.

mod fault;
mod lun;
mod misbehave;

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    io::{self, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{
            fs::MetadataExt as _,
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use clap::Args;
use pr_sim::{InitiatorPort, Mark, Medium};
use qemu_pr_protocol::{Decoder, Descriptors, GREETING, MAX_DATA, Reply, ReplyHeader, Step, channel};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{FileType, OFlags, fcntl_getfl, fstat, tell},
};
use scsi_persistent_reservations::{Sense, SenseCode, Status};
use serde::Serialize;
use signal_hook::{consts::TERM_SIGNALS, iterator::Signals};

use self::{fault::Fault, lun::Lun};
use super::global::{Global, Run};
use crate::{
    error::{Error, exit},
    output::{json, terminal},
    request::Access,
};

/// More connections, disks and names than a test has; a bound on threads and memory.
const MAX_CONNECTIONS: usize = 1024;
const MAX_LUNS: usize = 1024;
const MAX_NAMES: usize = 256;

/// LOGICAL UNIT NOT SUPPORTED: the descriptor is none of the files.
const NO_SUCH_UNIT: SenseCode = SenseCode::new(0x5, 0x25, 0x00);

/// A file: its device and inode. Two descriptors of one file are one disk.
type FileId = (u64, u64);

struct Server {
    /// Which files are disks; every descriptor is one if there are none.
    files: Vec<FileId>,
    luns: Mutex<HashMap<FileId, Lun>>,
    /// The initiators that have names.
    names: Mutex<BTreeSet<InitiatorPort>>,
    fault: Option<Fault>,
    next: AtomicU64,
    connections: AtomicUsize,
}

#[derive(Serialize)]
struct Ready<'a> {
    socket: &'a Path,
    listening: bool,
}

/// Serve simulated disks at --socket until interrupted
#[derive(Debug, Args)]
#[command(after_long_help = fault::table())]
pub struct Simulate {
    /// Files that act as disks [default: any file that a client sends]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Inject a fault (--help lists them)
    #[arg(long, value_name = "FAULT", value_enum, hide_possible_values = true)]
    misbehave: Option<Fault>,
}

impl Run for Simulate {
    fn run(&self, global: &Global) -> Result<u8, Error> {
        serve(global, &self.files, self.misbehave)
    }
}

/// Serves until a signal ends it; the exit status.
fn serve(global: &Global, files: &[PathBuf], fault: Option<Fault>) -> Result<u8, Error> {
    let files = files.iter().map(|path| identity(path)).collect::<Result<_, _>>()?;
    let socket = &global.helper.socket;
    let listener = listen(socket)?;
    let failed = |error| Error::Listen { path: socket.clone(), error };
    let mut signals = Signals::new(TERM_SIGNALS).map_err(failed)?;
    let server = Arc::new(Server {
        files,
        luns: Mutex::default(),
        names: Mutex::default(),
        fault,
        next: AtomicU64::new(1),
        connections: AtomicUsize::new(0),
    });
    if global.json {
        json::print_line(&Ready { socket, listening: true })?;
    } else {
        terminal::print(&format!("listening on {}\n", socket.display()))?;
    }
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let server = Arc::clone(&server);
            if server.connections.fetch_add(1, Ordering::SeqCst) >= MAX_CONNECTIONS {
                server.connections.fetch_sub(1, Ordering::SeqCst);
                continue;
            }
            thread::spawn(move || {
                let client = server.next.fetch_add(1, Ordering::SeqCst);
                // However the connection ends, only this thread ends with it.
                let _ = server.serve_client(&stream, client);
                server.forget(client);
                server.connections.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    signals.forever().next();
    // No other process can have replaced it while this one listened.
    let _ = fs::remove_file(socket);
    Ok(exit::GOOD)
}

fn identity(path: &Path) -> Result<FileId, Error> {
    let file = fs::metadata(path).map_err(|error| Error::opening(path, Access::Read, error))?;
    Ok((file.dev(), file.ino()))
}

/// Listens; a stale socket is removed first.
fn listen(path: &Path) -> Result<UnixListener, Error> {
    let failed = |error| Error::Listen { path: path.to_path_buf(), error };
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let stale = UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
            let socket = fs::symlink_metadata(path)
                .is_ok_and(|file| std::os::unix::fs::FileTypeExt::is_socket(&file.file_type()));
            if !(stale && socket) {
                return Err(failed(error));
            }
            fs::remove_file(path).and_then(|()| UnixListener::bind(path)).map_err(failed)
        }
        bound => bound.map_err(failed),
    }
}

impl Server {
    /// Serves a client until it disconnects; an error is a failed connection or a protocol violation.
    fn serve_client(&self, stream: &UnixStream, client: u64) -> io::Result<()> {
        let mut decoder = Decoder::<OwnedFd>::new();
        let mut buffer = vec![0; MAX_DATA];
        send(stream, &GREETING, &[])?;
        loop {
            poll(&mut [PollFd::new(stream, PollFlags::IN)], None)?;
            let room = &mut buffer[..decoder.needs()];
            let (length, descriptors) = if decoder.takes_descriptor() {
                channel::receive_with_descriptors(stream, room)?
            } else {
                (channel::receive(stream, room)?, Descriptors::None)
            };
            if length == 0 {
                return Ok(());
            }
            let step = decoder.feed(&buffer[..length], descriptors).map_err(io::Error::other)?;
            if let Step::Request(request) = step {
                let reply = self.answer(&request.device, client, &request.cdb, &request.parameters);
                // The descriptor is closed before the answer is sent, as the helper does it.
                drop(request.device);
                let size = u32::try_from(reply.data.len()).unwrap_or(u32::MAX);
                let header = ReplyHeader { status: reply.status, size, sense: reply.sense };
                send(stream, &header.to_bytes(), &reply.data)?;
            }
        }
    }

    fn answer(
        &self,
        device: &OwnedFd,
        client: u64,
        cdb: &scsi_persistent_reservations::Cdb,
        parameters: &[u8],
    ) -> Reply {
        // As in the helper: a descriptor that is open for reading only must not change reservations.
        let read_only = fcntl_getfl(device).is_ok_and(|flags| flags & OFlags::RWMODE == OFlags::RDONLY);
        if read_only && matches!(cdb.command(), scsi_persistent_reservations::Command::Out(_)) {
            return check(SenseCode::INVALID_OPERATION_CODE);
        }
        let Some((initiator, medium)) = self.meant(device, client) else {
            return check(SenseCode::INTERNAL_TARGET_FAILURE);
        };
        let file = fstat(device.as_fd()).map(|stat| (stat.st_dev, stat.st_ino));
        let mut luns = self.luns.lock().unwrap_or_else(PoisonError::into_inner);
        match file {
            Ok(file) if self.files.is_empty() || self.files.contains(&file) => {
                if luns.len() >= MAX_LUNS && !luns.contains_key(&file) {
                    return check(SenseCode::INTERNAL_TARGET_FAILURE);
                }
                let lun = luns.entry(file).or_default();
                match medium {
                    None => lun.execute(initiator, cdb, parameters, self.fault),
                    Some(medium) => lun.access(initiator, medium, self.fault),
                }
            }
            _ => check(NO_SUCH_UNIT),
        }
    }

    /// Who sends a command: the initiator in the file's offset, or else the connection; and what is meant instead of it.
    /// `None` if there are too many names.
    fn meant(&self, device: &OwnedFd, client: u64) -> Option<(InitiatorPort, Option<Medium>)> {
        let is_file = fstat(device).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        let mark = if is_file { tell(device).map(Mark::from_number).unwrap_or_default() } else { Mark::default() };
        let Some(initiator) = mark.initiator else { return Some((InitiatorPort::of_client(client), mark.medium)) };
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if !names.contains(&initiator) && names.len() >= MAX_NAMES {
            return None;
        }
        names.insert(initiator);
        Some((initiator, mark.medium))
    }

    /// Drops what is kept for a client that has disconnected. Its registrations stay, as on a disk.
    fn forget(&self, client: u64) {
        let initiator = InitiatorPort::of_client(client);
        self.luns.lock().unwrap_or_else(PoisonError::into_inner).values_mut().for_each(|lun| lun.forget(initiator));
    }
}

fn check(code: SenseCode) -> Reply {
    Reply { status: Status::CHECK_CONDITION, sense: Sense::fixed(code), data: Vec::new() }
}

/// Sends both parts; blocks until they are sent.
fn send(stream: &UnixStream, head: &[u8], tail: &[u8]) -> io::Result<()> {
    let mut stream = stream;
    // Rust programs ignore SIGPIPE, so a client that has disconnected is an error.
    stream.write_all(head)?;
    stream.write_all(tail)
}
