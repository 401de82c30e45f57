//! Carries out what the command line says.

use std::{fmt, path::Path, time::Instant};

use pr_wire::MAX_DATA;
use scsi_pr::{InAction, OutAction, PersistentReserveIn};

use crate::{
    change::Order,
    cli::{Command, Device, Options},
    link::{self, Access, Link},
    show,
    trouble::Trouble,
};

/// What is asked of the disk, by SPC's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// PERSISTENT RESERVE IN.
    In(InAction),
    /// PERSISTENT RESERVE OUT.
    Out(OutAction),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(action) => action.fmt(f),
            Self::Out(action) => action.fmt(f),
        }
    }
}

/// Carries out the command; what there is to print.
pub fn run(options: &Options) -> Result<String, Trouble> {
    let ask = |device: &Device, action, show| ask(options, &device.path, action, show);
    match &options.command {
        Command::Ping => ping(options),
        Command::Keys(device) => ask(device, InAction::ReadKeys, show::keys),
        Command::Reservation(device) => ask(device, InAction::ReadReservation, show::reservation),
        Command::Capabilities(device) => ask(device, InAction::ReportCapabilities, show::capabilities),
        Command::Status(device) => ask(device, InAction::ReadFullStatus, show::full_status),
        Command::Change(change) => self::change(options, &Order::new(change)),
    }
}

fn ping(options: &Options) -> Result<String, Trouble> {
    let start = Instant::now();
    let link = Link::open(&options.socket, options.timeout)?;
    let took = start.elapsed();
    let socket = options.socket.display();
    Ok(format!("{socket}: the helper answers (in {took:.1?}, protocol features {:#x})\n", link.features()))
}

/// Makes text of a device's parameter data; `None` where they are too short for that.
type Show = fn(&Path, &[u8]) -> Option<String>;

fn ask(options: &Options, path: &Path, action: InAction, show: Show) -> Result<String, Trouble> {
    let device = link::device(path, Access::Read)?;
    let mut link = Link::open(&options.socket, options.timeout)?;
    let allocation_length = u16::try_from(MAX_DATA).unwrap_or(u16::MAX);
    let cdb = PersistentReserveIn::new(action, allocation_length).cdb();
    let action = Action::In(action);
    let data = link.execute(device, &cdb, &[], |status, sense| Trouble::refused(path, action, status, sense))?;
    show(path, &data).ok_or_else(|| Trouble::TooShort { device: path.to_path_buf(), action, length: data.len() })
}

fn change(options: &Options, order: &Order<'_>) -> Result<String, Trouble> {
    let path = order.device;
    let device = link::device(path, Access::Write)?;
    let mut link = Link::open(&options.socket, options.timeout)?;
    let action = Action::Out(order.action);
    let refused = |status, sense| Trouble::refused(path, action, status, sense);
    link.execute(device, &order.cdb(), &order.parameters.to_bytes(), refused)?;
    Ok(format!("{}: {}\n", path.display(), order.done()))
}
