//! May this request be carried out? A refusal is a SCSI answer, not a hang-up.

use std::os::fd::BorrowedFd;

use rustix::fs::{OFlags, fcntl_getfl};
use scsi_pr::{Cdb, Command, Completion, Sense, SenseCode, Status};

/// Why a request is answered without its device being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// The system has no room for another thread, and the last one must not get stuck.
    NoThread,
    /// A PERSISTENT RESERVE OUT on a descriptor that is open for reading only.
    ReadOnly,
}

impl Refusal {
    /// Each in one word, in the order of the variants.
    pub const NAMES: [&str; 2] = ["no-thread", "read-only-descriptor"];

    /// Why, in words.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NoThread => "no thread is free",
            Self::ReadOnly => "the descriptor is open for reading only",
        }
    }

    /// The answer.
    pub fn answer(self) -> Completion<'static> {
        match self {
            Self::NoThread => Completion::status(Status::BUSY),
            Self::ReadOnly => Completion::check_condition(Sense::fixed(SenseCode::INVALID_OPERATION_CODE)),
        }
    }
}

/// Why a request may not be carried out, if it may not.
pub fn refusal(cdb: &Cdb, device: BorrowedFd<'_>) -> Option<Refusal> {
    // Who may only read the disk must not change who may write it. The kernel does not look at this for us.
    let refused = matches!(cdb.command(), Command::Out(_)) && is_read_only(device);
    refused.then_some(Refusal::ReadOnly)
}

/// Whether the client opened the descriptor without the right to write. A descriptor that does not say is read-only.
fn is_read_only(device: BorrowedFd<'_>) -> bool {
    fcntl_getfl(device).map_or(true, |flags| flags & OFlags::RWMODE == OFlags::RDONLY)
}
