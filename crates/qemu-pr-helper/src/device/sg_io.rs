use std::{io, os::fd::BorrowedFd, thread, time::Duration};

use rustix::fs::{FileType, fstat};
use scsi_pr::{Cdb, Command, Completion, OutAction, SENSE_LENGTH, Status, Target};

use super::{Device, outcome};
use crate::sys::sg_io::{self, Outcome, Transfer};

/// Carries out commands with the `SG_IO` ioctl on the descriptor itself.
pub struct SgIo {
    timeout: Duration,
}

/// The waits between tries while a device-mapper device is suspended: about a second in all.
const SUSPENDED_WAITS: [u64; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

impl SgIo {
    /// An executor whose commands may take `timeout`.
    pub const fn new(timeout: Duration) -> Self {
        Self { timeout }
    }

    /// PREEMPT AND ABORT waits for the other side's commands to end.
    fn timeout_for(&self, command: Command) -> Duration {
        match command {
            Command::Out(out) if out.action() == Some(OutAction::PreemptAndAbort) => self.timeout * 2,
            _ => self.timeout,
        }
    }

    fn send(
        device: BorrowedFd<'_>,
        cdb: &Cdb,
        parameters: &[u8],
        buffer: &mut [u8],
        sense: &mut [u8; SENSE_LENGTH],
        timeout: Duration,
    ) -> io::Result<Outcome> {
        let transfer = match cdb.command() {
            Command::In(_) if buffer.is_empty() => Transfer::None,
            Command::In(_) => Transfer::FromDevice(buffer),
            Command::Out(_) if parameters.is_empty() => Transfer::None,
            Command::Out(_) => Transfer::ToDevice(parameters),
        };
        sg_io::execute(device, cdb.command_bytes(), transfer, sense, timeout)
    }
}

impl Target<Device<'_>> for SgIo {
    fn execute<'buffer>(
        &self,
        device: Device<'_>,
        cdb: &Cdb,
        parameters: &[u8],
        buffer: &'buffer mut [u8],
    ) -> Completion<'buffer> {
        let fd = device.descriptor;
        let command = cdb.command();
        let length = match command {
            Command::In(command) => usize::from(command.allocation_length).min(buffer.len()),
            Command::Out(_) => 0,
        };
        let buffer = &mut buffer[..length];
        let timeout = self.timeout_for(command);
        let mut sense = [0; SENSE_LENGTH];

        let mut result = Self::send(fd, cdb, parameters, buffer, &mut sense, timeout);
        for wait in SUSPENDED_WAITS {
            if !is_suspended(fd, &result) {
                break;
            }
            thread::sleep(Duration::from_millis(wait));
            result = Self::send(fd, cdb, parameters, buffer, &mut sense, timeout);
        }

        let (status, sense) = match &result {
            Ok(outcome) => outcome::answer(*outcome, &sense),
            Err(error) => outcome::errno_failure(error).parts(),
        };
        let resid = result.map_or(0, |outcome| usize::try_from(outcome.resid).unwrap_or(0));
        let there = if status == Status::GOOD { length.saturating_sub(resid) } else { 0 };
        Completion { status, sense, data: &buffer[..there] }
    }
}

/// `EAGAIN` is device-mapper's word for "suspended, come back soon": the command has not been sent. No other block
/// device uses it, and nothing but a block device can be one of device-mapper's.
fn is_suspended(device: BorrowedFd<'_>, result: &io::Result<Outcome>) -> bool {
    matches!(result, Err(error) if error.raw_os_error() == Some(libc::EAGAIN))
        && fstat(device).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice)
}
