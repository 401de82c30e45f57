//! multipathd, which registers the paths of a map that come later. It is told in its own protocol: the length of a
//! command as a `size_t` of the machine, the command, a NUL; the answer likewise. It listens to root alone.

use std::{
    env, fmt, io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    time::{Duration, Instant},
};

use pr_multipath::{Multipathd, Untold};
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

use super::map::Map;

/// Its socket in the abstract namespace, in every release.
const ABSTRACT: &str = "/org/kernel/linux/storage/multipathd";

/// Its socket with a path, since 0.12.
const PATHNAME: &str = "/run/multipathd.socket";

/// How long all that one order takes may take. It answers at once, unless it is looking at a thousand paths.
pub const PATIENCE: Duration = Duration::from_secs(4);

/// No answer to what it is asked is longer; the help text, which is one to what it does not know, may be.
const MAX_ANSWER: usize = 64 * 1024;

/// How much of an answer is taken at once.
const ROOM: usize = 1024;

/// Its answer to a command that it could not begin with: something else had its maps for longer than `uxsock_timeout`
/// (multipath.conf(5), four seconds).
const NOT_IN_TIME: &str = "timeout";

/// What is wrong with it.
#[derive(Debug)]
enum Complaint {
    /// It cannot be reached.
    Away(io::Error),
    /// It did not answer this command.
    Silent(String, io::Error),
    /// It did not do this.
    Refused(String, String),
    /// It has another key for the map than it was given.
    OtherKey(String),
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(error) => write!(
                f,
                "multipathd cannot be reached ({error}); start it, or in a container make its socket reachable \
                 ({PATHNAME}, or the host's network namespace for @{ABSTRACT}; MULTIPATH_SOCKET_NAME names another)"
            ),
            Self::Silent(command, error) => {
                write!(f, "multipathd does not answer '{command}' ({error}); see its log")
            }
            Self::Refused(command, answer) => write!(
                f,
                "multipathd answers '{command}' with '{answer}'; see its log, 'multipath -ll', and whether it can write \
                 /etc/multipath/prkeys"
            ),
            Self::OtherKey(key) => write!(
                f,
                "multipathd has the key {key} for the map and not the guest's; put 'reservation_key file' into the \
                 defaults section of multipath.conf and run 'multipathd reconfigure'"
            ),
        }
    }
}

impl Complaint {
    /// Whether it was not there, has gone before it answered, or answers nothing now: what was said to it is nobody's
    /// then, or done by half.
    fn is_of_absence(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};

        match self {
            Self::Away(_) => true,
            Self::Silent(_, error) => {
                self.is_of_silence() || matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
            }
            Self::Refused(..) | Self::OtherKey(_) => false,
        }
    }

    /// Whether it was waited for.
    fn is_of_silence(&self) -> bool {
        matches!(self, Self::Away(error) | Self::Silent(_, error) if is_late(error))
    }
}

/// Why an order was not carried out.
pub struct Failure {
    /// What went wrong and what follows from that.
    pub untold: Untold,
    /// It was waited for in vain.
    pub is_silent: bool,
}

/// What is remembered of multipathd from one order to the next.
#[derive(Default)]
pub struct Daemon {
    /// It has no list of paths in its commands: it is older than 0.14.
    knows_no_list: bool,
    place: Place,
}

/// Which of its sockets it was at last.
#[derive(Default)]
struct Place(usize);

impl Daemon {
    /// Gives it an order, which may take so long. Beside a key that it is to give to paths it is told which ones have it, by
    /// their numbers (`8:0`).
    ///
    /// # Errors
    /// It is not known to have done it.
    pub fn tell(
        &mut self,
        map: &Map,
        order: Multipathd,
        registered: &[String],
        patience: Duration,
    ) -> Result<(), Failure> {
        self.try_to_tell(map, order, registered, patience).map_err(|complaint| Failure {
            is_silent: complaint.is_of_silence(),
            untold: Untold {
                again: complaint.is_of_absence(),
                words: format!(
                    "{complaint}; until then only this program looks after paths of map {} that come later",
                    map.name
                ),
            },
        })
    }

