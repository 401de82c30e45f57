//! Commands without a helper: `SG_IO` on the device itself.
//!
//! A helper has to return a SCSI status for every failure. Here a command that did not reach the device is an error of its
//! own.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    time::Duration,
};

use pr_sys::sg_io::{self, Outcome, Transfer};
use qemu_pr_protocol::Reply;
use scsi_persistent_reservations::{Cdb, Command, SENSE_LENGTH, Sense, Status};

use crate::error::Error;

/// Sends one reservation command; whatever the device answers.
pub fn execute(path: &Path, device: &OwnedFd, cdb: &Cdb, parameters: &[u8], timeout: Duration) -> Result<Reply, Error> {
    let length = match cdb.command() {
        Command::In(command) => usize::from(command.allocation_length),
        Command::Out(_) => 0,
    };
    send(path, device, cdb.command_bytes(), length, parameters, timeout)
}

/// Sends any command, with room for so many bytes of data or with data; whatever the device answers.
pub fn send(
    path: &Path,
    device: &OwnedFd,
    command: &[u8],
    length: usize,
    parameters: &[u8],
    timeout: Duration,
) -> Result<Reply, Error> {
    let mut data = vec![0; length];
    let mut sense = [0; SENSE_LENGTH];
    let transfer = match (length, parameters) {
        (0, []) => Transfer::None,
        (0, parameters) => Transfer::ToDevice(parameters),
        _ => Transfer::FromDevice(&mut data),
    };
    let outcome = sg_io::execute(device.as_fd(), command, transfer, &mut sense, timeout)
        .map_err(|error| not_sent(path, &error))?;
    if let Some(reason) = lost(outcome) {
        return Err(Error::Lost { device: path.to_path_buf(), reason });
    }
    let status = Status(outcome.status);
    let transferred = data.len().saturating_sub(usize::try_from(outcome.resid).unwrap_or(0));
    data.truncate(if status == Status::GOOD { transferred } else { 0 });
    let sense = Sense::from_device(&sense[..usize::from(outcome.sense_written).min(SENSE_LENGTH)]);
    Ok(Reply { status, sense, data })
}

fn not_sent(path: &Path, error: &io::Error) -> Error {
    let device = path.to_path_buf();
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => Error::CommandDenied(device),
        Some(libc::ENOTTY | libc::EINVAL | libc::ENOSYS) => Error::NotScsi(device),
        _ => Error::Lost { device, reason: error.to_string() },
    }
}

/// Why it is not known whether the device answered.
fn lost(Outcome { status, host_status, driver_status, .. }: Outcome) -> Option<String> {
    // Drivers report a conflict together with a host status; the conflict is the truth.
    const DRIVER_SENSE: u16 = 8;
    if Status(status) == Status::RESERVATION_CONFLICT {
        return None;
    }
    if host_status != 0 {
        let name = HOST_STATUS.iter().find(|(code, _)| *code == host_status).map_or("unknown", |(_, name)| name);
        return Some(format!("host status {host_status:#04x}, {name}"));
    }
    (driver_status & !DRIVER_SENSE != 0).then(|| format!("driver status {driver_status:#04x}"))
}

/// `<scsi/scsi_status.h>`
const HOST_STATUS: [(u16, &str); 16] = [
    (0x01, "DID_NO_CONNECT"),
    (0x02, "DID_BUS_BUSY"),
    (0x03, "DID_TIME_OUT"),
    (0x04, "DID_BAD_TARGET"),
    (0x05, "DID_ABORT"),
    (0x06, "DID_PARITY"),
    (0x07, "DID_ERROR"),
    (0x08, "DID_RESET"),
    (0x09, "DID_BAD_INTR"),
    (0x0a, "DID_PASSTHROUGH"),
    (0x0b, "DID_SOFT_ERROR"),
    (0x0c, "DID_IMM_RETRY"),
    (0x0d, "DID_REQUEUE"),
    (0x0e, "DID_TRANSPORT_DISRUPTED"),
    (0x0f, "DID_TRANSPORT_FAILFAST"),
    (0x14, "DID_TRANSPORT_MARGINAL"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_to_have_arrived_is_lost() {
        let outcome = |status, host_status, driver_status| {
            lost(Outcome { status, host_status, driver_status, ..Default::default() })
        };
        assert_eq!(outcome(0, 0, 0), None);
        assert_eq!(outcome(2, 0, 8), None);
        assert_eq!(outcome(0x18, 7, 0), None, "a conflict is one whatever the adapter says");
        assert_eq!(outcome(0, 1, 0).as_deref(), Some("host status 0x01, DID_NO_CONNECT"));
        assert_eq!(outcome(0, 0x77, 0).as_deref(), Some("host status 0x77, unknown"));
        assert_eq!(outcome(0, 0, 6).as_deref(), Some("driver status 0x06"));
    }
}
