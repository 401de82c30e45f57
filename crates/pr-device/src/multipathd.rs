//! multipathd's protocol: the length of a command as a `size_t` of the machine, the command, a NUL; the answer likewise. What
//! is to be said to it is the caller's business.

use std::{
    env, io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    buffer::spare_capacity,
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, send, socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
};
use scsi_persistent_reservations::ReservationKey;

/// Its socket in the abstract namespace, in every release.
pub const ABSTRACT: &str = "/org/kernel/linux/storage/multipathd";

/// Its socket with a path, since 0.12.
pub const PATHNAME: &str = "/run/multipathd.socket";

/// Its answer to a command that it could not begin with: something else had its maps for longer than `uxsock_timeout`
/// (multipath.conf(5), four seconds).
const NOT_IN_TIME: &str = "timeout";

/// How much of an answer is taken at once.
const ROOM: usize = 1024;

/// Which of its sockets it was at last.
#[derive(Default)]
pub struct Place(usize);

/// A connection.
pub struct Line {
    socket: OwnedFd,
    /// What has come and was not taken yet.
    come: Vec<u8>,
}

impl Line {
    /// Connects, first to where it was last. Its socket with a path is at `pathname`, unless the environment says otherwise.
    ///
    /// # Errors
    /// The first place's error, or [`io::ErrorKind::TimedOut`]: it is there, and takes no connections.
    pub fn open(last: &mut Place, pathname: &Path, deadline: Instant) -> io::Result<Self> {
        let by_name = env::var_os("MULTIPATH_SOCKET_NAME").filter(|name| !name.is_empty());
        let path = by_name.as_deref().unwrap_or(pathname.as_os_str()).as_bytes();
        let abstract_name = path.strip_prefix(b"@").unwrap_or(path);
        let mut places = [
            (0, SocketAddrUnix::new(path)),
            (1, SocketAddrUnix::new_abstract_name(abstract_name)),
            (2, SocketAddrUnix::new_abstract_name(ABSTRACT.as_bytes())),
        ];
        places.sort_by_key(|(number, _)| *number != last.0);
        let mut first = None;
        for (number, place) in places {
            match place.map_err(io::Error::from).and_then(|place| connect_to(&place, deadline)) {
                Ok(socket) => {
                    last.0 = number;
                    return Ok(Self { socket, come: Vec::new() });
                }
                // It is there, and takes no more connections: it has not looked at those before.
                Err(error) if is_late(&error) => return Err(io::ErrorKind::TimedOut.into()),
                // The first place is where it was to be.
                Err(error) => first = if number == 0 { Some(error) } else { first.or(Some(error)) },
            }
        }
        Err(first.unwrap_or(io::ErrorKind::NotFound.into()))
    }

    /// Its answer to a command, of so many bytes at the most, without what is blank at its end.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`]: it did not answer by the deadline, or says that it did not come to the command;
    /// [`io::ErrorKind::InvalidData`]: the answer is longer; any other error of the connection.
    pub fn ask(&mut self, command: &str, longest: usize, deadline: Instant) -> io::Result<String> {
        self.send(&[&(command.len() + 1).to_ne_bytes(), command.as_bytes(), b"\0"].concat(), deadline)?;
        let length = usize::from_ne_bytes(self.take(size_of::<usize>(), deadline)?.try_into().unwrap_or_default());
        if length > longest {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let answer = self.take(length, deadline)?;
        match String::from_utf8_lossy(&answer).trim_end_matches(['\0', ' ', '\n']) {
            NOT_IN_TIME => Err(io::ErrorKind::TimedOut.into()),
            text => Ok(text.to_owned()),
        }
    }

    fn send(&self, mut rest: &[u8], deadline: Instant) -> io::Result<()> {
        while !rest.is_empty() {
            match send(&self.socket, rest, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait_for(PollFlags::OUT, deadline)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes so many bytes of what comes.
    fn take(&mut self, wanted: usize, deadline: Instant) -> io::Result<Vec<u8>> {
        while self.come.len() < wanted {
            self.wait_for(PollFlags::IN, deadline)?;
            self.come.reserve(ROOM);
            match recv(&self.socket, spare_capacity(&mut self.come), RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let rest = self.come.split_off(wanted);
        Ok(std::mem::replace(&mut self.come, rest))
    }

    /// Waits as long as there is time.
    fn wait_for(&self, what: PollFlags, deadline: Instant) -> io::Result<()> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match poll(&mut [PollFd::new(&self.socket, what)], Timespec::try_from(left).ok().as_ref()) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn connect_to(place: &SocketAddrUnix, deadline: Instant) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // One that accepts no connections any more would be waited for without an end.
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    set_socket_timeout(&socket, Timeout::Send, Some(left))?;
    connect(&socket, place)?;
    Ok(socket)
}

/// Whether an error is a timeout, which to a socket is what there is not to be had now.
pub fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// A key as it tells one: `0xabc`, and in some releases what was set with it; `None` for anything else, such as `none`.
pub fn parse_key(text: &str) -> Option<ReservationKey> {
    let digits = text.split(':').next()?.strip_prefix("0x")?;
    u64::from_str_radix(digits, 16).ok().map(ReservationKey)
}

/// A map as its commands have it: a name with a blank would be two words, so that such a map goes by the kernel's name.
pub fn map_word<'a>(name: &'a str, kernel_name: &'a str) -> &'a str {
    let is_of_a_word = |c: char| c.is_ascii_alphanumeric() || "._+:-".contains(c);
    if !name.is_empty() && name.chars().all(is_of_a_word) { name } else { kernel_name }
}
