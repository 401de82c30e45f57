//! `-T`: its values, its patterns and its files.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
};

use super::LOG;
use crate::{log::trace, wildcard};

/// Takes the value of one `-T` apart: pattern, events file, trace file.
///
/// # Errors
/// What is wrong with it, as the program says it.
pub fn take_apart(value: &[u8]) -> Result<[Option<Vec<u8>>; 3], String> {
    let option = trace::option(OsString::from_vec(value.to_vec())).map_err(|error| error.to_string())?;
    let bytes = |text: OsString| text.into_vec();
    let files = [option.events, option.file].map(|path| path.map(|path| bytes(path.into())));
    let [events, file] = files;
    Ok([option.enable.map(bytes), events, file])
}

/// Whether a name fits a pattern.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    wildcard::matches(pattern, name)
}

/// Puts an events file into force after all others; the events that are traced then, and the warnings.
pub fn switched(text: &[u8]) -> (Vec<&'static str>, Vec<String>) {
    LOG.traced.set([OsStr::from_bytes(b"-*")]);
    let warnings = LOG.traced.set(trace::listed(text).map(|(_, pattern)| pattern));
    (LOG.traced.enabled(), warnings)
}

/// Every event there is.
pub fn events() -> impl Iterator<Item = &'static str> {
    trace::EVENTS.iter().map(|(name, _)| *name)
}
