//! `[defaults]`: options for helpers whose command line another program writes. libvirt gives a managed helper a socket and
//! nothing else.
//!
//! They are put in front of the command line itself: of several values the last one wins, and each is read by the reader
//! of that option.

use std::{collections::BTreeSet, ffi::OsString, ops::Range};

use toml::Spanned;

use super::{
    error::{Invalid, invalid},
    schema::{self, Scalar, Who, number},
    users::UserDb,
};

/// Whether an argument is an option with a value that it may have; otherwise why not.
pub type CheckOption = fn(&str) -> Result<(), String>;

/// Options that are on when they are there.
const FLAGS: [&str; 2] = ["quiet", "verbose"];

/// The one that names a group.
const GROUP: &str = "control-group";

/// Options with their values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults(Vec<(&'static str, String)>);

/// The options that a helper was started with. It cannot take others.
#[derive(Clone, Debug, Default)]
pub struct StartupOptions {
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

impl StartupOptions {
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
pub fn resolve(written: schema::Defaults, users: &impl UserDb, check: CheckOption) -> Result<Defaults, Invalid> {
    if let (Some(verbose), Some(quiet)) = (&written.verbose, &written.quiet)
        && (verbose.get_ref(), quiet.get_ref()) == (&Scalar::Flag(true), &Scalar::Flag(true))
    {
        return invalid(quiet.span(), "verbose and quiet contradict each other; remove one of them");
    }
    let values = written.into_values().map(|(key, value)| Ok((key, self::value(key, value, users, check)?)));
    values.collect::<Result<_, _>>().map(Defaults)
}

/// A value as it would stand on the command line.
fn value(
    key: &'static str,
    written: Spanned<Scalar>,
    users: &impl UserDb,
    check: CheckOption,
) -> Result<String, Invalid> {
    let span = written.span();
    let is_flag = FLAGS.contains(&key);
    let text = match written.into_inner() {
        value if key == GROUP => return group(span, value, users),
        Scalar::Flag(on) if is_flag => return Ok(on.to_string()),
        _ if is_flag => return invalid(span, format!("{key} is true or false; write one of them")),
        Scalar::Text(text) if text.contains(char::is_control) => {
            return invalid(span, format!("{key} has a control character in it; remove that"));
        }
        Scalar::Flag(on) => on.to_string(),
        Scalar::Integer(number) => number.to_string(),
        Scalar::Float(number) => number.to_string(),
        Scalar::Text(text) => text,
    };
    match check(&format!("--{key}={text}")) {
        Ok(()) => Ok(text),
        Err(problem) => invalid(span, problem),
    }
}

/// A group's number. The option's own reader would look names up, and a helper that serves may not do that any more.
fn group(span: Range<usize>, value: Scalar, users: &impl UserDb) -> Result<String, Invalid> {
    let who = match value {
        Scalar::Text(name) => Who::Name(name),
        Scalar::Integer(number) => Who::Number(number),
        Scalar::Flag(_) | Scalar::Float(_) => {
            return invalid(span, "a group is a name or a number; write one of them");
        }
    };
    number("group", Spanned::new(span, who), |name| users.group(name)).map(|group| group.to_string())
}
