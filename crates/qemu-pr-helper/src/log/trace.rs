//! `-T [enable=]PATTERN[,events=FILE][,file=FILE]`: which events are traced, and where to.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    fs::{self, File},
    io,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use clap::ValueEnum;
use rustix::fs::{FileType, Mode, OFlags};
use thiserror::Error;
use tracing::callsite::rebuild_interest_cache;

use super::ftrace::{self, MarkerError};
use crate::{paths, wildcard};

/// Every event with what it tells. The place that traces one names it as its `target`.
pub const EVENTS: &[(&str, &str)] = &[
    ("pr_helper_accept", "client, pid, uid"),
    ("pr_helper_hello", "client"),
    ("pr_helper_request", "client, action, device, cdb, key, service_action_key, length"),
    ("pr_helper_policy", "client, verdict, and of a refusal: rule, status, sense"),
    ("pr_helper_route", "client, by, device"),
    ("pr_helper_command_sent", "client, device, timeout_ms"),
    ("pr_helper_command_done", "client, status, sense, host, driver, residual, error, microseconds"),
    ("pr_helper_broker_start", "client, device, timeout_ms"),
    ("pr_helper_broker_exit", "client, end, microseconds"),
    ("pr_helper_reply", "client, status, sense, bytes"),
    ("pr_helper_violation", "client, rule"),
    ("pr_helper_close", "client, reason"),
    ("pr_helper_ready", "socket"),
    ("pr_helper_privileges", "uid, gid, capabilities"),
    ("pr_helper_shutdown", "signal, in_flight"),
    ("pr_helper_control", "pid, uid, ask"),
];

const _: () = assert!(EVENTS.len() <= 32, "there is a bit for each in Switches");

/// Which events are traced; at first none.
#[derive(Default)]
pub struct Switches(AtomicU32);

impl Switches {
    /// Whether an event is traced.
    pub fn is_enabled(&self, name: &str) -> bool {
        index(name).is_some_and(|index| self.0.load(Ordering::Relaxed) & (1 << index) != 0)
    }

    /// Whether any event is traced.
    pub fn is_any_enabled(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// The events that are traced.
    pub fn enabled(&self) -> Vec<&'static str> {
        EVENTS.iter().map(|(name, _)| *name).filter(|name| self.is_enabled(name)).collect()
    }

    /// Enables events, or disables those with `-` in front, while the program runs: names and globs, as with `-T`. The
    /// warnings are about names that no event has.
    pub fn set(&self, patterns: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Vec<String> {
        let mut warnings = Vec::new();
        for pattern in patterns {
            let pattern = pattern.as_ref();
            if !self.enable(pattern) {
                warnings.push(no_such(pattern));
            }
        }
        // tracing caches for each callsite whether it is enabled: invalidate that.
        rebuild_interest_cache();
        warnings
    }

    /// Enables or disables what a pattern matches; false for a plain name that no event has.
    fn enable(&self, pattern: &OsStr) -> bool {
        let (on, pattern) = match pattern.as_bytes() {
            [b'-', rest @ ..] => (false, rest),
            all => (true, all),
        };
        let mut known = pattern.iter().any(|byte| matches!(byte, b'*' | b'?'));
        for (index, (name, _)) in EVENTS.iter().enumerate() {
            if wildcard::matches(pattern, name.as_bytes()) {
                known = true;
                let bit = 1 << index;
                if on {
                    self.0.fetch_or(bit, Ordering::Relaxed)
                } else {
                    self.0.fetch_and(!bit, Ordering::Relaxed)
                };
            }
        }
        known
    }
}

fn index(name: &str) -> Option<usize> {
    EVENTS.iter().position(|(event, _)| *event == name)
}

/// `--trace-backend`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TraceBackend {
    /// The file of `-T`, otherwise the log.
    #[default]
    Log,
    /// The kernel's trace buffer, and the file if there is one.
    Ftrace,
}

/// One `-T`, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceOption {
    /// A name or a glob, with `-` in front to disable.
    pub enable: Option<OsString>,
    /// A file of names and globs.
    pub events: Option<PathBuf>,
    /// Where traces go.
    pub file: Option<PathBuf>,
}

/// What is wrong with a `-T`.
#[derive(Debug, Error)]
pub enum TraceError {
    /// Not an error: the list of events was asked for.
    #[error("{}", Listing)]
    List,
    /// A parameter that `-T` does not have.
    #[error("Invalid parameter '{0}'; -T takes enable=PATTERN, events=FILE and file=FILE")]
    Parameter(String),
    /// A value without a parameter, behind the first.
    #[error("Invalid parameter '{0}': only the first value of -T may leave out its name (write ',,' for a comma)")]
    Unnamed(String),
    /// The events file cannot be read.
    #[error("{}: {error}; name a file that lists trace events for -T events=", .path.display())]
    Events { path: PathBuf, error: io::Error },
    /// The kernel's trace marker cannot be opened.
    #[error(transparent)]
    Marker(#[from] MarkerError),
    /// The name of the log file has a `%` that means nothing.
    #[error("Bad logfile template: {}; in -T file= a '%d' may stand for the process number, once, and no other '%'", .0.display())]
    Template(PathBuf),
    /// The log file cannot be opened.
    #[error("Error opening logfile {}: {error}; name a file that can be written for -T file=", .path.display())]
    File { path: PathBuf, error: io::Error },
}

struct Listing;

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        EVENTS.iter().try_for_each(|(name, arguments)| writeln!(f, "{name}  ({arguments})"))
    }
}

