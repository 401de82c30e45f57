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

/// Persistent reservation helper for QEMU: sends the reservation commands of guests to their disks.
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
    /// Listen on this Unix socket (absolute path) [default: /var/run/qemu-pr-helper.sock]
    #[arg(short = 'k', long, value_name = "PATH", allow_hyphen_values = true, value_parser = OsStringValueParser::new().try_map(values::socket_path))]
    pub socket: Option<PathBuf>,

    /// Write the process ID to this file [default: none; with -d /var/run/qemu-pr-helper.pid]
    #[arg(short = 'f', long, value_name = "PATH", allow_hyphen_values = true)]
    pub pidfile: Option<PathBuf>,

    /// Run in the background; the command returns when the helper is ready
    #[arg(short = 'd', long)]
    pub daemon: bool,

    /// Enable trace events: [enable=]PATTERN[,events=FILE][,file=FILE]; "help" lists them
    #[arg(short = 'T', long, value_name = "OPTIONS", allow_hyphen_values = true, action = ArgAction::Append, value_parser = OsStringValueParser::new().try_map(trace::option))]
    pub trace: Vec<TraceOption>,

    /// Write trace events to log (standard error, or the FILE of -T) or ftrace (the kernel's trace buffer, and FILE if given)
    #[arg(long, value_name = "BACKEND", value_enum, default_value_t, hide_possible_values = true)]
    pub trace_backend: TraceBackend,

    /// Change to this user (name or number) when initialized
    #[arg(short = 'u', long, value_name = "USER", allow_hyphen_values = true, value_parser = OsStringValueParser::new().try_map(values::user))]
    pub user: Option<User>,

    /// Change to this group (name or number) when initialized
    #[arg(short = 'g', long, value_name = "GROUP", allow_hyphen_values = true, value_parser = OsStringValueParser::new().try_map(values::group))]
    pub group: Option<Group>,

    /// Also log connections that open and close, and reloads
    #[arg(short = 'v', long)]
    pub verbose: bool,

    /// Do not log protocol violations of clients; overrides -v
    #[arg(short = 'q', long)]
    pub quiet: bool,

    /// Log format: text, prefix (text after a priority <N>, see sd-daemon(3)), journal (systemd's journal, with fields),
    /// json (one object per line) or auto (journal if standard error is connected to it, otherwise text)
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, hide_possible_values = true)]
    pub log_format: LogFormat,

    /// Permissions of the socket (octal) [default: 0777 less the umask]
    #[arg(long, value_name = "MODE", allow_hyphen_values = true, value_parser = values::mode)]
    pub socket_mode: Option<u32>,

    /// Group of the socket (name or number)
    #[arg(long, value_name = "GROUP", allow_hyphen_values = true, value_parser = OsStringValueParser::new().try_map(values::group))]
    pub socket_group: Option<Group>,

    /// Maximum number of connected clients; more are rejected
    #[arg(long, value_name = "N", allow_hyphen_values = true, default_value = "1024", value_parser = values::connections)]
    pub max_connections: u32,

    /// Close a connection if the client takes longer to complete a request or to read a reply
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true, default_value = "30", value_parser = values::seconds)]
    pub request_timeout: Duration,

    /// Timeout of a command; PREEMPT AND ABORT has twice as long
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true, default_value = "30", value_parser = values::seconds)]
    pub command_timeout: Duration,

    /// Time to wait for commands in progress before exiting
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true, default_value = "30", value_parser = values::seconds)]
    pub drain_timeout: Duration,

    /// Write an audit record for each PERSISTENT RESERVE OUT and each refused request
    #[arg(long, value_name = "on|off", value_enum, default_value = "on", hide_possible_values = true)]
    pub audit: Switch,

    /// How reservation keys appear in the audit log
    #[arg(long, value_name = "FORM", value_enum, default_value = "show")]
    pub audit_keys: Keys,

    /// Listen for qemu-pr-ctl and qemu-pr-exporter on this Unix socket; %s in its file name stands for the path of -k, with
    /// hyphens for slashes
    #[arg(long, value_name = "PATH", allow_hyphen_values = true, value_parser = OsStringValueParser::new().try_map(values::control_path))]
    pub control: Option<PathBuf>,

    /// Allow members of this group (name or number) to read from the control socket [default: root only]
    #[arg(long, value_name = "GROUP", allow_hyphen_values = true, value_parser = OsStringValueParser::new().try_map(values::group))]
    pub control_group: Option<Group>,

    /// Settings file with rules, limits and defaults of these options, see qemu-pr-helper.toml(5) [default: /etc/qemu-pr-helper.toml if it exists]
    #[arg(long, value_name = "PATH", allow_hyphen_values = true)]
    pub config: Option<PathBuf>,

    /// Check the settings file and exit; the exit status is 0 if it is valid
    #[arg(long)]
    pub check_config: bool,

    /// Restrict system calls (seccomp) and file access (Landlock) to what the program needs
    #[arg(long, value_name = "MODE", value_parser = EnumValueParser::<values::SandboxMode>::new().map(Sandbox::from), default_value = "enforce")]
    pub sandbox: Sandbox,

    /// Connect to the multipath broker at this Unix socket (qemu-pr-broker.socket) instead of forking one
    #[arg(long, value_name = "PATH", allow_hyphen_values = true, value_parser = OsStringValueParser::new().try_map(values::socket_path))]
    pub broker: Option<PathBuf>,

    /// Run as the multipath broker on a connection passed by systemd (qemu-pr-broker@.service); of the other options only
    /// --sandbox applies
    #[arg(long)]
    pub serve_broker: bool,

    /// Simulate a disk for each descriptor that is not a SCSI device (for tests)
    #[arg(long)]
    pub simulate: bool,

    /// Check that this host has what dm-multipath needs and exit; the exit status is 0 if nothing is missing
    #[arg(long)]
    pub check: bool,

    /// Print help
    #[arg(short = 'h', long, action = ArgAction::Help)]
    help: Option<bool>,

    /// Print version
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
