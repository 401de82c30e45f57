//! systemd's side channels: the socket it hands over, and the words it waits for.

use std::{
    ffi::OsString,
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketType, getpeername, sendmsg, sockopt::socket_type,
    },
    pipe::{PipeFlags, pipe_with},
};
use thiserror::Error;
use tracing::warn;

use crate::sys::process::adopt;

/// Where descriptors that are handed over start (`SD_LISTEN_FDS_START`).
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

/// What was handed to this process.
#[derive(Debug, Default)]
pub struct Activated {
    /// The socket that listens.
    pub listener: Option<OwnedFd>,
    /// Clients of the process before this one.
    pub clients: Vec<Kept>,
}

/// A client that systemd keeps while nobody serves it.
#[derive(Debug)]
pub struct Kept {
    /// Its connection.
    pub socket: OwnedFd,
    /// Whether the feature words have been exchanged; if not, ours is sent.
    pub has_negotiated: bool,
}

/// What systemd calls such clients (`FDNAME`).
const NEGOTIATED: &str = "qemu-pr-client";
const GREETED: &str = "qemu-pr-greeted";

/// What was handed to this process; nothing where the environment does not speak to it (`LISTEN_PID` names another
/// process, or nothing is handed over).
pub fn activation(socket_given: bool, variable: impl Fn(&str) -> Option<String>) -> Result<Activated, ActivationError> {
    let is_ours = variable("LISTEN_PID").and_then(|pid| pid.parse().ok()) == Some(std::process::id());
    let count = variable("LISTEN_FDS").unwrap_or_default();
    let is_number = count.strip_prefix(['+', '-']).unwrap_or(&count).bytes().all(|byte| byte.is_ascii_digit());
    let total = match (is_ours, count.parse::<i64>()) {
        (false, _) | (_, Ok(0)) => return Ok(Activated::default()),
        (true, Ok(total)) => usize::try_from(total).map_err(|_| ActivationError::TooMany(count.clone()))?,
        // A number beyond every integer is too many; anything else is no number and means nothing.
        (true, Err(_)) if is_number && !count.is_empty() => return Err(ActivationError::TooMany(count)),
        (true, Err(_)) => return Ok(Activated::default()),
    };
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let mut names: Vec<&str> = names.split(':').take(total).collect();
    // Whatever has another name, or none, is for listening.
    let is_client = |name: &&str| [NEGOTIATED, GREETED].contains(name);
    match total - names.iter().filter(|name| is_client(name)).count() {
        0 => {}
        1 if socket_given => return Err(ActivationError::SocketGiven),
        1 => names.resize(total, ""),
        _ => return Err(ActivationError::TooMany(count)),
    }
    let mut activated = Activated::default();
    for (fd, name) in (FIRST..).zip(names) {
        let socket = adopt(fd).map_err(|error| ActivationError::Missing { fd, error })?;
        if is_client(&name) {
            // One that has gone meanwhile is of no interest.
            if is_connection(&socket, SocketType::STREAM) {
                activated.clients.push(Kept { socket, has_negotiated: name == NEGOTIATED });
            }
        } else {
            activated.listener = Some(socket);
        }
    }
    Ok(activated)
}

/// Whether a descriptor is a connection of this kind, with somebody at its other end.
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
                warn!("cannot reach NOTIFY_SOCKET={}: {error}; nobody is told that this is ready", name.display());
                None
            }
        });
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        // Twice as often as systemd wants to hear from us.
        let watchdog =
            number("WATCHDOG_USEC").filter(|usec| ours && *usec > 0).map(|usec| Duration::from_micros(usec / 2));
        Self { watchdog: watchdog.filter(|_| socket.is_some()), socket }
    }

    /// Whether there is anybody to talk to.
    pub const fn is_connected(&self) -> bool {
        self.socket.is_some()
    }

    /// Everything is in place.
    pub fn ready(&self) {
        self.say(&format!("READY=1\nMAINPID={}\nSTATUS=Serving.", std::process::id()));
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=Finishing commands.");
    }

    /// Still alive.
    pub fn watchdog(&self) {
        self.say("WATCHDOG=1");
    }

    /// Gives clients to systemd, which hands them to the next process of this unit.
    ///
    /// # Errors
    /// systemd does not take them, or does not say so in time.
    pub fn keep(&self, clients: &[Kept]) -> io::Result<()> {
        let socket = self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        for (name, has_negotiated) in [(NEGOTIATED, true), (GREETED, false)] {
            let state = format!("FDSTORE=1\nFDNAME={name}");
            let of_name = clients.iter().filter(|client| client.has_negotiated == has_negotiated);
            let sockets: Vec<BorrowedFd<'_>> = of_name.map(|client| client.socket.as_fd()).collect();
            for sockets in sockets.chunks(AT_ONCE) {
                send_with(socket, state.as_bytes(), sockets)?;
            }
        }
        // systemd has read all of that when it closes its end of the pipe (`sd_notify_barrier(3)`).
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        send_with(socket, b"BARRIER=1", &[write.as_fd()])?;
        drop(write);
        wait_for(&read, PollFlags::empty())
    }

    /// systemd has handed over whom it kept, and lets go of them: while it has them open too, nobody can hang up.
    pub fn taken_over(&self) {
        for name in [NEGOTIATED, GREETED] {
            self.say(&format!("FDSTOREREMOVE=1\nFDNAME={name}"));
        }
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

/// How many descriptors go into one message; the kernel takes 253 (`SCM_MAX_FD`).
const AT_ONCE: usize = 64;

/// How long systemd may take for a message.
const PATIENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// Sends a message that must arrive.
fn send_with(socket: &UnixDatagram, state: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
    loop {
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(descriptors));
        match sendmsg(socket, &[IoSlice::new(state)], &mut control, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_for(socket, PollFlags::OUT)?,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until something is so, or the other side has gone.
fn wait_for(fd: impl AsFd, what: PollFlags) -> io::Result<()> {
    loop {
        match poll(&mut [PollFd::new(&fd, what)], Some(&PATIENCE)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
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
        activation(socket_given, variable)
            .map(|activated| activated.listener.is_some())
            .map_err(|error| error.to_string())
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
