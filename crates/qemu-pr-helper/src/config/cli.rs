//! The command line, with the habits of `getopt_long` that scripts rely on: abbreviated long options, bundled and
//! glued short ones, the last of several wins, operands are ignored, options act in their order, errors exit with 1.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{
    Arg, ArgAction, CommandFactory, FromArgMatches, Parser,
    builder::{EnumValueParser, OsStringValueParser, TypedValueParser},
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};
use pr_sandbox::Sandbox;
use pr_sys::users::{Group, User};

use super::{settings::Defaults, values};
use crate::audit::Keys;
use crate::log::{
    format::LogFormat,
    trace::{self, TraceBackend, TraceOption},
};

/// Carries SCSI-3 persistent reservation commands from QEMU guests to the disk.
///
/// QEMU's scsi-block and scsi-generic devices connect to the socket, hand over the disk's file descriptor with each
/// command and get the disk's answer back (-object pr-manager-helper).
#[derive(Debug, Parser)]
#[command(
    name = "qemu-pr-helper",
    disable_help_flag = true,
    disable_version_flag = true,
    args_override_self = true,
    help_template = "{usage-heading} {usage}\n\n{about}\n\n{all-args}{after-help}",
    max_term_width = 100
)]
#[expect(clippy::struct_excessive_bools, reason = "a command line has flags")]
pub struct Options {
    /// Listen on this Unix socket, an absolute path [default: /var/run/qemu-pr-helper.sock]
    #[arg(short = 'k', long, value_name = "PATH", allow_hyphen_values = true, value_parser = OsStringValueParser::new().try_map(values::socket_path))]
    pub socket: Option<PathBuf>,

    /// Write the PID to this file; with -d the default is /var/run/qemu-pr-helper.pid
    #[arg(short = 'f', long, value_name = "PATH", allow_hyphen_values = true)]
    pub pidfile: Option<PathBuf>,

    /// Go to the background once everything is in place
    #[arg(short = 'd', long)]
    pub daemon: bool,

    /// Trace events: [enable=]PATTERN[,events=FILE][,file=FILE], or "help" for a list
    #[arg(short = 'T', long, value_name = "OPTIONS", allow_hyphen_values = true, action = ArgAction::Append, value_parser = OsStringValueParser::new().try_map(trace::option))]
    pub trace: Vec<TraceOption>,

    /// Where traces go: log (standard error or the FILE of -T) or ftrace (the kernel's trace buffer, and FILE if given)
    #[arg(long, value_name = "BACKEND", value_enum, default_value_t, hide_possible_values = true)]
    pub trace_backend: TraceBackend,

    /// Change to this user (name or number) after start
    #[arg(short = 'u', long, value_name = "USER", allow_hyphen_values = true, value_parser = OsStringValueParser::new().try_map(values::user))]
    pub user: Option<User>,

    /// Change to this group (name or number) after start
    #[arg(short = 'g', long, value_name = "GROUP", allow_hyphen_values = true, value_parser = OsStringValueParser::new().try_map(values::group))]
    pub group: Option<Group>,

    /// Log more: what each connection does
    #[arg(short = 'v', long)]
    pub verbose: bool,

    /// Do not log clients that break the protocol
    #[arg(short = 'q', long)]
    pub quiet: bool,

