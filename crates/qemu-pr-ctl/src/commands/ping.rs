//! `ping`: is there a helper, how fast does it answer, and what does it do?

use std::{
    fmt::Write as _,
    os::fd::OwnedFd,
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Args;
use rustix::pipe::PipeFlags;
use scsi_persistent_reservations::{
    CDB_LENGTH, Cdb, InAction, PersistentReserveIn, PrOut, ReservationKey, SenseCode, Status,
};
use serde::Serialize;

use super::global::{Global, Run};
use crate::{
    error::{Error, exit},
    output::{json, latency::Latency, terminal, text},
    request::Access,
    target::{self, Transport},
};

/// In the control byte, the last of a CDB (SAM-5 5.2).
const NACA: u8 = 0x04;

/// A descriptor that is no disk, and open for reading only: what it takes to answer is the helper's own time. The helper
/// takes a request about a pipe for one about itself, and neither records nor counts it.
fn no_disk() -> Result<OwnedFd, Error> {
    let (reader, _) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|error| Error::Pipe(error.into()))?;
    Ok(reader)
}

#[derive(Serialize)]
struct PingReply {
    socket: PathBuf,
    features: u32,
    connect_microseconds: u128,
    device: Option<PathBuf>,
    requests: Latency,
    answers: Answers,
}

/// Properties of the helper that show without a disk, in its answers to invalid requests.
#[derive(Serialize)]
pub struct Answers {
    /// It simulates disks.
    pub simulates: bool,
    /// Who may only read a disk cannot change who may write it.
    pub guards_read_only: bool,
    /// A failed command does not make the disk wait for its sender to clear that. QEMU's own helper sends such a command on.
    pub refuses_naca: bool,
}

/// Check that a helper answers, and measure its latency
#[derive(Debug, Args)]
pub struct Ping {
    /// Disk to read; without one only the helper is measured
    #[arg(value_name = "DEVICE")]
    device: Option<PathBuf>,

    /// Number of requests to measure
    #[arg(short = 'n', long, value_name = "N", default_value = "10", value_parser = requests)]
    requests: usize,
}

fn requests(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number <= 1_000_000);
    number.ok_or_else(|| "expected a number from 0 to 1000000".to_owned())
}

impl Run for Ping {
    fn run(&self, global: &Global) -> Result<u8, Error> {
        let start = Instant::now();
        let mut transport = Transport::open(&global.helper)?;
        let connect = start.elapsed();
        let file = self
            .device
            .as_ref()
            .map_or_else(no_disk, |device| target::open(device, Access::Read, global.helper.initiator))?;
        let latency = Latency::new((0..self.requests).map(|_| once(&mut transport, &file)).collect::<Result<_, _>>()?);
        let reply = PingReply {
            socket: global.helper.socket.clone(),
            features: transport.features(),
            connect_microseconds: connect.as_micros(),
            device: self.device.clone(),
            requests: latency,
            answers: Answers::probe(&mut transport)?,
        };
        if global.json {
            json::print(&reply)?;
        } else {
            terminal::print(&page(&reply, connect))?;
        }
        Ok(exit::GOOD)
    }
}

/// One READ KEYS, there and back. Any answer will do.
pub fn once(transport: &mut Transport<'_>, device: &OwnedFd) -> Result<Duration, Error> {
    let cdb = PersistentReserveIn::new(InAction::ReadKeys, 8192).cdb();
    let start = Instant::now();
    transport.execute(device, &cdb, &[])?;
    Ok(start.elapsed())
}

impl Answers {
    /// Nothing here reaches a disk: the descriptor is none.
    pub fn probe(transport: &mut Transport<'_>) -> Result<Self, Error> {
        let file = no_disk()?;
        let cdb = PersistentReserveIn::new(InAction::ReportCapabilities, 8).cdb();
        let simulates = transport.execute(&file, &cdb, &[])?.status == Status::GOOD;
        // A registration of nothing: were it carried out, nothing would be changed.
        let request = PrOut::register(ReservationKey::ZERO, ReservationKey::ZERO);
        let reply = transport.execute(&file, &request.cdb(), &request.list())?;
        let guards_read_only = reply.sense.code() == Some(SenseCode::INVALID_OPERATION_CODE);
        let mut bytes = *cdb.as_bytes();
        bytes[CDB_LENGTH - 1] = NACA;
        let refuses_naca = match Cdb::new(bytes) {
            Ok(cdb) => transport.execute(&file, &cdb, &[])?.sense.code() == Some(SenseCode::INVALID_FIELD_IN_CDB),
            Err(_) => false,
        };
        Ok(Self { simulates, guards_read_only, refuses_naca })
    }
}

fn page(reply: &PingReply, connect: Duration) -> String {
    let yes = |is: bool| if is { "yes" } else { "no" };
    let mut page = text::titled(&reply.socket, "the helper answers");
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(page, "{}", terminal::column(&format!("  {name:<28}  "), value));
    };
    line("connect and handshake", &format!("{connect:.1?}"));
    let Latency { count, min, median, p99, .. } = &reply.requests;
    if *count > 0 {
        let what = reply
            .device
            .as_ref()
            .map_or("without a disk".to_owned(), |device| format!("READ KEYS of {}", device.display()));
        line("requests", &format!("{count}, {what}"));
        line("  fastest", &format!("{min:.1?}"));
        line("  median", &format!("{median:.1?}"));
        line("  99th percentile", &format!("{p99:.1?}"));
    }
    line("protocol features", &format!("{:#x}", reply.features));
    line("simulates disks", yes(reply.answers.simulates));
    line("guards read-only descriptors", yes(reply.answers.guards_read_only));
    line("refuses NACA", yes(reply.answers.refuses_naca));
    page
}
