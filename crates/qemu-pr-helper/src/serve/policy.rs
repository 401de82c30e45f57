//! May this request be carried out? A refusal is a SCSI answer, not a hang-up.

use std::os::fd::BorrowedFd;

use rustix::fs::{OFlags, fcntl_getfl};
use scsi_pr::{Cdb, Command, Completion, Sense, SenseCode};

/// The answer to a request that may not be carried out.
pub fn refusal(cdb: &Cdb, device: BorrowedFd<'_>) -> Option<Completion<'static>> {
    // Who may only read the disk must not change who may write it. The kernel does not look at this for us.
    let refused = matches!(cdb.command(), Command::Out(_)) && is_read_only(device);
    refused.then(|| Completion::check_condition(Sense::fixed(SenseCode::INVALID_OPERATION_CODE)))
}

/// Whether the client opened the descriptor without the right to write. A descriptor that does not say is read-only.
fn is_read_only(device: BorrowedFd<'_>) -> bool {
    fcntl_getfl(device).map_or(true, |flags| flags & OFlags::RWMODE == OFlags::RDONLY)
}
