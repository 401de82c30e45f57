//! systemd: the socket that it passes, and the notifications that it waits for.

use std::{
    ffi::OsString,
    io,
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use pr_sys::process::adopt;
use rustix::net::{SocketType, getpeername, sockopt::socket_type};
use thiserror::Error;
use tracing::warn;

/// Where descriptors that are passed start (`SD_LISTEN_FDS_START`).
const FIRST: i32 = 3;

/// What is wrong with an activation.
#[derive(Debug, Error)]
pub enum ActivationError {
    /// Two sources for one socket.
    #[error("Unix socket can't be set when using socket activation: drop -k, or start the program without LISTEN_FDS")]
    SocketGiven,
    /// More sockets than one.
    #[error("socket activation hands over LISTEN_FDS={0} sockets, and this program serves one; name one in the unit")]
    TooMany(String),
    /// The descriptor is not there.
    #[error("Socket activation failed: invalid file descriptor fd = {fd}: {error}")]
    Missing {
        /// Its number.
        fd: i32,
        /// What the kernel says.
        error: io::Error,
    },
}

/// The descriptor that was passed to this process; none where the environment is not about it (`LISTEN_PID` names
/// another process, or nothing is passed).
pub fn activation(
    socket_given: bool,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<OwnedFd>, ActivationError> {
    let is_ours = variable("LISTEN_PID").and_then(|pid| pid.parse().ok()) == Some(std::process::id());
    let count = variable("LISTEN_FDS").unwrap_or_default();
    let is_number = count.strip_prefix(['+', '-']).unwrap_or(&count).bytes().all(|byte| byte.is_ascii_digit());
    match (is_ours, count.parse::<i64>()) {
        (false, _) | (_, Ok(0)) => return Ok(None),
        (true, Ok(1)) => {}
        (true, Ok(_)) => return Err(ActivationError::TooMany(count)),
        // A number beyond every integer is too many; anything else is no number and means nothing.
        (true, Err(_)) if is_number && !count.is_empty() => return Err(ActivationError::TooMany(count)),
        (true, Err(_)) => return Ok(None),
    }
    if socket_given {
        return Err(ActivationError::SocketGiven);
    }
    adopt(FIRST).map(Some).map_err(|error| ActivationError::Missing { fd: FIRST, error })
}

/// Whether a descriptor is a socket of this type that is connected.
pub fn is_connection(socket: &OwnedFd, kind: SocketType) -> bool {
    socket_type(socket) == Ok(kind) && getpeername(socket).is_ok()
}

/// The socket of `sd_notify(3)`, opened once at the start: later nothing can be opened.
pub struct Notifier {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Connects to what the environment names. Something that cannot be reached is worth a warning, not a failure.
    pub fn from_environment(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let number = |name: &str| variable(name)?.to_str()?.parse::<u64>().ok();
        let socket = variable("NOTIFY_SOCKET").and_then(|name| match connect(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                warn!(
                    "cannot reach NOTIFY_SOCKET={}: {error}; systemd is not notified that this program is ready",
                    name.display()
                );
                None
            }
        });
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        // Twice as often as systemd wants to hear from us.
        let watchdog =
            number("WATCHDOG_USEC").filter(|usec| ours && *usec > 0).map(|usec| Duration::from_micros(usec / 2));
        Self { watchdog: watchdog.filter(|_| socket.is_some()), socket }
    }

    /// Everything is in place.
    pub fn ready(&self) {
        self.say(&format!("READY=1\nMAINPID={}\nSTATUS=Serving.", std::process::id()));
    }

    /// The shutdown has begun.
    pub fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=Finishing commands.");
    }

    /// Still alive.
    pub fn watchdog(&self) {
        self.say("WATCHDOG=1");
    }

    /// How often [`Notifier::watchdog`] is wanted.
    pub const fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog
    }

    fn say(&self, state: &str) {
        if let Some(socket) = &self.socket {
            // It does not wait; and a word that systemd does not take now will not be missed for long.
            let _ = socket.send(state.as_bytes());
        }
    }
}

fn connect(name: &OsString) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match name.as_bytes() {
        [b'@', name @ ..] => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        _ => socket.connect(name)?,
    }
    Ok(socket)
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    fn with(pid: &str, count: &str, socket_given: bool) -> Result<bool, String> {
        let (pid, count) = (pid.to_owned(), count.to_owned());
        let variable = move |name: &str| Some(if name == "LISTEN_PID" { pid.clone() } else { count.clone() });
        activation(socket_given, variable).map(|listener| listener.is_some()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_environment_that_speaks_to_another_process_or_of_no_socket_is_ignored() {
        let own = std::process::id().to_string();
        for (pid, count) in [("1", "1"), ("junk", "1"), ("", "1"), (own.as_str(), "0"), (&own, "junk"), (&own, "")] {
            assert_eq!(with(pid, count, true), Ok(false), "LISTEN_PID={pid} LISTEN_FDS={count}");
        }
    }

    #[test]
    fn more_than_one_socket_is_refused_however_the_number_is_written() {
        let own = std::process::id().to_string();
        for count in ["2", "4294967296", "99999999999999999999999", "-1", "-99999999999999999999999"] {
            assert!(with(&own, count, false).is_err_and(|error| error.contains(count)), "LISTEN_FDS={count}");
        }
    }

    #[test]
    fn a_socket_by_option_and_by_activation_is_one_too_many() {
        let own = std::process::id().to_string();
        assert!(with(&own, "1", true).is_err_and(|error| error.contains("-k")));
    }
}
