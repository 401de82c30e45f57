//! The command line. One table has the options: the help, the man page and the completions are made from it.

use std::{
    ffi::{OsStr, OsString},
    fmt::Write as _,
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use lexopt::{Arg, Parser};
use pr_control::DEFAULT_CONTROL;

/// What the program is called.
pub const NAME: &str = env!("CARGO_PKG_NAME");

/// What it does, in one line.
pub const ABOUT: &str = "Serve the metrics of qemu-pr-helper to Prometheus over HTTP";

/// An option.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// Its name, behind two hyphens.
    pub long: &'static str,
    /// Its letter, behind one.
    pub short: Option<char>,
    /// What its value is called, if it takes one.
    pub value: Option<&'static str>,
    /// The value that it has without being given.
    pub default: Option<&'static str>,
    /// What it does.
    pub help: &'static str,
}

const LISTEN: &str = "127.0.0.1:9437";
const TIMEOUT: &str = "5";

/// The options, in the order of the help.
pub const OPTIONS: [Opt; 7] = [
    Opt {
        long: "listen",
        short: None,
        value: Some("ADDRESS:PORT"),
        default: Some(LISTEN),
        help: "Address to listen on",
    },
    Opt {
        long: "user",
        short: None,
        value: Some("USER"),
        default: Some(crate::user::NOBODY),
        help: "User to run as if started as root",
    },
    Opt {
        long: "control",
        short: None,
        value: Some("PATH"),
        default: Some(DEFAULT_CONTROL),
        help: "Control socket of a helper, or its directory; may be repeated",
    },
    Opt {
        long: "timeout",
        short: None,
        value: Some("SECONDS"),
        default: Some(TIMEOUT),
        help: "Time to wait for an answer at a control socket",
    },
    Opt {
        long: "json",
        short: None,
        value: None,
        default: None,
        help: "Print the address, and an error that ends the program, as JSON",
    },
    Opt { long: "help", short: Some('h'), value: None, default: None, help: "Print help" },
    Opt { long: "version", short: Some('V'), value: None, default: None, help: "Print version" },
];

/// What there is to know besides the options.
pub const NOTES: &str = "\
Pages:
  /metrics  OpenMetrics text; text/plain gets that of Prometheus 0.0.4
  /healthz  answers ok as long as the exporter runs
  /         a list of these pages

For a helper that does not answer, qemu_pr_helper_up is 0. With several
--control every metric has a label helper with the path of its socket.

The exporter only needs access to the control socket: start the helper with
--control-group GROUP, and the exporter as a member of that group. If it is
started as root it changes to USER before it serves requests, and keeps the
groups of the control sockets.

Exit status:
    1  invalid command line, no such user, or --user without being root
   15  the address, the user, the control socket or the output cannot be used
";

/// What is wrong with a command line.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    #[error("{0}; see 'qemu-pr-exporter --help'")]
    Word(lexopt::Error),
    #[error("no value for '--{0}'; see 'qemu-pr-exporter --help'")]
    NoValue(&'static str),
    #[error("'--{0}' is given twice; see 'qemu-pr-exporter --help'")]
    Twice(&'static str),
    #[error("invalid value '{value}' for '--{option}': {expected}")]
    Value { option: &'static str, value: String, expected: &'static str },
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    Serve(Options),
    Help,
    Version,
}

/// How to serve.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    pub listen: SocketAddr,
    /// The user to become, if one is named.
    pub user: Option<String>,
    /// The control sockets.
    pub control: Vec<PathBuf>,
    /// How long a helper has for its answer.
    pub timeout: Duration,
    /// Whether what is printed is for programs.
    pub json: bool,
}

/// Reads the command line, the program's name included.
///
/// # Errors
/// The first word that is none of the options, or has no sense.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Request, Invalid> {
    let mut parser = Parser::from_iter(words);
    let (mut listen, mut user, mut timeout) = (None, None, None);
    let (mut control, mut json) = (Vec::new(), None);
    while let Some(word) = parser.next().map_err(Invalid::Word)? {
        match word {
            Arg::Long("listen") => once("listen", &mut listen, address(&value("listen", &mut parser)?)?)?,
            Arg::Long("user") => once("user", &mut user, text("user", value("user", &mut parser)?)?)?,
            Arg::Long("control") => control.push(value("control", &mut parser)?.into()),
            Arg::Long("timeout") => once("timeout", &mut timeout, seconds(&value("timeout", &mut parser)?)?)?,
            Arg::Long("json") => once("json", &mut json, ())?,
            Arg::Long("help") | Arg::Short('h') => return Ok(Request::Help),
            Arg::Long("version") | Arg::Short('V') => return Ok(Request::Version),
            word => return Err(Invalid::Word(word.unexpected())),
        }
    }
    if control.is_empty() {
        control.push(DEFAULT_CONTROL.into());
    }
    Ok(Request::Serve(Options {
        listen: listen.map_or_else(|| address(LISTEN.as_ref()), Ok)?,
        user,
        control,
        timeout: timeout.map_or_else(|| seconds(TIMEOUT.as_ref()), Ok)?,
        json: json.is_some(),
    }))
}

/// The value of an option. What begins with a hyphen is one only behind an equals sign: it is the next option otherwise.
fn value(option: &'static str, parser: &mut Parser) -> Result<OsString, Invalid> {
    let attached = parser.optional_value();
    let is_attached = attached.is_some();
    let value = attached.map_or_else(|| parser.value(), Ok).map_err(Invalid::Word)?;
    let is_option = !is_attached && value.as_encoded_bytes().starts_with(b"-");
    if is_option || value.is_empty() { Err(Invalid::NoValue(option)) } else { Ok(value) }
}

/// Sets what may be given once.
fn once<T>(option: &'static str, place: &mut Option<T>, value: T) -> Result<(), Invalid> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Invalid::Twice(option)),
    }
}

fn invalid(option: &'static str, value: &OsStr, expected: &'static str) -> Invalid {
    Invalid::Value { option, value: value.display().to_string(), expected }
}

fn text(option: &'static str, value: OsString) -> Result<String, Invalid> {
    value.into_string().map_err(|value| invalid(option, &value, "expected a name in UTF-8"))
}

fn address(value: &OsStr) -> Result<SocketAddr, Invalid> {
    let expected = "expected an IP address and a port, such as 127.0.0.1:9437 or [::1]:9437";
    let address = value.to_str().and_then(|text| text.parse().ok());
    address.ok_or_else(|| invalid("listen", value, expected))
}

fn seconds(value: &OsStr) -> Result<Duration, Invalid> {
    match value.to_str().map(str::parse) {
        Some(Ok(seconds @ 1..=86_400)) => Ok(Duration::from_secs(seconds)),
        _ => Err(invalid("timeout", value, "expected a whole number of seconds from 1 to 86400")),
    }
}

/// The help.
pub fn help() -> String {
    let mut help = format!("{ABOUT}\n\nUsage: {NAME} [OPTIONS]\n\nOptions:\n");
    for Opt { long, short, value, default, help: text } in OPTIONS {
        let short = short.map_or_else(|| "    ".to_owned(), |letter| format!("-{letter}, "));
        let value = value.map_or_else(String::new, |value| format!(" <{value}>"));
        let default = default.map_or_else(String::new, |default| format!("\n          [default: {default}]"));
        let _ = writeln!(help, "  {short}--{long}{value}\n          {text}{default}");
    }
    help + "\n" + NOTES
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
