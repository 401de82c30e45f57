//! The command line.

use std::{ffi::OsString, io::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use scsi_pr::{ReservationKey, ReservationType};

use crate::{exit, values};

/// Ask about, and change, the persistent reservations of a disk through qemu-pr-helper
///
/// Every command goes to the helper's socket, as those of QEMU's guests do, and from
/// there to the disk. For the disk the initiator is this host: what is registered here
/// is registered for each guest that reaches the disk by the same path.
///
/// KEY is a decimal number, or a hexadecimal one with 0x in front.
#[derive(Debug, Parser)]
#[command(name = "qemu-pr-ctl", version, verbatim_doc_comment, after_long_help = exit::table())]
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

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Is there a helper? Connect and negotiate, nothing else
    Ping,
    /// Which keys are registered (READ KEYS)
    Keys(Device),
    /// Who holds which reservation (READ RESERVATION)
    Reservation(Device),
    /// What the disk supports (REPORT CAPABILITIES)
    Capabilities(Device),
    /// Every registration with its initiator, and who holds the reservation (READ FULL STATUS)
    Status(Device),
    /// Changes something.
    #[command(flatten)]
    Change(Change),
}

/// One command that changes something.
#[derive(Debug, Subcommand)]
pub enum Change {
    /// Register this host, or change its key (REGISTER)
    Register(Register),
    /// Register this host, whatever its key is now (REGISTER AND IGNORE EXISTING KEY)
    RegisterIgnore(RegisterIgnore),
    /// Remove the registration of this host (REGISTER with no new key)
    Unregister(Unregister),
    /// Reserve the disk (RESERVE)
    Reserve(Reserve),
    /// Give up the reservation (RELEASE)
    Release(Reserve),
    /// Remove all registrations and the reservation (CLEAR)
    Clear(Clear),
    /// Remove another's registrations and, if it held the reservation, take that over (PREEMPT)
    Preempt(Preempt),
    /// The same, and abort its commands (PREEMPT AND ABORT)
    PreemptAbort(Preempt),
}

/// The disk.
#[derive(Debug, Args)]
pub struct Device {
    /// The disk, for example /dev/sdb or /dev/disk/by-id/...
    #[arg(value_name = "DEVICE")]
    pub path: PathBuf,
}

/// Who this host is, for the disk.
#[derive(Debug, Args)]
pub struct OwnKey {
    /// The key that this host is registered with
    #[arg(long, value_name = "KEY", value_parser = values::key)]
    pub key: ReservationKey,
}

/// How a registration is to be.
#[derive(Clone, Copy, Debug, Args)]
pub struct Manner {
    /// Let the registrations and the reservation persist through power loss
    #[arg(long)]
    pub aptpl: bool,

    /// On every target port of the disk, not only that of this path
    #[arg(long)]
    pub all_target_ports: bool,
}

#[derive(Debug, Args)]
pub struct Register {
    #[command(flatten)]
    pub device: Device,

    /// The key that this host is registered with; 0 if it is not
    #[arg(long, value_name = "KEY", default_value = "0", value_parser = values::key)]
    pub key: ReservationKey,

    /// The key to register
    #[arg(long, value_name = "KEY", value_parser = values::new_key)]
    pub new_key: ReservationKey,

    #[command(flatten)]
    pub manner: Manner,
}

#[derive(Debug, Args)]
pub struct RegisterIgnore {
    #[command(flatten)]
    pub device: Device,

    /// The key to register
    #[arg(long, value_name = "KEY", value_parser = values::new_key)]
    pub new_key: ReservationKey,

    #[command(flatten)]
    pub manner: Manner,
}

#[derive(Debug, Args)]
pub struct Unregister {
    #[command(flatten)]
    pub device: Device,

    #[command(flatten)]
    pub own: OwnKey,

    #[command(flatten)]
    pub manner: Manner,
}

#[derive(Debug, Args)]
pub struct Clear {
    #[command(flatten)]
    pub device: Device,

    #[command(flatten)]
    pub own: OwnKey,
}

#[derive(Debug, Args)]
pub struct Reserve {
    #[command(flatten)]
    pub device: Device,

    #[command(flatten)]
    pub own: OwnKey,

    #[command(flatten)]
    pub kind: Type,
}

#[derive(Debug, Args)]
pub struct Preempt {
    #[command(flatten)]
    pub device: Device,

    #[command(flatten)]
    pub own: OwnKey,

    /// The key to remove; 0 is everyone else's if all registrants hold the reservation
    #[arg(long, value_name = "KEY", value_parser = values::key)]
    pub victim: ReservationKey,

    #[command(flatten)]
    pub kind: Type,
}

#[derive(Debug, Args)]
pub struct Type {
    /// The type of the reservation, by name or number:
    /// write-exclusive (1), exclusive-access (3),
    /// write-exclusive-registrants-only (5), exclusive-access-registrants-only (6),
    /// write-exclusive-all-registrants (7), exclusive-access-all-registrants (8)
    #[arg(long = "type", value_name = "TYPE", verbatim_doc_comment, value_parser = values::reservation_type)]
    pub kind: ReservationType,
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
