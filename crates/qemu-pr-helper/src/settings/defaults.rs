//! `[defaults]`: options for helpers whose command line somebody else writes. libvirt gives a managed helper a socket and
//! nothing else.
//!
//! They are put in front of the command line itself: of several values the last one wins, and each is read by whoever
//! reads that option.

use std::{collections::BTreeSet, ffi::OsString, ops::Range};

use toml::Spanned;

use super::{
    Directory,
    compile::{Wrong, number, wrong},
    written::{self, Scalar, Who},
};
use crate::cli;

/// Options that are on when they are there.
const FLAGS: [&str; 2] = ["quiet", "verbose"];

/// The one that names a group.
const GROUP: &str = "control-group";

/// Options with their values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults(Vec<(&'static str, String)>);

/// The options that a helper was started with. It cannot take others.
#[derive(Clone, Debug, Default)]
pub struct AtStart {
    /// Those of the file.
    pub defaults: Defaults,
    /// The names of those on the command line.
    pub given: BTreeSet<String>,
}

impl Defaults {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether an option is among them.
    pub fn has(&self, option: &str) -> bool {
        self.0.iter().any(|(key, _)| *key == option)
    }

    /// As arguments, for a command line with these options on it.
    pub fn arguments<'a>(&'a self, given: &'a BTreeSet<String>) -> impl Iterator<Item = OsString> + 'a {
        self.0.iter().filter(|(key, _)| !is_given(key, given)).filter_map(|(key, value)| argument(key, value))
    }
}

impl AtStart {
    /// The options that would be others if the helper were started again with these defaults.
    pub fn changed(&self, now: &Defaults) -> Vec<&'static str> {
        let (before, now) = (&self.defaults.0, &now.0);
        let gone = before.iter().filter(|entry| !now.contains(entry));
        let new = now.iter().filter(|entry| !before.contains(entry));
        let keys = gone.chain(new).map(|(key, _)| *key);
        // Each once, and in the same order every time.
        let keys: BTreeSet<_> = keys.filter(|key| !is_given(key, &self.given)).collect();
        keys.into_iter().collect()
    }
}

/// Whether the command line decides. Who asks for more words there, or for fewer, wants nothing of the file's.
fn is_given(key: &str, given: &BTreeSet<String>) -> bool {
    if FLAGS.contains(&key) { FLAGS.iter().any(|flag| given.contains(*flag)) } else { given.contains(key) }
}

/// A default as an argument; a flag that is off is none.
fn argument(key: &str, value: &str) -> Option<OsString> {
    match (FLAGS.contains(&key), value) {
        (true, "true") => Some(format!("--{key}").into()),
        (true, _) => None,
        (false, value) => Some(format!("--{key}={value}").into()),
    }
}

/// The defaults that a file means.
pub fn compile(written: written::Defaults, directory: &impl Directory) -> Result<Defaults, Wrong> {
    let written::Defaults {
        verbose,
        quiet,
        log_format,
        max_connections,
        request_timeout,
        command_timeout,
        drain_timeout,
        audit,
        audit_keys,
        control,
        control_group,
        sandbox,
    } = written;
    if let (Some(verbose), Some(quiet)) = (&verbose, &quiet)
        && (verbose.get_ref(), quiet.get_ref()) == (&Scalar::Flag(true), &Scalar::Flag(true))
    {
        return wrong(quiet.span(), "verbose and quiet contradict each other; remove one of them");
    }
    let keys = [
        ("verbose", verbose),
        ("quiet", quiet),
        ("log-format", log_format),
        ("max-connections", max_connections),
        ("request-timeout", request_timeout),
        ("command-timeout", command_timeout),
        ("drain-timeout", drain_timeout),
        ("audit", audit),
        ("audit-keys", audit_keys),
        ("control", control),
        (GROUP, control_group),
        ("sandbox", sandbox),
    ];
    let there = keys.into_iter().filter_map(|(key, value)| Some((key, value?)));
    let values = there.map(|(key, value)| Ok((key, self::value(key, value, directory)?)));
    values.collect::<Result<_, _>>().map(Defaults)
}

/// A value as it would stand on the command line.
fn value(key: &'static str, written: Spanned<Scalar>, directory: &impl Directory) -> Result<String, Wrong> {
    let span = written.span();
    let is_flag = FLAGS.contains(&key);
    let text = match written.into_inner() {
        value if key == GROUP => return group(span, value, directory),
        Scalar::Flag(on) if is_flag => return Ok(on.to_string()),
        _ if is_flag => return wrong(span, format!("{key} is true or false; write one of them")),
        Scalar::Text(text) if text.contains(char::is_control) => {
            return wrong(span, format!("{key} has a control character in it; remove that"));
        }
        Scalar::Flag(on) => on.to_string(),
        Scalar::Integer(number) => number.to_string(),
        Scalar::Float(number) => number.to_string(),
        Scalar::Text(text) => text,
    };
    match cli::check(&format!("--{key}={text}")) {
        Ok(()) => Ok(text),
        Err(problem) => wrong(span, problem),
    }
}

/// A group's number. The option's own reader would look names up, and a helper that serves may not do that any more.
fn group(span: Range<usize>, value: Scalar, directory: &impl Directory) -> Result<String, Wrong> {
    let who = match value {
        Scalar::Text(name) => Who::Name(name),
        Scalar::Integer(number) => Who::Number(number),
        Scalar::Flag(_) | Scalar::Float(_) => {
            return wrong(span, "a group is a name or a number; write one of them");
        }
    };
    number("group", Spanned::new(span, who), |name| directory.group(name)).map(|group| group.to_string())
}
