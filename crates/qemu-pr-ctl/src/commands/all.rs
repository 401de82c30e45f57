//! `all`: everything about a disk on one page.

use clap::Args;
use scsi_persistent_reservations::{InAction, ReadReservation, Status};

use super::global::{Global, Run};
use crate::{
    error::{Error, exit},
    output::{
        json::{self, About},
        summary::Summary,
        terminal,
    },
    request::Access,
    target::{Device, Disk},
};

/// Show registrations, reservation and current access rights
///
/// Sends READ KEYS, READ RESERVATION and, if the disk supports it, READ FULL
/// STATUS. The table at the end says who may read, write, reserve and preempt
/// under the present reservation.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct All {
    #[command(flatten)]
    device: Device,
}

impl Run for All {
    fn run(&self, global: &Global) -> Result<u8, Error> {
        let mut disk = Disk::open(&global.helper, &self.device, Access::Read)?;
        let summary = read(&mut disk)?;
        let too_short = || disk.too_short(InAction::ReadReservation, &[]);
        if global.json {
            let answer = summary.shape().ok_or_else(too_short)?;
            json::print(&About { device: &self.device.path, answer })?;
        } else {
            terminal::print(&summary.text(disk.path()).ok_or_else(too_short)?)?;
        }
        Ok(exit::GOOD)
    }
}

fn read(disk: &mut Disk<'_>) -> Result<Summary, Error> {
    let keys = disk.data(InAction::ReadKeys)?;
    let reservation = disk.data(InAction::ReadReservation)?;
    let full = disk.ask(InAction::ReadFullStatus)?;
    // Not every disk supports it.
    let status = (full.status == Status::GOOD).then_some(full.data);
    let too_short = |action, data: &[u8]| disk.too_short(action, data);
    json::keys(&keys).ok_or_else(|| too_short(InAction::ReadKeys, &keys))?;
    let held = ReadReservation::parse(&reservation).map_err(|_| too_short(InAction::ReadReservation, &reservation))?;
    let kind = held.reservation.and_then(|held| held.reservation_type());
    Ok(Summary::new(keys, reservation, status, kind))
}
