//! The commands that try something out.

use std::{path::PathBuf, time::Duration};

use clap::{Args, builder::PossibleValuesParser};

use super::Device;
use crate::validate;

/// What `ping` is to do.
#[derive(Debug, Args)]
pub struct Ping {
    /// A disk to ask; without one the helper's own time is measured
    #[arg(value_name = "DEVICE")]
    pub device: Option<PathBuf>,

    /// How many requests to time
    #[arg(short = 'n', long, value_name = "N", default_value = "10", value_parser = requests)]
    pub requests: usize,
}

/// What `bench` is to measure.
#[derive(Debug, Args)]
pub struct Bench {
    /// A disk to ask; without one the helper alone is measured
    #[arg(value_name = "DEVICE")]
    pub device: Option<PathBuf>,

    /// The numbers of connections to measure at
    #[arg(
        short = 'c',
        long,
        value_name = "N,N,...",
        default_value = "1,4,16,64",
        value_delimiter = ',',
        value_parser = connections
    )]
    pub connections: Vec<usize>,

    /// How long each measurement takes
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = time)]
    pub seconds: Duration,
}

/// What `watch` is to look at.
#[derive(Debug, Args)]
pub struct Watch {
    #[command(flatten)]
    pub device: Device,

    /// How long to wait between two looks
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = time)]
    pub interval: Duration,
}

fn requests(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number <= 1_000_000);
    number.ok_or_else(|| "it is a number from 0 to 1000000".to_owned())
}

fn connections(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=10_000).contains(number));
    number.ok_or_else(|| "it is a number of connections from 1 to 10000".to_owned())
}

pub fn time(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.01..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "it is a time in seconds from 0.01 to 86400".to_owned())
}

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
  qemu-11-migrate-key          QEMU migrating a guest that is registered only
  lvm-persist                  vgchange --persist, all types

With one device half of the steps are played. The other half needs a second
initiator: the disk by another host adapter or iSCSI session. On a simulated
disk the same DEVICE will do.

What the disk keeps for a second initiator that a path checker may have taken
(unit attentions) is a remark, not a failure. A disk may carry out or refuse
the PREEMPT without a type that QEMU sends for a guest that is registered only;
that the guest has no registration after it is a remark.
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