    /// How to write messages: text, prefix (text with journald's <N>), journal (its own protocol), json (an object a
    /// line) or auto (journal where standard error is the journal, else text)
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, hide_possible_values = true)]
    pub log_format: LogFormat,

    /// The socket's permissions, octal; by default the umask decides
    #[arg(long, value_name = "MODE", allow_hyphen_values = true, value_parser = values::mode)]
    pub socket_mode: Option<u32>,

    /// The socket's group (name or number)
    #[arg(long, value_name = "GROUP", allow_hyphen_values = true, value_parser = OsStringValueParser::new().try_map(values::group))]
    pub socket_group: Option<Group>,

    /// Serve this many clients at a time; more are rejected
    #[arg(long, value_name = "N", allow_hyphen_values = true, default_value = "1024", value_parser = values::connections)]
    pub max_connections: u32,

    /// Close the connection of a client that leaves a request half sent or an answer unread for this long
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true, default_value = "30", value_parser = values::seconds)]
    pub request_timeout: Duration,

    /// How long a command may take, PREEMPT AND ABORT twice as long
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true, default_value = "30", value_parser = values::seconds)]
    pub command_timeout: Duration,

    /// On shutdown, how long to wait for commands that are in progress
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true, default_value = "30", value_parser = values::seconds)]
    pub drain_timeout: Duration,

    /// Record who changed what on which disk: each PERSISTENT RESERVE OUT and each refusal
    #[arg(long, value_name = "WHETHER", value_enum, default_value = "on")]
    pub audit: Switch,

    /// How reservation keys appear in the audit log. The hash is salted at startup, so it changes with every restart
    #[arg(long, value_name = "HOW", value_enum, default_value = "show")]
    pub audit_keys: Keys,

    /// Serve qemu-pr-ctl at this Unix socket (state, counters, audit log, reload); %s in the last part of the path stands
    /// for -k's path, with hyphens for slashes
    #[arg(long, value_name = "PATH", allow_hyphen_values = true, value_parser = OsStringValueParser::new().try_map(values::control_path))]
    pub control: Option<PathBuf>,

    /// Allow members of this group (name or number) to query the control socket; by default root only
    #[arg(long, value_name = "GROUP", allow_hyphen_values = true, value_parser = OsStringValueParser::new().try_map(values::group))]
    pub control_group: Option<Group>,

    /// Read rules, and defaults of these options, from this file (see qemu-pr-helper.toml(5)) [default: /etc/qemu-pr-helper.toml if it exists]
    #[arg(long, value_name = "PATH", allow_hyphen_values = true)]
    pub config: Option<PathBuf>,

    /// Check the configuration file and exit; 0 means valid
    #[arg(long)]
    pub check_config: bool,

    /// Restrict the program to the system calls and files that it needs: off, log (only report to the kernel's log), seccomp (system calls alone, for a container that forbids Landlock) or enforce
    #[arg(long, value_name = "HOW", value_parser = EnumValueParser::<values::SandboxMode>::new().map(Sandbox::from), default_value = "enforce")]
    pub sandbox: Sandbox,

    /// Send dm-multipath commands to the broker that listens at this Unix socket (qemu-pr-broker.socket) instead of forking one
    #[arg(long, value_name = "PATH", allow_hyphen_values = true, value_parser = OsStringValueParser::new().try_map(values::socket_path))]
    pub broker: Option<PathBuf>,

    /// Run as the multipath broker on a connection passed by systemd (qemu-pr-broker@.service); of the other options only
    /// --sandbox is honoured
    #[arg(long)]
    pub serve_broker: bool,

    /// Simulate a disk behind every descriptor that is not a SCSI device (for tests and demonstrations)
    #[arg(long)]
    pub simulate: bool,

    /// Report what this host has of what multipath needs, and exit; 0 means everything
    #[arg(long)]
    pub check: bool,

    /// Show this help
    #[arg(short = 'h', long, action = ArgAction::Help)]
    help: Option<bool>,

    /// Show the version
    #[arg(short = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,

    /// Accepted and ignored, as the C helper does.
    #[arg(hide = true)]
    operands: Vec<OsString>,

    /// The long names of the options that are there.
    #[arg(skip)]
    pub given: BTreeSet<String>,
}

/// `on` or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Switch {
    /// Write audit records.
    On,
    /// Do not.
    Off,
}

/// The long options of the C helper. Abbreviations that are clear among these stay clear, whatever options this
/// program adds.
const ORIGINAL: [&str; 10] =
    ["help", "version", "socket", "pidfile", "daemon", "trace", "user", "group", "verbose", "quiet"];

/// Reads the command line. `Err` is how the program ends right away: help, version, a list, or an error.
pub fn parse(arguments: &[OsString]) -> Result<Options, ExitCode> {
    let program = arguments.first().cloned().unwrap_or_else(|| "qemu-pr-helper".into());
    let mut command = definition(std::env::var_os("POSIXLY_CORRECT").is_some(), arguments);
    read(&mut command, arguments).map_err(|error| stop(&command, &program, &error))
}

/// Reads it once more, with defaults in front: of several values the last one wins.
pub fn parse_with(arguments: &[OsString], options: Options, defaults: &Defaults) -> Result<Options, ExitCode> {
    let given = options.given.clone();
    let (program, rest) = arguments.split_at(arguments.len().min(1));
    let defaults: Vec<OsString> = defaults.arguments(&given).collect();
    if defaults.is_empty() {
        return Ok(options);
    }
    Ok(Options { given, ..parse(&[program, &defaults, rest].concat())? })
}

/// Whether an argument is an option with a value that can be.
pub fn check(argument: &str) -> Result<(), String> {
    let mut command = definition(false, &[]);
    let outcome = read(&mut command, &["qemu-pr-helper".into(), argument.into()]);
    outcome.map(drop).map_err(|error| reason(&command, &error))
}

