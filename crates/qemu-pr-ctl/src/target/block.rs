//! A block of a disk, read and written to see whether a reservation admits that.
//!
//! No helper carries these commands: to a disk they go with `SG_IO`, by the path that the device is. A simulated disk gets
//! them through its helper, by the file offset of the descriptor, and has no data.

use std::{os::fd::OwnedFd, path::Path, time::Duration};

use pr_sim::{InitiatorPort, Mark, Medium};
use qemu_pr_protocol::Reply;
use rustix::fs::{SeekFrom, seek};
use scsi_persistent_reservations::{InAction, PersistentReserveIn, Status};

use super::{direct, transport::Transport};
use crate::error::Error;

/// The first block, which every disk has.
const READ_CAPACITY: [u8; 10] = [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const READ: [u8; 10] = [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0];
const WRITE: [u8; 10] = [0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0];

/// Longer blocks no disk has.
const MAX_BLOCK: usize = 65536;

/// READ(10) of the first block.
pub fn read(path: &Path, device: &OwnedFd, timeout: Duration) -> Result<Reply, Error> {
    // No reservation forbids this; a unit attention may come first.
    let capacity = direct::send(path, device, &READ_CAPACITY, 8, &[], timeout)?;
    if capacity.status != Status::GOOD {
        return Ok(capacity);
    }
    let length = match capacity.data[..] {
        [_, _, _, _, a, b, c, d] => usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX),
        _ => 0,
    };
    if !(1..=MAX_BLOCK).contains(&length) {
        return Err(Error::NoBlock { device: path.to_path_buf(), length });
    }
    let reply = direct::send(path, device, &READ, length, &[], timeout)?;
    if reply.status == Status::GOOD && reply.data.len() != length {
        return Err(Error::NoBlock { device: path.to_path_buf(), length: reply.data.len() });
    }
    Ok(reply)
}

/// WRITE(10) of the first block, with what it contains.
pub fn write(path: &Path, device: &OwnedFd, block: &[u8], timeout: Duration) -> Result<Reply, Error> {
    direct::send(path, device, &WRITE, 0, block, timeout)
}

/// Either, to a simulated disk.
pub fn simulated(
    path: &Path,
    device: &OwnedFd,
    transport: &mut Transport<'_>,
    initiator: Option<InitiatorPort>,
    medium: Medium,
) -> Result<Reply, Error> {
    let failed = |error: rustix::io::Errno| Error::NotNamed { device: path.to_path_buf(), error: error.into() };
    let at = |mark: Mark| SeekFrom::Start(mark.to_number().unwrap_or(0));
    seek(device, at(Mark { initiator, medium: Some(medium) })).map_err(failed)?;
    // Which command it is does not matter; this one changes nothing, whoever gets it.
    let reply = transport.execute(device, &PersistentReserveIn::new(InAction::ReadKeys, 8).cdb(), &[]);
    seek(device, at(Mark { initiator, medium: None })).map_err(failed)?;
    reply
}
