//! The journal: a line when a call begins, and one when it returns.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;

/// A PERSISTENT RESERVE OUT as the library was asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Which process called.
    pub process: u32,
    /// The device number of the map, `MAJOR:MINOR`.
    pub map: String,
    /// The service action.
    pub action: i32,
    /// The scope.
    pub scope: i32,
    /// The type.
    pub kind: u32,
    /// RESERVATION KEY.
    pub key: u64,
    /// SERVICE ACTION RESERVATION KEY.
    pub new_key: u64,
    /// `sa_flags`.
    pub flags: u8,
    /// `num_transportid`.
    pub transport_ids: u32,
}

/// An entry of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A call begins.
    Begin(Call),
    /// A call on this map is about to return this.
    Return {
        /// The device number of the map, `MAJOR:MINOR`.
        map: String,
        /// The code.
        code: i32,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin(call) => {
                let Call { process, map, action, scope, kind, key, new_key, flags, transport_ids } = call;
                write!(
                    formatter,
                    "begin {process} {map} {action} {scope} {kind} {key} {new_key} {flags} {transport_ids}"
                )
            }
            Self::Return { map, code } => write!(formatter, "return {map} {code}"),
        }
    }
}

/// The entries of a journal. A last line that is not whole yet does not count.
///
/// # Errors
/// The first line that is none of a journal.
pub fn parse(text: &str) -> Result<Vec<Event>, String> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| event(line).ok_or_else(|| line.to_owned())).collect()
}

fn event(line: &str) -> Option<Event> {
    match line.split(' ').collect::<Vec<_>>()[..] {
        ["begin", process, map, action, scope, kind, key, new_key, flags, transport_ids] => Some(Event::Begin(Call {
            process: process.parse().ok()?,
            map: map.to_owned(),
            action: action.parse().ok()?,
            scope: scope.parse().ok()?,
            kind: kind.parse().ok()?,
            key: key.parse().ok()?,
            new_key: new_key.parse().ok()?,
            flags: flags.parse().ok()?,
            transport_ids: transport_ids.parse().ok()?,
        })),
        ["return", map, code] => Some(Event::Return { map: map.to_owned(), code: code.parse().ok()? }),
        _ => None,
    }
}

/// Notes an event, if anybody wants to know.
pub(crate) fn note(event: &Event) {
    let Some(path) = std::env::var_os(crate::JOURNAL) else { return };
    let file = OpenOptions::new().append(true).create(true).open(&path);
    // One write in append mode: lines of several processes do not mix.
    if let Err(error) = file.and_then(|mut file| file.write_all(format!("{event}\n").as_bytes())) {
        crate::script::give_up(&format!("cannot write {}: {error}", path.display()));
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_can_be_read() {
        let call = Call {
            process: 77,
            map: "7:3".to_owned(),
            action: 6,
            scope: 0,
            kind: 5,
            key: u64::MAX,
            new_key: 1,
            flags: 4,
            transport_ids: 32,
        };
        let events = [Event::Begin(call), Event::Return { map: "7:3".to_owned(), code: -1 }];
        let text = format!("{}\n{}\nret", events[0], events[1]);
        assert_eq!(parse(&text).unwrap(), events);
        assert_eq!(parse("nonsense\n"), Err("nonsense".to_owned()));
        assert_eq!(parse("begin 1 7:3\n"), Err("begin 1 7:3".to_owned()));
    }
}
