//! The command line.

mod change;
mod device;
mod helper;
mod trial;

use std::{ffi::OsString, io::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use self::{
    change::{Change, Manner, Move, Preempt, Register, Reserve},
    device::Device,
    helper::{Exporter, Helper, Reload, State, Trace},
    trial::{Bench, Ping, Validate, Watch},
};
use crate::{
    error::exit,
    simulate::misbehave::{self, Misbehave},
};

/// Where a helper listens for operators if nobody has said otherwise.
const DEFAULT_CONTROL: &str = "/run/qemu-pr-helper/control";

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

    #[arg(
        long,
        value_name = "SECONDS",
        global = true,
        display_order = 100,
        help = "How long to wait for the helper [default: 90; at its control socket 5]",
        value_parser = seconds
    )]
    pub timeout: Option<Duration>,

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
    /// What the helper is doing, and for whom (see --control)
    State(State),
    /// Follow the helper's audit trail, until interrupted
    Log(Helper),
    /// Change what the helper traces, or list it
    #[command(subcommand)]
    Trace(Trace),
    /// Give the helper new settings: who may do what (qemu-pr-helper.toml(5))
    Reload(Reload),
    /// Serve the helper's figures to Prometheus and its like
    Exporter(Exporter),
    /// Changes something.
    #[command(flatten)]
    Change(Change),
}

impl Options {
    /// How long to wait for a command to be answered. The default is longer than the helper lets any take by its own
    /// defaults.
    pub fn patience(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_secs(90))
    }

    /// How long to wait at a control socket. No disk has a say in what is asked there.
    pub fn control_patience(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_secs(5))
    }

    /// Whether `--json` prints a value a line.
    pub const fn prints_lines(&self) -> bool {
        matches!(self.command, Command::Watch(_) | Command::Log(_) | Command::State(State { watch: Some(_), .. }))
    }
}

/// Reads the command line. `Err` is how the program ends right away: help, version, or an error.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Options, ExitCode> {
    let matches = Options::command().version(pr_control::VERSION).try_get_matches_from(arguments);
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
