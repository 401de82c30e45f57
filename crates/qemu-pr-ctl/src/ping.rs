//! `ping`: is there a helper, how fast does it answer, and what does it do?

use std::{
    fmt::Write as _,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::pipe::PipeFlags;
use scsi_pr::{InAction, OutAction, PersistentReserveIn, ReservationKey, SenseCode, Status};
use serde::Serialize;

use crate::{
    change::Order,
    cli::Options,
    error::Error,
    link::{self, Link},
    out,
    request::Access,
    times::Times,
};

/// A descriptor that is no disk, and open for reading only: what it takes to answer is the helper's own time. The helper
/// takes a request about a pipe for one about itself, and neither records nor counts it.
fn no_disk() -> Result<OwnedFd, Error> {
    let (reader, _) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|error| Error::Pipe(error.into()))?;
    Ok(reader)
}

#[derive(Serialize)]
struct Pong {
    socket: PathBuf,
    features: u32,
    connect_microseconds: u128,
    device: Option<PathBuf>,
    requests: Times,
    answers: Answers,
}

/// What the helper does, as far as it shows without a disk. A wrong answer to a harmless question tells it.
#[derive(Serialize)]
struct Answers {
    /// It simulates disks.
    simulates: bool,
    /// Who may only read a disk cannot change who may write it.
    guards_read_only: bool,
}

/// Connects, and sends so many requests.
pub fn run(options: &Options, device: Option<&Path>, requests: usize) -> Result<(), Error> {
    let start = Instant::now();
    let mut link = Link::open(&options.socket, options.patience())?;
    let connect = start.elapsed();
    let file = device.map_or_else(no_disk, |device| link::device(device, Access::Read))?;
    let times = Times::new((0..requests).map(|_| once(&mut link, &file)).collect::<Result<_, _>>()?);
    let answers = Answers::probe(&mut link)?;
    let pong = Pong {
        socket: options.socket.clone(),
        features: link.features(),
        connect_microseconds: connect.as_micros(),
        device: device.map(Path::to_path_buf),
        requests: times,
        answers,
    };
    if options.json { out::json(&pong) } else { out::print(&text(&pong, connect)) }
}

/// One READ KEYS, there and back. Any answer will do.
pub fn once(link: &mut Link<'_>, device: &OwnedFd) -> Result<Duration, Error> {
    let cdb = PersistentReserveIn::new(InAction::ReadKeys, 8192).cdb();
    let start = Instant::now();
    link.execute(device, &cdb, &[])?;
    Ok(start.elapsed())
}

impl Answers {
    /// Nothing here reaches a disk: the descriptor is none.
    fn probe(link: &mut Link<'_>) -> Result<Self, Error> {
        let file = no_disk()?;
        let cdb = PersistentReserveIn::new(InAction::ReportCapabilities, 8).cdb();
        let simulates = link.execute(&file, &cdb, &[])?.status == Status::GOOD;
        // A registration of nothing: were it carried out, nothing would be changed.
        let order = Order::new(OutAction::Register, None, ReservationKey::ZERO, ReservationKey::ZERO);
        let reply = link.execute(&file, &order.cdb(), &order.list)?;
        let guards_read_only = reply.sense.code() == Some(SenseCode::INVALID_OPERATION_CODE);
        Ok(Self { simulates, guards_read_only })
    }
}

fn text(pong: &Pong, connect: Duration) -> String {
    let yes = |is: bool| if is { "yes" } else { "no" };
    let mut text = crate::show::titled(&pong.socket, "the helper answers");
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{}", out::column(&format!("  {name:<28}  "), value));
    };
    line("connection and greeting", &format!("{connect:.1?}"));
    let Times { count, min, median, p99, .. } = &pong.requests;
    if *count > 0 {
        let what = pong
            .device
            .as_ref()
            .map_or("without a disk".to_owned(), |device| format!("READ KEYS of {}", device.display()));
        line("requests", &format!("{count}, {what}"));
        line("  fastest", &format!("{min:.1?}"));
        line("  median", &format!("{median:.1?}"));
        line("  99 of 100 faster than", &format!("{p99:.1?}"));
    }
    line("protocol features", &format!("{:#x}", pong.features));
    line("simulates disks", yes(pong.answers.simulates));
    line("guards read-only descriptors", yes(pong.answers.guards_read_only));
    text
}