    fn try_to_tell(
        &mut self,
        map: &Map,
        order: Multipathd,
        registered: &[String],
        patience: Duration,
    ) -> Result<(), Complaint> {
        let mut line = Line::open(&mut self.place, patience).inspect_err(|_| {
            // Another one may come.
            self.knows_no_list = false;
        })?;
        let map = map.for_multipathd();
        match order {
            Multipathd::Register { key, persist } => {
                let suffix = if persist { ":aptpl" } else { "" };
                line.order(&format!("setprkey map {map} key {:#x}{suffix}", key.0))?;
                // A key in multipath.conf counts more than the one it was given just now.
                let has = line.ask(&format!("getprkey map {map}"))?;
                if parse_key(&has) != Some(key) {
                    return Err(Complaint::OtherKey(has));
                }
                // From 0.13 on it registers the paths of a map that it is to look after, where anybody has the key, and takes
                // the key from them where somebody gives it up meanwhile. Those in the list it leaves alone.
                if !registered.is_empty() && !self.knows_no_list {
                    match line.order(&format!("setprstatus map {map} pathlist \"{}\"", registered.join(" "))) {
                        Err(Complaint::Refused(..)) => self.knows_no_list = true,
                        told => return told,
                    }
                }
                line.order(&format!("setprstatus map {map}"))
            }
            Multipathd::Forget => {
                line.order(&format!("unsetprstatus map {map}"))?;
                line.order(&format!("unsetprkey map {map}"))
            }
            Multipathd::Hold(holds) => {
                // Releases before 0.13 do not know what that is, and answer as if they could not do it.
                line.ask(&format!("{} map {map}", if holds { "setprhold" } else { "unsetprhold" })).map(drop)
            }
        }
    }

    /// The key that it gives to paths of a map that come back, zero for none, if it says so in this time.
    pub fn key_of(&mut self, map: &Map, patience: Duration) -> Option<ReservationKey> {
        let mut line = Line::open(&mut self.place, patience).ok()?;
        let answer = line.ask(&format!("getprkey map {}", map.for_multipathd())).ok()?;
        Some(parse_key(&answer).unwrap_or(ReservationKey::ZERO))
    }
}

/// `0xabc`, and in some releases what was set with it.
fn parse_key(text: &str) -> Option<ReservationKey> {
    let digits = text.split(':').next()?.strip_prefix("0x")?;
    u64::from_str_radix(digits, 16).ok().map(ReservationKey)
}

/// A timeout, which to a socket is what there is not to be had now.
fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Whether anybody listens on one of multipathd's sockets.
pub fn is_reachable() -> bool {
    Line::open(&mut Place::default(), PATIENCE).is_ok()
}

/// A connection.
struct Line {
    socket: OwnedFd,
    deadline: Instant,
    /// What has come and was not taken yet.
    come: Vec<u8>,
}

impl Line {
    fn open(last: &mut Place, patience: Duration) -> Result<Self, Complaint> {
        let deadline = Instant::now() + patience;
        let by_name = env::var_os("MULTIPATH_SOCKET_NAME").filter(|name| !name.is_empty());
        let path = by_name.as_deref().unwrap_or(PATHNAME.as_ref()).as_bytes();
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
                    return Ok(Self { socket, deadline, come: Vec::new() });
                }
                // It is there, and takes no more connections: it has not looked at those before.
                Err(error) if is_late(&error) => return Err(Complaint::Away(io::ErrorKind::TimedOut.into())),
                // The first place is where it was to be.
                Err(error) => first = if number == 0 { Some(error) } else { first.or(Some(error)) },
            }
        }
        Err(Complaint::Away(first.unwrap_or(io::ErrorKind::NotFound.into())))
    }

    /// Has it do something.
    fn order(&mut self, command: &str) -> Result<(), Complaint> {
        match self.ask(command)? {
            answer if answer == "ok" => Ok(()),
            answer => Err(Complaint::Refused(command.to_owned(), answer)),
        }
    }

    /// The first line of its answer to a command.
    fn ask(&mut self, command: &str) -> Result<String, Complaint> {
        match self.converse(command) {
            Ok(answer) if answer == NOT_IN_TIME => {
                Err(Complaint::Silent(command.to_owned(), io::ErrorKind::TimedOut.into()))
            }
            answer => answer.map_err(|error| Complaint::Silent(command.to_owned(), error)),
        }
    }

    fn converse(&mut self, command: &str) -> io::Result<String> {
        self.send(&[&(command.len() + 1).to_ne_bytes(), command.as_bytes(), b"\0"].concat())?;
        let length = usize::from_ne_bytes(self.take(size_of::<usize>())?.try_into().unwrap_or_default());
        if length > MAX_ANSWER {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let answer = self.take(length)?;
        let text = String::from_utf8_lossy(&answer);
        let line = text.lines().next().unwrap_or_default().trim_matches(['\0', ' ']);
        Ok(line.chars().filter(|c| !c.is_control()).take(200).collect())
    }

    fn send(&self, mut rest: &[u8]) -> io::Result<()> {
        while !rest.is_empty() {
            match send(&self.socket, rest, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait_for(PollFlags::OUT)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes so many bytes of what comes.
    fn take(&mut self, wanted: usize) -> io::Result<Vec<u8>> {
        while self.come.len() < wanted {
            self.wait_for(PollFlags::IN)?;
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
    fn wait_for(&self, what: PollFlags) -> io::Result<()> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
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
