//! multipathd, asked and told nothing. Its protocol: the length of a command as a `size_t` of the machine, the command, a
//! NUL; the answer likewise.

use std::{
    env, io,
    os::unix::{ffi::OsStrExt as _, net::UnixStream},
    time::{Duration, Instant},
};

use pr_control::deadline;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with,
    sockopt::{Timeout, set_socket_timeout},
};
use scsi_persistent_reservations::ReservationKey;

use super::host::Host;

/// Its socket in the abstract name space, in every release.
const ABSTRACT: &str = "/org/kernel/linux/storage/multipathd";

/// Its socket with a path, since 0.12.
const PATHNAME: &str = "/run/multipathd.socket";

/// More than the configuration of a host that lists each of a thousand maps.
const MAX_ANSWER: usize = 4 << 20;

/// Its answer to a command that it could not begin with in its own time: something else has its maps.
const NOT_IN_TIME: &str = "timeout";

/// Its answer to users other than root.
const ROOT_ALONE: &str = "permission deny";

/// A connection.
pub struct Multipathd {
    socket: UnixStream,
    patience: Duration,
}

impl Multipathd {
    /// Connects to it.
    pub fn open(host: &Host, patience: Duration) -> io::Result<Self> {
        let by_name = env::var_os("MULTIPATH_SOCKET_NAME").filter(|name| !name.is_empty());
        let path = host.path(PATHNAME);
        let path = by_name.as_deref().unwrap_or(path.as_os_str()).as_bytes();
        let places = [
            SocketAddrUnix::new(path),
            SocketAddrUnix::new_abstract_name(path.strip_prefix(b"@").unwrap_or(path)),
            SocketAddrUnix::new_abstract_name(ABSTRACT.as_bytes()),
        ];
        let mut first = None;
        for place in places {
            match place.map_err(io::Error::from).and_then(|place| connected(&place, patience)) {
                Ok(socket) => return Ok(Self { socket, patience }),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
    }

    /// Its answer to a command, without blanks around it.
    pub fn ask(&mut self, command: &str) -> io::Result<String> {
        let deadline = Instant::now() + self.patience;
        let question = [&(command.len() + 1).to_ne_bytes(), command.as_bytes(), b"\0"].concat();
        deadline::write(&self.socket, &question, deadline).map_err(in_time)?;
        let mut length = [0; size_of::<usize>()];
        self.fill(&mut length, deadline)?;
        let length = usize::from_ne_bytes(length);
        if length > MAX_ANSWER {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut answer = vec![0; length];
        self.fill(&mut answer, deadline)?;
        let text = String::from_utf8_lossy(&answer);
        match text.trim_matches(['\0', ' ', '\n']) {
            NOT_IN_TIME => Err(io::ErrorKind::TimedOut.into()),
            text if text.starts_with(ROOT_ALONE) => Err(io::ErrorKind::PermissionDenied.into()),
            text => Ok(text.to_owned()),
        }
    }

    /// The key that it gives to paths of a map that come back.
    pub fn key_of(&mut self, map: &str) -> io::Result<Option<ReservationKey>> {
        // `0xabc`, and in some releases what was set with it; `none`.
        let answer = self.ask(&format!("getprkey map {map}"))?;
        let digits = answer.split(':').next().and_then(|key| key.strip_prefix("0x"));
        Ok(digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).map(ReservationKey))
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

    /// Fills all of it.
    fn fill(&self, mut room: &mut [u8], deadline: Instant) -> io::Result<()> {
        while !room.is_empty() {
            match deadline::read(&self.socket, room, deadline).map_err(in_time)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => room = &mut room[length..],
            }
        }
        Ok(())
    }
}

/// A socket's timeout is what there is not to be had now.
fn in_time(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

fn connected(place: &SocketAddrUnix, patience: Duration) -> io::Result<UnixStream> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // One that accepts no connections any more would be waited for without an end.
    set_socket_timeout(&socket, Timeout::Send, Some(patience))?;
    connect(&socket, place)?;
    Ok(socket.into())
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
