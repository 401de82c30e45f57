//! Carries out what the command line says.

use std::path::Path;

use scsi_pr::InAction;
use serde::Serialize;

use crate::{
    bench,
    change::Order,
    cli::{Change, Command, Device, Options},
    compare, confirm,
    disk::Disk,
    error::{Error, exit},
    exporter, log, out,
    page::Page,
    ping, reload, report,
    request::Access,
    show, simulate, state, steer, validate, watch,
};

/// An answer for programs: the device, and what it said.
#[derive(Serialize)]
pub struct About<'a, T> {
    /// The name that it was given by.
    pub device: &'a Path,
    #[serde(flatten)]
    pub answer: T,
}

/// Carries out the command and prints what there is to say; the exit status.
pub fn run(options: &Options) -> Result<u8, Error> {
    match &options.command {
        Command::Ping(ping) => ping::run(options, ping.device.as_deref(), ping.requests)?,
        Command::Watch(watch) => watch::run(options, &watch.device, watch.interval)?,
        Command::Bench(bench) => bench::run(options, bench)?,
        Command::All(device) => all(options, device)?,
        Command::Keys(device) => ask(options, device, InAction::ReadKeys, show::keys, report::keys)?,
        Command::Reservation(device) => {
            ask(options, device, InAction::ReadReservation, show::reservation, report::reservation)?;
        }
        Command::Capabilities(device) => {
            ask(options, device, InAction::ReportCapabilities, show::capabilities, report::capabilities)?;
        }
        Command::Status(device) => {
            ask(options, device, InAction::ReadFullStatus, show::full_status, report::status)?;
        }
        Command::Compare { device } => return compare::run(options, device),
        Command::Validate(validate) => return validate::run(options, validate),
        Command::Simulate { files, misbehave } => return simulate::run(options, files, *misbehave),
        Command::State(state) => state::run(options, state)?,
        Command::Log(helper) => log::run(options, helper)?,
        Command::Trace(trace) => steer::trace(options, trace)?,
        Command::Reload(reload) => reload::run(options, reload)?,
        Command::Exporter(exporter) => exporter::run(options, exporter)?,
        Command::Change(change) => self::change(options, change)?,
    }
    Ok(exit::GOOD)
}

/// Asks for data, and prints what `show` or `shape` makes of them: `None` where they are too short.
fn ask<T: Serialize>(
    options: &Options,
    device: &Device,
    action: InAction,
    show: fn(&Path, &[u8]) -> Option<String>,
    shape: fn(&[u8]) -> Option<T>,
) -> Result<(), Error> {
    let mut disk = Disk::open(options, device, Access::Read)?;
    let data = disk.data(action)?;
    let too_short = || disk.too_short(action, &data);
    if options.json {
        let answer = shape(&data).ok_or_else(too_short)?;
        return out::json(&About { device: &device.path, answer });
    }
    out::print(&show(disk.path(), &data).ok_or_else(too_short)?)
}

fn all(options: &Options, device: &Device) -> Result<(), Error> {
    let mut disk = Disk::open(options, device, Access::Read)?;
    let page = Page::read(&mut disk)?;
    let too_short = || disk.too_short(InAction::ReadReservation, &[]);
    if options.json {
        let answer = page.shape().ok_or_else(too_short)?;
        return out::json(&About { device: &device.path, answer });
    }
    out::print(&page.text(disk.path()).ok_or_else(too_short)?)
}

#[derive(Serialize)]
struct Done {
    action: String,
    done: String,
}

fn change(options: &Options, change: &Change) -> Result<(), Error> {
    let (device, sure) = change.device();
    let order = Order::of(change);
    let mut disk = Disk::open(options, device, Access::Write)?;
    if order.is_destructive() && !sure {
        confirm::destructive(&mut disk, &order)?;
    }
    disk.change(&order)?;
    if options.json {
        let answer = Done { action: order.action.to_string(), done: order.done() };
        return out::json(&About { device: &device.path, answer });
    }
    out::print(&show::titled(disk.path(), &order.done()))
}
