//! `SG_IO`, the way around any helper: what the device itself answers to a command.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use pr_lab::{Way, send_command};

/// Longer than anything that the beds do takes, short enough for a hang to show.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Room behind the data: LIO overruns the buffer of a READ FULL STATUS whose allocation length ends inside a descriptor,
/// and the kernel lets it write into this process's own pages.
const SLACK: usize = 4096;

/// Which way the data goes.
pub enum Transfer<'a> {
    /// From the device, so many bytes at most.
    In(usize),
    /// To the device.
    Out(&'a [u8]),
}

/// What came back: the status byte, the sense data and the data that the device sent.
pub struct Outcome {
    pub status: u8,
    pub sense: Vec<u8>,
    pub data: Vec<u8>,
}

/// Sends one command and waits for its end.
///
/// # Errors
/// The command did not get as far as a SCSI status.
pub fn sg_io(device: BorrowedFd<'_>, cdb: &[u8], transfer: &Transfer<'_>) -> io::Result<Outcome> {
    let (way, mut data) = match transfer {
        Transfer::In(length) => (Way::In(*length), vec![0; length + SLACK]),
        Transfer::Out(bytes) => (Way::Out(bytes.len()), bytes.to_vec()),
    };
    let mut sense = vec![0; 96];
    let sent = send_command(device, cdb, way, &mut data, &mut sense, TIMEOUT)?;
    if sent.host_status != 0 {
        return Err(io::Error::other(format!("the host adapter reports {:#04x}", sent.host_status)));
    }
    let received = matches!(way, Way::In(_)) && sent.status == 0;
    data.truncate(if received { sent.transferred } else { 0 });
    sense.truncate(usize::from(sent.sense));
    Ok(Outcome { status: sent.status, sense, data })
}