/// The list of events, if that is what stopped clap.
pub fn listing(error: &clap::Error) -> Option<String> {
    match std::error::Error::source(error)?.downcast_ref()? {
        list @ TraceError::List => Some(list.to_string()),
        _ => None,
    }
}

/// Takes the value of one `-T` apart.
#[expect(clippy::needless_pass_by_value, reason = "clap hands values over")]
pub fn option(value: OsString) -> Result<TraceOption, TraceError> {
    let mut option = TraceOption::default();
    let mut parts = parts(value.as_bytes());
    // A comma at the end begins nothing.
    parts.pop_if(|last| last.is_empty());
    for (position, part) in parts.into_iter().enumerate() {
        let (name, value) = match part.iter().position(|byte| *byte == b'=') {
            Some(at) => (part[..at].to_vec(), part[at + 1..].to_vec()),
            None if position == 0 => (b"enable".to_vec(), part),
            None => return Err(TraceError::Unnamed(String::from_utf8_lossy(&part).into_owned())),
        };
        let value = OsString::from_vec(value);
        match name.as_slice() {
            b"enable" if value == "help" || value == "?" => return Err(TraceError::List),
            b"enable" => option.enable = Some(value),
            b"events" => option.events = Some(value.into()),
            b"file" => option.file = Some(value.into()),
            _ => return Err(TraceError::Parameter(String::from_utf8_lossy(&name).into_owned())),
        }
    }
    Ok(option)
}

/// Splits at commas; two of them are one that belongs to the value.
fn parts(value: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = value.iter().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b',' if bytes.next_if_eq(&&b',').is_none() => parts.push(Vec::new()),
            byte => parts.last_mut().into_iter().for_each(|part| part.push(*byte)),
        }
    }
    parts
}

/// The patterns in an events file, each with the number of its line.
pub fn listed(text: &[u8]) -> impl Iterator<Item = (usize, &OsStr)> {
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).zip(1..);
    let patterns = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with(b"#"));
    patterns.map(|(line, number)| (number, OsStr::from_bytes(line)))
}

/// Where traces go instead of to the log.
#[derive(Debug, Default)]
pub struct Destinations {
    /// `-T file=`.
    pub file: Option<File>,
    /// `--trace-backend ftrace`.
    pub marker: Option<File>,
}

/// Puts all `-T` of the command line into force, but for where traces go; the warnings are about names that no event has.
pub fn apply(
    switches: &Switches,
    options: &[TraceOption],
    backend: TraceBackend,
) -> Result<(Vec<String>, Destinations), TraceError> {
    let (mut warnings, mut to) = (Vec::new(), Destinations::default());
    for option in options {
        if let Some(path) = &option.events {
            let text = fs::read(path).map_err(|error| TraceError::Events { path: path.clone(), error })?;
            for (number, pattern) in listed(&text) {
                let place = |warning| format!("{}:{number}: {warning}", path.display());
                warnings.extend(switches.set([pattern]).into_iter().map(place));
            }
        }
        warnings.extend(switches.set(option.enable.as_ref()));
    }
    // As with every option, the last one wins.
    if let Some(path) = options.iter().rev().find_map(|option| option.file.as_deref()) {
        let path = with_pid(path).ok_or_else(|| TraceError::Template(path.to_owned()))?;
        to.file = Some(log_file(&path).map_err(|error| TraceError::File { path, error })?);
    }
    if backend == TraceBackend::Ftrace {
        to.marker = Some(ftrace::open()?);
    }
    Ok((warnings, to))
}

/// The file, empty if it is one.
fn log_file(path: &Path) -> io::Result<File> {
    let (file, _, stat) = paths::open(path, OFlags::WRONLY | OFlags::CREATE, Mode::from_raw_mode(0o666))?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
        file.set_len(0)?;
    }
    Ok(file)
}

fn no_such(pattern: &OsStr) -> String {
    let name = pattern.display().to_string();
    let name = name.strip_prefix('-').unwrap_or(&name).to_owned();
    format!("warning: trace event '{name}' does not exist; -T help lists those that do")
}

/// `%d` in the name of a log file is the PID. It may stand there once; no other `%` has a meaning.
fn with_pid(path: &Path) -> Option<PathBuf> {
    let bytes = path.as_os_str().as_bytes();
    let Some(at) = bytes.iter().position(|byte| *byte == b'%') else { return Some(path.to_owned()) };
    let rest = bytes[at..].strip_prefix(b"%d").filter(|rest| !rest.contains(&b'%'))?;
    let name = [&bytes[..at], std::process::id().to_string().as_bytes(), rest].concat();
    Some(OsString::from_vec(name).into())
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
#[path = "trace_tests.rs"]
mod tests;
