//! Clients that send one command after the other, as QEMU does it, and count what is lost.
//!
//! QEMU connects again while it has not sent the CDB, up to five times. What goes wrong after that, the guest is told.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use qemu_pr_protocol::{Client, HEADER_LENGTH, ReplyHeader, channel};
use scsi_persistent_reservations::InAction;

use super::SOCKET;
use crate::node::Node;
use crate::request::Request;

/// QEMU's (`PR_MAX_RECONNECT_ATTEMPTS`).
const ATTEMPTS: usize = 5;

/// What became of the commands.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// All of them.
    pub sent: usize,
    /// Connections that were made because the one before had ended.
    pub anew: usize,
    /// Nobody could be reached in five attempts.
    pub unreachable: usize,
    /// The connection ended between the CDB and the parameter list.
    pub halved: usize,
    /// The connection ended before the answer.
    pub unanswered: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, anew, unreachable, halved, unanswered } = self;
        write!(
            f,
            "{sent} commands sent, {anew} connections made anew; lost: {unreachable} unreachable, {halved} halved, \
             {unanswered} unanswered"
        )
    }
}

/// Clients at work.
pub struct Busy {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Tally>>,
}

impl Busy {
    /// Starts some; each registers a key of its own again and again, and reads all keys.
    pub fn start(count: u64, node: &Node) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |number| {
            let (device, stop) = (node.open()?, Arc::clone(&stop));
            Ok(thread::spawn(move || work(&device, 0xb000 + number, &stop)))
        };
        let clients = (0..count).map(client).collect::<Result<_>>()?;
        Ok(Self { stop, clients })
    }

    /// Ends them; what they saw together.
    pub fn end(self) -> Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        for client in self.clients {
            let one = client.join().map_err(|_| anyhow!("a client panicked"))?;
            all.sent += one.sent;
            all.anew += one.anew;
            all.unreachable += one.unreachable;
            all.halved += one.halved;
            all.unanswered += one.unanswered;
        }
        Ok(all)
    }
}

fn work(device: &std::fs::File, key: u64, stop: &AtomicBool) -> Tally {
    let requests = [Request::register_anyhow(key), Request::read(InAction::ReadKeys)];
    let mut tally = Tally::default();
    let (mut line, mut connections) = (None, 0_usize);
    for request in requests.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        tally.sent += 1;
        let Some(mut stream) = send_cdb(line.take(), device, request, &mut connections) else {
            tally.unreachable += 1;
            continue;
        };
        if stream.write_all(&request.parameters).is_err() {
            tally.halved += 1;
        } else if receive(&mut stream).is_err() {
            tally.unanswered += 1;
        } else {
            line = Some(stream);
        }
    }
    tally.anew = connections.saturating_sub(1);
    tally
}

/// Sends the CDB, over a new connection if the old one is not there any more.
fn send_cdb(
    mut line: Option<UnixStream>,
    device: &std::fs::File,
    request: &Request,
    connections: &mut usize,
) -> Option<UnixStream> {
    for _ in 0..ATTEMPTS {
        let kept = line.take();
        *connections += usize::from(kept.is_none());
        let Some(stream) = kept.or_else(|| connect().ok()) else {
            sleep(Duration::from_secs(1));
            continue;
        };
        if channel::send_with_descriptor(&stream, request.cdb.as_bytes(), &[], device.as_fd()).is_ok() {
            return Some(stream);
        }
    }
    None
}

fn connect() -> Result<UnixStream> {
    let stream = UnixStream::connect(SOCKET)?;
    // The greeting is as the tools do it; the commands are not, because QEMU sends them in two parts.
    Client::over(stream.try_clone()?)?;
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    Ok(stream)
}

fn receive(stream: &mut UnixStream) -> Result<()> {
    let mut header = [0; HEADER_LENGTH];
    stream.read_exact(&mut header)?;
    let header = ReplyHeader::parse(&header).context("no SCSI status")?;
    stream.read_exact(&mut vec![0; usize::try_from(header.size)?])?;
    Ok(())
}
