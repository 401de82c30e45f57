//! multipathd, asked and told nothing.

use std::{
    io,
    time::{Duration, Instant},
};

use pr_device::multipathd::{Line, PATHNAME, Place, parse_key};
use scsi_persistent_reservations::ReservationKey;

use super::host::Host;

/// More than the configuration of a host that lists each of a thousand maps.
const MAX_ANSWER: usize = 4 << 20;

/// Its answer to users other than root.
const ROOT_ALONE: &str = "permission deny";

/// A connection.
pub struct Multipathd {
    line: Line,
    patience: Duration,
}

impl Multipathd {
    /// Connects to it.
    pub fn open(host: &Host, patience: Duration) -> io::Result<Self> {
        let line = Line::open(&mut Place::default(), &host.path(PATHNAME), Instant::now() + patience)?;
        Ok(Self { line, patience })
    }

    /// Its answer to a command, without blanks around it.
    pub fn ask(&mut self, command: &str) -> io::Result<String> {
        let answer = self.line.ask(command, MAX_ANSWER, Instant::now() + self.patience)?;
        match answer.trim_start() {
            text if text.starts_with(ROOT_ALONE) => Err(io::ErrorKind::PermissionDenied.into()),
            text => Ok(text.to_owned()),
        }
    }

    /// The key that it gives to paths of a map that come back.
    pub fn key_of(&mut self, map: &str) -> io::Result<Option<ReservationKey>> {
        Ok(parse_key(&self.ask(&format!("getprkey map {map}"))?))
    }

    /// Whether it registers paths of a map that come back (`getprstatus`), or remembers that the map holds a reservation
    /// (`getprhold`, since 0.13); `None` where it does not know.
    pub fn is_set(&mut self, question: &str, map: &str) -> io::Result<Option<bool>> {
        let answer = self.ask(&format!("{question} map {map}"))?;
        Ok(match answer.as_str() {
            // Releases before 0.9.5 answer with a number.
            "set" | "1" => Some(true),
            "unset" | "0" => Some(false),
            _ => None,
        })
    }
}

/// A `reservation_key` in a configuration as `show config` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredKey {
    /// The section that it is in.
    pub section: String,
    /// `file`, or a number.
    pub value: String,
}

/// Every `reservation_key` of a configuration.
pub fn configured_keys(config: &str) -> Vec<ConfiguredKey> {
    let (mut section, mut depth, mut keys) = (String::new(), 0_usize, Vec::new());
    for line in config.lines() {
        let mut words = line.split_whitespace();
        let Some(first) = words.next() else { continue };
        if first == "reservation_key" {
            let value = words.next().unwrap_or_default().trim_matches('"').to_owned();
            keys.push(ConfiguredKey { section: section.clone(), value });
        } else if line.trim_end().ends_with('{') {
            if depth == 0 {
                first.clone_into(&mut section);
            }
            depth += 1;
        } else if first == "}" {
            depth = depth.saturating_sub(1);
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_in_their_sections() {
        let config = "defaults {\n\tverbosity 2\n\treservation_key \"file\"\n}\nblacklist {\n\tdevice {\n\t\tvendor \"X\"\n\t}\n}\n\
                      multipaths {\n\tmultipath {\n\t\twwid \"36001\"\n\t\treservation_key 0xabc\n\t}\n}\n";
        let key = |section: &str, value: &str| ConfiguredKey { section: section.into(), value: value.into() };
        assert_eq!(configured_keys(config), [key("defaults", "file"), key("multipaths", "0xabc")]);
        assert_eq!(configured_keys("defaults {\n}\n"), []);
    }
}
