//! What is wrong with a settings file, where, and what to do about it, in one line.

use std::{fmt, io, ops::Range, path::PathBuf};

use thiserror::Error;

/// The longest file, in bytes.
pub const MAX_LENGTH: usize = pr_control::MAX_SETTINGS;

/// Why there are no settings.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("{}: {error}; name the file with --config, or do without", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It is far longer than anything that makes sense.
    #[error("{}: it has {length} bytes, the limit is {}; use fewer rules with globs", .path.display(), MAX_LENGTH)]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its length.
        length: usize,
    },
    /// Something in it.
    #[error("{}:{place}: {problem}{}", .path.display(), .place.quote())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Where in it.
        place: Place,
        /// What is wrong and what to do.
        problem: String,
    },
}

/// A place in a text: line and column from 1 on, and the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    line: usize,
    column: usize,
    text: String,
}

/// How much of a line is quoted, in characters.
const QUOTED: usize = 120;

impl Place {
    /// Where a range of bytes begins.
    pub fn of(text: &str, span: Range<usize>) -> Self {
        let start = (0..=span.start.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let whole = text[line_start..].lines().next().unwrap_or_default().trim();
        let plain = |c: char| if c.is_control() { '?' } else { c };
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            text: whole.chars().take(QUOTED).map(plain).collect(),
        }
    }

    /// The line, as the end of a message.
    pub fn quote(&self) -> String {
        if self.text.is_empty() { String::new() } else { format!(" (the line is: {})", self.text) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// What the TOML reader says, in one line and with what to do.
pub fn problem_of(message: &str) -> String {
    let words: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let words: String = words.join(", ").chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    let remedy = if words.contains("unknown field") {
        "correct or remove it"
    } else if words.contains("expected a sequence") {
        "put it in brackets, [\"…\"]"
    } else if words.contains("duplicate") {
        "remove one of them"
    } else {
        "see qemu-pr-helper.toml(5)"
    };
    format!("{words}; {remedy}")
}

/// Something that cannot be meant.
pub struct Invalid {
    /// Where in the text.
    pub span: Range<usize>,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// An error, there.
pub fn invalid<T>(span: Range<usize>, problem: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid { span, problem: problem.into() })
}

/// Text from the file as part of a message.
pub fn plain(text: &str) -> String {
    text.chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect()
}
