//! The subcommands that send one PERSISTENT RESERVE IN.

use std::path::Path;

use scsi_persistent_reservations::InAction;
use serde::Serialize;

use super::global::Global;
use crate::{
    error::{Error, exit},
    output::{
        json::{self, About},
        terminal,
    },
    request::Access,
    target::{Device, Disk},
};

/// Sends the command, and prints what `text` or `shape` makes of the data: `None` where they are too short.
pub fn run<T: Serialize>(
    global: &Global,
    device: &Device,
    action: InAction,
    text: fn(&Path, &[u8]) -> Option<String>,
    shape: fn(&[u8]) -> Option<T>,
) -> Result<u8, Error> {
    let mut disk = Disk::open(&global.helper, device, Access::Read)?;
    let data = disk.data(action)?;
    let too_short = || disk.too_short(action, &data);
    if global.json {
        let answer = shape(&data).ok_or_else(too_short)?;
        json::print(&About { device: &device.path, answer })?;
    } else {
        terminal::print(&text(disk.path(), &data).ok_or_else(too_short)?)?;
    }
    Ok(exit::GOOD)
}
