//! What messages, records and traces look like on standard error and in a trace file.

use std::io::Write as _;

use clap::ValueEnum;
use pr_control::{Record, What};
use serde::Serialize;

/// `--log-format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// The journal's own protocol where standard error is the journal, otherwise text.
    #[default]
    Auto,
    /// Lines that begin with the program's name.
    Text,
    /// The same with journald's `<N>` in front (sd-daemon(3)).
    Prefix,
    /// The journal's own protocol.
    Journal,
    /// One JSON object a line.
    Json,
}

/// How important something is, as syslog(3) numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Error = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
    Debug = 7,
}

impl Level {
    /// The name in JSON.
    const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    /// The number of syslog(3).
    pub const fn number(self) -> u8 {
        self as u8
    }
}

impl From<tracing::Level> for Level {
    fn from(level: tracing::Level) -> Self {
        match level {
            tracing::Level::ERROR => Self::Error,
            tracing::Level::WARN => Self::Warning,
            tracing::Level::INFO => Self::Info,
            tracing::Level::DEBUG | tracing::Level::TRACE => Self::Debug,
        }
    }
}

/// How important a record is: a refusal wants looking at, a command that failed may.
pub fn level_of(record: &Record) -> Level {
    match &record.what {
        What::Refusal { .. } | What::Reload { accepted: false, .. } => Level::Warning,
        What::Command { outcome, .. } if outcome.status == "GOOD" => Level::Info,
        What::Command { .. } | What::LeftOut { .. } | What::Reload { .. } => Level::Notice,
    }
}

/// What a line on standard error looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Text,
    Prefix,
    Json,
}

#[derive(Serialize)]
struct Said<'a> {
    time_us: u64,
    level: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct Recorded<'a> {
    level: &'a str,
    #[serde(flatten)]
    record: &'a Record,
}

// Nothing here fails: it is written to memory.
impl Style {
    /// A message of the program.
    pub fn message(self, program: &str, time_us: u64, level: Level, text: &str, out: &mut Vec<u8>) {
        let _ = match self {
            Self::Text => writeln!(out, "{program}: {text}"),
            Self::Prefix => writeln!(out, "<{}>{program}: {text}", level.number()),
            Self::Json => json(&Said { time_us, level: level.name(), message: text }, out),
        };
    }

    /// A record of the audit log.
    pub fn record(self, program: &str, record: &Record, out: &mut Vec<u8>) {
        let level = level_of(record);
        let _ = match self {
            Self::Text => writeln!(out, "{program}: audit: {record}"),
            Self::Prefix => writeln!(out, "<{}>{program}: audit: {record}", level.number()),
            Self::Json => json(&Recorded { level: level.name(), record }, out),
        };
    }

    /// A trace: bare, as QEMU's C helper has it.
    pub fn trace(self, time_us: u64, text: &str, out: &mut Vec<u8>) {
        let _ = match self {
            Self::Text => writeln!(out, "{text}"),
            Self::Prefix => writeln!(out, "<{}>{text}", Level::Debug.number()),
            Self::Json => json(&Said { time_us, level: "trace", message: text }, out),
        };
    }
}

fn json(line: &impl Serialize, out: &mut Vec<u8>) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

/// A trace as QEMU's log files have it.
pub fn stamped(process: u32, time_us: u64, text: &str, out: &mut Vec<u8>) {
    let (seconds, micros) = (time_us / 1_000_000, time_us % 1_000_000);
    let _ = writeln!(out, "{process}@{seconds}.{micros:06}:{text}");
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
#[path = "format_tests.rs"]
mod tests;
