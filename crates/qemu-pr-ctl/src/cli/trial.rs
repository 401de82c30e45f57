//! The commands that try something out.

use std::path::PathBuf;

use clap::{Args, builder::PossibleValuesParser};

use super::Device;
use crate::validate;

/// What `validate` is to play.
#[derive(Debug, Args)]
#[command(after_long_help = SEQUENCES)]
pub struct Validate {
    #[command(flatten)]
    pub device: Device,

    /// The same disk by the path of another initiator
    #[arg(long, value_name = "DEVICE")]
    pub second: Option<PathBuf>,

    /// Even if somebody is registered: remove all registrations first
    #[arg(long)]
    pub force: bool,

    /// Take remarks for failures
    #[arg(long)]
    pub strict: bool,

    /// Play this sequence alone (see --help); may be repeated
    #[arg(
        long,
        value_name = "SEQUENCE",
        hide_possible_values = true,
        value_parser = PossibleValuesParser::new(validate::names())
    )]
    pub only: Vec<String>,
}

const SEQUENCES: &str = "\
Sequences:
  basics                       what all the others rely on
  windows-failover-clustering  Windows' validation of shared storage
  fence_scsi                   the fence agent for disks
  fence_mpath                  the fence agent for multipath maps
  ocf-sg_persist               the resource agent of Pacemaker
  qemu-11-migrate-pr           QEMU migrating a guest with its reservation
  lvm-persist                  vgchange --persist, all types

With one device half of the steps are played. The other half needs a second
initiator: the disk by another host adapter or iSCSI session. On a simulated
disk the same DEVICE will do.

What the disk keeps for a second initiator that a path checker may have taken
(unit attentions) is a remark, not a failure.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_sequence() {
        for name in validate::names() {
            assert!(SEQUENCES.contains(&format!("  {name} ")), "{name}");
        }
    }
}
