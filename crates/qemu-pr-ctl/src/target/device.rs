//! A device, as the command line names it.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use clap::Args;
use rustix::fs::{Mode, OFlags};

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

/// Opens a device.
pub fn open(path: &Path, access: Access) -> Result<OwnedFd, Error> {
    let mode = match access {
        Access::Read => OFlags::RDONLY,
        Access::Write => OFlags::RDWR,
    };
    // A disk is opened without waiting for its medium: the device itself will say that it is not ready.
    let flags = mode | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|error| Error::opening(path, access, error.into()))
}
