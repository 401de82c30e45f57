//! Something that listens where a helper would, and answers what a test wants.

use std::{
    io::Write as _,
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use qemu_pr_protocol::{Client, Decoder, Descriptors, GREETING, MAX_DATA, Reply, ReplyHeader, Step, channel};
use rustix::event::{PollFd, PollFlags, poll};
use scsi_persistent_reservations::{Cdb, Sense, Status};
use tempfile::TempDir;

/// A request as it arrived.
#[derive(Debug)]
pub struct Request {
    pub cdb: Cdb,
    pub device: OwnedFd,
    pub parameters: Vec<u8>,
}

/// A listener with a directory of its own, that serves one connection after the other.
pub struct StandIn {
    dir: TempDir,
    ending: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl StandIn {
    /// Answers each request this way; `None` closes the connection.
    pub fn answering(mut answer: impl FnMut(Request) -> Option<Reply> + Send + 'static) -> Self {
        Self::serving(move |stream| converse(stream, &mut answer).unwrap_or_default())
    }

    /// Carries each request to a helper on one connection. For the disk all runs of the tool are one initiator then,
    /// as they are on a real disk.
    pub fn initiator(helper: &Path) -> Self {
        let mut client = Client::connect(helper).expect("a helper");
        Self::answering(move |request| client.execute(&request.device, &request.cdb, &request.parameters).ok())
    }

    /// Does this with each connection.
    pub fn serving(mut serve: impl FnMut(UnixStream) + Send + 'static) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(dir.path().join("pr.sock")).expect("a socket");
        let ending = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&ending);
        let server = thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                serve(stream);
            }
        });
        Self { dir, ending, server: Some(server) }
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("pr.sock")
    }

    /// A file to take for a disk.
    pub fn disk(&self) -> String {
        let path = self.dir.path().join("disk");
        std::fs::write(&path, "").expect("a file");
        path.to_str().expect("a path in words").to_owned()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        // Whom it waits for.
        _ = UnixStream::connect(self.socket());
        let ended = self.server.take().map(JoinHandle::join);
        assert!(thread::panicking() || !matches!(ended, Some(Err(_))), "the stand-in failed");
    }
}

/// GOOD with these data.
pub fn good(data: impl Into<Vec<u8>>) -> Reply {
    Reply { status: Status::GOOD, sense: Sense::NONE, data: data.into() }
}

/// Serves a client; `None` if either side closed the connection.
pub fn converse(mut stream: UnixStream, answer: &mut impl FnMut(Request) -> Option<Reply>) -> Option<()> {
    let mut decoder = Decoder::<OwnedFd>::new();
    let mut buffer = vec![0; MAX_DATA];
    stream.write_all(&GREETING).ok()?;
    loop {
        poll(&mut [PollFd::new(&stream, PollFlags::IN)], None).ok()?;
        let room = &mut buffer[..decoder.needs()];
        let (length, descriptors) = if decoder.takes_descriptor() {
            channel::receive_with_descriptors(&stream, room).ok()?
        } else {
            (channel::receive(&stream, room).ok()?, Descriptors::None)
        };
        if length == 0 {
            return None;
        }
        if let Step::Request(request) = decoder.feed(&buffer[..length], descriptors).expect("a proper request") {
            let parameters = request.parameters.into_owned();
            let reply = answer(Request { cdb: request.cdb, device: request.device, parameters })?;
            let size = u32::try_from(reply.data.len()).expect("a small number");
            let header = ReplyHeader { status: reply.status, size, sense: reply.sense };
            stream.write_all(&header.to_bytes()).ok()?;
            stream.write_all(&reply.data).ok()?;
        }
    }
}
