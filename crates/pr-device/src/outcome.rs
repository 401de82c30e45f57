//! From what the kernel says of a command to a SCSI answer.
//!
//! One rule stands above the tables: what is not known to have succeeded is never GOOD. A PERSISTENT RESERVE OUT that
//! got lost and is reported as done lets two nodes of a cluster write to one disk.

use std::io;

use pr_sys::sg_io::Outcome;
use scsi_persistent_reservations::{SENSE_LENGTH, Sense, SenseCode, Status};

/// A failure that did not come from the device: a status with or without sense data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A status that carries no sense data.
    Status(Status),
    /// CHECK CONDITION.
    Sense(SenseCode),
}

impl Failure {
    /// Status and sense data of the answer.
    pub const fn parts(self) -> (Status, Sense) {
        match self {
            Self::Status(status) => (status, Sense::NONE),
            Self::Sense(code) => (Status::CHECK_CONDITION, Sense::fixed(code)),
        }
    }
}

/// Status and sense of a command that the kernel took.
pub fn answer(outcome: Outcome, sense: &[u8; SENSE_LENGTH]) -> (Status, Sense) {
    let status = Status(outcome.status);
    // Drivers report a conflict together with DID_ERROR; the conflict is the truth, whatever else went wrong. With
    // DID_ERROR alone any status of the device's own says more than the host byte.
    let told =
        status == Status::RESERVATION_CONFLICT || outcome.host_status & 0xff == DID_ERROR && status != Status::GOOD;
    if !told && let Some(failure) = host_failure(outcome.host_status).or(driver_failure(outcome.driver_status)) {
        return failure.parts();
    }
    let written = usize::from(outcome.sense_written).min(SENSE_LENGTH);
    (status, Sense::from_device(&sense[..written]))
}

/// Whether the device itself answered. An adapter or a driver that reports anything speaks of the way there.
pub fn reached(outcome: Outcome) -> bool {
    Status(outcome.status) == Status::RESERVATION_CONFLICT
        || (outcome.host_status == 0 && driver_failure(outcome.driver_status).is_none())
}

const DID_ERROR: u16 = 0x07;

/// Host bytes (`<scsi/scsi_status.h>`). `None` is `DID_OK` alone.
#[expect(clippy::match_same_arms, reason = "a table: one row for each meaning")]
fn host_failure(host_status: u16) -> Option<Failure> {
    // The code has eight bits. Bits above it are unheard of, but they are not success.
    Some(match host_status & 0xff {
        0x00 if host_status == 0 => return None,
        0x01 => Failure::Sense(SenseCode::NO_RESPONSE_TO_SELECTION), // DID_NO_CONNECT
        0x02 => Failure::Status(Status::BUSY),                       // DID_BUS_BUSY
        0x03 => Failure::Sense(SenseCode::COMMAND_TIMEOUT),          // DID_TIME_OUT
        0x04 => Failure::Sense(SenseCode::COMMUNICATION_FAILURE),    // DID_BAD_TARGET
        0x05 => Failure::Sense(SenseCode::COMMANDS_CLEARED),         // DID_ABORT
        0x06 => Failure::Sense(SenseCode::PARITY_ERROR),             // DID_PARITY
        0x08 => Failure::Sense(SenseCode::RESET_OCCURRED),           // DID_RESET
        // DID_SOFT_ERROR, DID_IMM_RETRY, DID_REQUEUE: nothing happened, the guest is to try again.
        0x0b..=0x0d => Failure::Status(Status::BUSY),
        // DID_TRANSPORT_DISRUPTED, DID_TRANSPORT_FAILFAST, DID_TRANSPORT_MARGINAL
        0x0e | 0x0f | 0x14 => Failure::Sense(SenseCode::NEXUS_LOSS),
        // Target, nexus, allocation and medium failure: kernels before 6.0 let these out.
        0x10 => Failure::Sense(SenseCode::INTERNAL_TARGET_FAILURE),
        0x11 => Failure::Status(Status::RESERVATION_CONFLICT),
        0x12 => Failure::Sense(SenseCode::SPACE_ALLOCATION_FAILED),
        0x13 => Failure::Sense(SenseCode::UNRECOVERED_READ_ERROR),
        // DID_ERROR, DID_BAD_INTR, DID_PASSTHROUGH, and whatever comes next.
        _ => Failure::Sense(SenseCode::COMMUNICATION_FAILURE),
    })
}

/// Driver bytes: only "there is sense data" is no failure. Kernels since 5.12 use no other.
fn driver_failure(driver_status: u16) -> Option<Failure> {
    const DRIVER_SENSE: u16 = 0x08;
    (driver_status & !DRIVER_SENSE != 0).then_some(Failure::Status(Status::BUSY))
}

/// An `SG_IO` that failed before it became a SCSI command.
pub fn errno_failure(error: &io::Error) -> Failure {
    match error.raw_os_error() {
        Some(libc::EDOM) => Failure::Status(Status::TASK_SET_FULL),
        Some(libc::EBADE) => Failure::Status(Status::RESERVATION_CONFLICT),
        Some(libc::EINVAL) => Failure::Sense(SenseCode::INVALID_FIELD_IN_CDB),
        Some(libc::ENOMEM | libc::EREMOTEIO) => Failure::Sense(SenseCode::INTERNAL_TARGET_FAILURE),
        Some(libc::ENOSPC) => Failure::Sense(SenseCode::SPACE_ALLOCATION_FAILED),
        Some(libc::ENODATA) => Failure::Sense(SenseCode::UNRECOVERED_READ_ERROR),
        Some(libc::ENOMEDIUM) => Failure::Sense(SenseCode::MEDIUM_NOT_PRESENT),
        _ => Failure::Sense(SenseCode::IO_PROCESS_TERMINATED),
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
#[path = "outcome_tests.rs"]
mod tests;
