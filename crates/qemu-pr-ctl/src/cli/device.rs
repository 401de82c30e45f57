//! Which disk.

use std::path::PathBuf;

use clap::Args;

/// The disk.
#[derive(Debug, Args)]
pub struct Device {
    /// The disk, for example /dev/sdb or /dev/disk/by-id/...
    #[arg(value_name = "DEVICE")]
    pub path: PathBuf,

    /// Send it with `SG_IO` from here, without a helper
    #[arg(long, display_order = 90)]
    pub direct: bool,
}