fn read(command: &mut clap::Command, arguments: &[OsString]) -> Result<Options, clap::Error> {
    let matches = command.try_get_matches_from_mut(arguments)?;
    let is_given = |id: &&clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
    let given = matches.ids().filter(is_given).map(|id| id.as_str().replace('_', "-")).collect();
    Options::from_arg_matches(&matches).map(|options| Options { given, ..options })
}

/// The options as clap knows them. `posix` is getopt's own switch: options end at the first operand.
fn definition(posix: bool, arguments: &[OsString]) -> clap::Command {
    let command = Options::command();
    // Abbreviations are a hundred names more, and who writes a unit has no need of them.
    let command = if has_abbreviation(&command, arguments) { abbreviated(command) } else { command };
    let mut command =
        command.version(pr_control::VERSION).mut_arg("operands", |operands| operands.trailing_var_arg(posix));
    command.build();
    command
}

/// Whether an argument looks like a long option and is not the name of one.
fn has_abbreviation(command: &clap::Command, arguments: &[OsString]) -> bool {
    let names = arguments.iter().filter_map(|argument| argument.as_encoded_bytes().strip_prefix(b"--"));
    let mut names = names.map(|name| name.split(|byte| *byte == b'=').next().unwrap_or_default());
    let is_whole =
        |name: &[u8]| command.get_arguments().any(|known| known.get_long().is_some_and(|long| long.as_bytes() == name));
    names.any(|name| !is_whole(name))
}

/// Adds every clear abbreviation of every long option as a hidden alias. (clap's own inference takes the first option
/// that fits and finds nothing ambiguous.)
fn abbreviated(command: clap::Command) -> clap::Command {
    let all: Vec<String> = command.get_arguments().filter_map(Arg::get_long).map(str::to_owned).collect();
    command.mut_args(|argument| {
        let Some(long) = argument.get_long().map(str::to_owned) else { return argument };
        let original = ORIGINAL.contains(&long.as_str());
        let clear = |prefix: &str| {
            let fits = |name: &&str| name.starts_with(prefix);
            if original {
                ORIGINAL.iter().filter(|name| fits(name)).count() == 1
            } else {
                all.iter().map(String::as_str).filter(fits).count() == 1
            }
        };
        let aliases: Vec<String> =
            (1..long.len()).map(|end| long[..end].to_owned()).filter(|prefix| clear(prefix)).collect();
        argument.aliases(aliases)
    })
}

/// Says what clap found, in the program's own way, and chooses the exit status.
fn stop(command: &clap::Command, program: &OsStr, error: &clap::Error) -> ExitCode {
    match error.kind() {
        // Nothing is wrong when help cannot be written: the reader has closed it.
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = write!(std::io::stdout(), "{}", error.render());
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    if let Some(listing) = trace::listing(error) {
        let _ = write!(std::io::stdout(), "{listing}");
        return ExitCode::SUCCESS;
    }
    let name = program_name(program);
    let mut text = format!("{name}: {}\n", reason(command, error));
    let _ = writeln!(text, "{name}: try '{} --help' for more information", program.display());
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::FAILURE
}

/// What the program calls itself in messages: the last part of its name on the command line.
pub fn program_name(program: &OsStr) -> String {
    Path::new(program).file_name().unwrap_or(OsStr::new("qemu-pr-helper")).display().to_string()
}

fn reason(command: &clap::Command, error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" "),
        _ => String::new(),
    };
    let argument = context(ContextKind::InvalidArg);
    let option = argument.split([' ', '=']).next().unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument => unknown(command, &argument),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let value = context(ContextKind::InvalidValue);
            match std::error::Error::source(error) {
                Some(source) => format!("option '{option}': {source}"),
                None if value.is_empty() => format!("option '{option}' requires a value"),
                None => {
                    let valid = context(ContextKind::ValidValue);
                    format!("option '{option}' cannot have the value '{value}'; give one of: {valid}")
                }
            }
        }
        ErrorKind::TooManyValues => format!("option '{option}' doesn't allow a value"),
        _ => error.kind().as_str().unwrap_or("invalid command line").to_owned(),
    }
}

fn unknown(command: &clap::Command, argument: &str) -> String {
    let Some(prefix) = argument.strip_prefix("--") else {
        return format!("unknown option '{argument}'");
    };
    let fitting: Vec<String> = command
        .get_arguments()
        .filter_map(Arg::get_long)
        .filter(|long| long.starts_with(prefix))
        .map(|long| format!("'--{long}'"))
        .collect();
    if fitting.len() > 1 {
        format!("option '{argument}' is ambiguous; it could be {}", fitting.join(" or "))
    } else {
        format!("unknown option '{argument}'")
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
#[path = "cli_tests.rs"]
mod tests;
