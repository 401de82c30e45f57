//! A device, as the command line names it.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use clap::Args;
use pr_sim::{InitiatorPort, Mark};
use rustix::{
    fs::{FileType, Mode, OFlags, SeekFrom, fstat, seek},
    io::Errno,
};

use crate::{error::Error, request::Access};

/// The disk.
#[derive(Debug, Args)]
pub struct Device {
    /// Disk, for example /dev/sdb or /dev/disk/by-id/...
    #[arg(value_name = "DEVICE")]
    pub path: PathBuf,

    // Not a documentation comment: there a lint asks for backticks, which the help would show.
    #[arg(long, display_order = 90, help = "Send commands with SG_IO from this process, without a helper")]
    pub direct: bool,
}

/// Opens a device, as an initiator with a name if there is one.
pub fn open(path: &Path, access: Access, initiator: Option<InitiatorPort>) -> Result<OwnedFd, Error> {
    let mode = match access {
        Access::Read => OFlags::RDONLY,
        Access::Write => OFlags::RDWR,
    };
    // A disk is opened without waiting for its medium: the device itself will say that it is not ready.
    let flags = mode | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let device = rustix::fs::open(path, flags, Mode::empty());
    let device = device.map_err(|error| Error::opening(path, access, error.into()))?;
    if let Some(number) = (Mark { initiator, medium: None }).to_number() {
        mark(path, &device, number)?;
    }
    Ok(device)
}

/// Sets the file offset, which a helper that simulates disks takes for the initiator's name. Each run opens the file, and
/// so has an offset of its own; what is in the file does not matter.
fn mark(path: &Path, device: &OwnedFd, number: u64) -> Result<(), Error> {
    let failed = |error: Errno| Error::NotNamed { device: path.to_path_buf(), error: error.into() };
    if !is_file(device).map_err(failed)? {
        return Err(Error::NotSimulated(path.to_path_buf()));
    }
    seek(device, SeekFrom::Start(number)).map_err(failed)?;
    Ok(())
}

/// Whether it is an ordinary file, which a helper may simulate a disk with.
pub fn is_file(device: &OwnedFd) -> Result<bool, Errno> {
    Ok(FileType::from_raw_mode(fstat(device)?.st_mode) == FileType::RegularFile)
}
