//! The command line.

mod change;
mod device;
mod trial;

use std::{ffi::OsString, io::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use self::{
    change::{Change, Manner, Move, Preempt, Register, Reserve},
    device::Device,
    trial::{Bench, Ping, Validate, Watch},
};
use crate::{
    exit,
    simulate::misbehave::{self, Misbehave},
};

/// Ask about, and change, the persistent reservations of a disk through
/// qemu-pr-helper
///
/// Every command goes to the helper's socket, as those of QEMU's guests do, and
/// from there to the disk. For the disk the initiator is this host: what is
/// registered here is registered for each guest that reaches the disk by the
/// same path.
///
/// KEY is a decimal number, or a hexadecimal one with 0x in front.
#[derive(Debug, Parser)]
#[command(
    name = "qemu-pr-ctl",
    version,
    verbatim_doc_comment,
    after_long_help = exit::table(),
    next_line_help = true,
    disable_help_subcommand = false
)]
pub struct Options {
    /// The socket of the helper
    #[arg(
        short = 'k',
        long,
        value_name = "PATH",
        global = true,
        display_order = 100,
        default_value = "/var/run/qemu-pr-helper.sock"
    )]
    pub socket: PathBuf,

    /// How long to wait for the helper
    // The default is longer than the helper lets any command take by its own defaults.
    #[arg(
        long,
        value_name = "SECONDS",
        global = true,
        display_order = 100,
        default_value = "90",
        value_parser = seconds
    )]
    pub timeout: Duration,

    /// Print JSON, for programs
    #[arg(long, global = true, display_order = 100)]
    pub json: bool,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Is there a helper, how fast does it answer, and what does it do?
    Ping(Ping),
    /// Who is registered, who holds what, and who may do what now
    All(Device),
    /// Which keys are registered (READ KEYS)
    Keys(Device),
    /// Who holds which reservation (READ RESERVATION)
    Reservation(Device),
    /// What the disk supports (REPORT CAPABILITIES)
    Capabilities(Device),
    /// Each registration, its initiator, and the holder (READ FULL STATUS)
    Status(Device),
    /// Ask with and without the helper, and show both answers
    Compare {
        /// The disk, for example /dev/sdb or /dev/disk/by-id/...
        #[arg(value_name = "DEVICE")]
        device: PathBuf,
    },
    /// Say what changes on a disk as it changes, until interrupted
    Watch(Watch),
    /// Requests per second and latency, at several numbers of connections
    Bench(Bench),
    /// Try what cluster software does to a disk, and clean up again
    Validate(Validate),
    /// Simulate disks at --socket, until interrupted
    #[command(after_long_help = misbehave::table())]
    Simulate {
        /// The files that are disks [default: each descriptor is one]
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,

        /// Get one thing wrong (--help lists the ways)
        #[arg(long, value_name = "WAY", value_enum, hide_possible_values = true)]
        misbehave: Option<Misbehave>,
    },
    /// Changes something.
    #[command(flatten)]
    Change(Change),
}

/// Reads the command line. `Err` is how the program ends right away: help, version, or an error.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Options, ExitCode> {
    let matches = Options::command().try_get_matches_from(arguments);
    matches.and_then(|matches| Options::from_arg_matches(&matches)).map_err(|error| {
        // Help that cannot be written is nothing to complain of: whoever asked for it has left.
        let _ = if error.use_stderr() {
            write!(std::io::stderr(), "{}", error.render())
        } else {
            write!(std::io::stdout(), "{}", error.render())
        };
        ExitCode::from(if error.use_stderr() { exit::COMMAND_LINE } else { exit::GOOD })
    })
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("it is a whole number of seconds from 1 to 86400".to_owned()),
    }
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
