//! The command line: a file for each subcommand, with its options and what it does.

mod all;
mod bench;
mod capabilities;
mod change;
mod clear;
mod compare;
mod confirm;
mod control;
mod doctor;
mod global;
mod initiator_port;
mod keys;
mod log;
mod move_to;
mod ping;
mod preempt;
mod preempt_abort;
mod read;
mod register;
mod register_ignore;
mod release;
mod reload;
mod replace_lost;
mod reservation;
mod reserve;
mod simulate;
mod state;
mod status;
mod trace;
mod unregister;
mod validate;
mod values;
mod watch;

use std::{ffi::OsString, io::Write as _, process::ExitCode};

use clap::{
    CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

use self::global::{Global, Run};
use crate::error::{Error, exit};

/// Show and change the persistent reservations of a disk through qemu-pr-helper
///
/// Commands are sent to the helper's socket as QEMU does, and the helper sends
/// them to the disk. The initiator is this host: a registration made here also
/// applies to every guest that uses the same path to the disk.
///
/// KEY is a decimal number, or a hexadecimal number with the prefix 0x.
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
    #[command(flatten)]
    global: Global,

    #[command(subcommand)]
    command: Command,
}

/// The subcommands, in the order of the help.
#[derive(Debug, Subcommand)]
enum Command {
    Ping(ping::Ping),
    Doctor(doctor::Doctor),
    All(all::All),
    Keys(keys::Keys),
    Reservation(reservation::Reservation),
    Capabilities(capabilities::Capabilities),
    Status(status::Status),
    Compare(compare::Compare),
    Watch(watch::Watch),
    Bench(bench::Bench),
    Validate(validate::Validate),
    Simulate(simulate::Simulate),
    State(state::State),
    Log(log::Log),
    #[command(subcommand)]
    Trace(trace::Trace),
    Reload(reload::Reload),
    Register(register::Register),
    RegisterIgnore(register_ignore::RegisterIgnore),
    Unregister(unregister::Unregister),
    Reserve(reserve::Reserve),
    Release(release::Release),
    Clear(clear::Clear),
    Preempt(preempt::Preempt),
    PreemptAbort(preempt_abort::PreemptAbort),
    Move(move_to::Move),
    ReplaceLost(replace_lost::ReplaceLost),
}

impl Command {
    fn get(&self) -> &dyn Run {
        match self {
            Self::Ping(command) => command,
            Self::Doctor(command) => command,
            Self::All(command) => command,
            Self::Keys(command) => command,
            Self::Reservation(command) => command,
            Self::Capabilities(command) => command,
            Self::Status(command) => command,
            Self::Compare(command) => command,
            Self::Watch(command) => command,
            Self::Bench(command) => command,
            Self::Validate(command) => command,
            Self::Simulate(command) => command,
            Self::State(command) => command,
            Self::Log(command) => command,
            Self::Trace(command) => command,
            Self::Reload(command) => command,
            Self::Register(command) => command,
            Self::RegisterIgnore(command) => command,
            Self::Unregister(command) => command,
            Self::Reserve(command) => command,
            Self::Release(command) => command,
            Self::Clear(command) => command,
            Self::Preempt(command) => command,
            Self::PreemptAbort(command) => command,
            Self::Move(command) => command,
            Self::ReplaceLost(command) => command,
        }
    }
}

impl Options {
    /// Carries out the subcommand and prints the result; the exit status.
    pub fn run(&self) -> Result<u8, Error> {
        self.command.get().run(&self.global)
    }

    /// Whether to print JSON.
    pub const fn json(&self) -> bool {
        self.global.json
    }

    /// Whether `--json` prints a value a line.
    pub fn prints_lines(&self) -> bool {
        self.command.get().prints_lines()
    }
}

/// Reads the command line. `Err` is how the program ends right away: help, version, or an error.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Options, ExitCode> {
    let matches = Options::command().version(pr_control::VERSION).try_get_matches_from(arguments);
    matches.and_then(|matches| Options::from_arg_matches(&matches)).map_err(|mut error| {
        tell_of_exporter(&mut error);
        // Help that cannot be written is no error: the reader has closed the pipe.
        let _ = if error.use_stderr() {
            write!(std::io::stderr(), "{}", error.render())
        } else {
            write!(std::io::stdout(), "{}", error.render())
        };
        ExitCode::from(if error.use_stderr() { exit::COMMAND_LINE } else { exit::GOOD })
    })
}

/// The exporter was a subcommand before it was a program.
fn tell_of_exporter(error: &mut clap::Error) {
    let is_meant =
        matches!(error.get(ContextKind::InvalidSubcommand), Some(ContextValue::String(name)) if name == "exporter");
    if error.kind() == ErrorKind::InvalidSubcommand && is_meant {
        let tip = "metrics are served by the program qemu-pr-exporter".into();
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
}

#[cfg(test)]
mod tests;
