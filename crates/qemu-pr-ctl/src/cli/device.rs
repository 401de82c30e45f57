//! Which disk.

use std::path::PathBuf;

use clap::Args;

/// The disk.
#[derive(Debug, Args)]
pub struct Device {
    /// The disk, for example /dev/sdb or /dev/disk/by-id/...
    #[arg(value_name = "DEVICE")]
    pub path: PathBuf,

    // No documentation comment: lints want backticks in those, and people do not want them in the help.
    #[arg(long, display_order = 90, help = "Send it with SG_IO from here, without a helper")]
    pub direct: bool,
}
