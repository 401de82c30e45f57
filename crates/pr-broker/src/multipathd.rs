//! multipathd, which registers the paths of a map that come later, and listens to root alone.

use std::{
    fmt, io,
    path::Path,
    time::{Duration, Instant},
};

use pr_device::multipathd::{self, ABSTRACT, PATHNAME, Place, is_late, parse_key};
use pr_multipath::{Multipathd, Untold};
use scsi_persistent_reservations::ReservationKey;

use super::map::Map;

/// How long all that one order takes may take. It answers at once, unless it is looking at a thousand paths.
pub const PATIENCE: Duration = Duration::from_secs(4);

/// No answer to what it is asked is longer; the help text, which is one to what it does not know, may be.
const MAX_ANSWER: usize = 64 * 1024;

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

/// Whether anybody listens on one of multipathd's sockets.
pub fn is_reachable() -> bool {
    Line::open(&mut Place::default(), PATIENCE).is_ok()
}

/// A connection for one order.
struct Line {
    line: multipathd::Line,
    deadline: Instant,
}

impl Line {
    fn open(last: &mut Place, patience: Duration) -> Result<Self, Complaint> {
        let deadline = Instant::now() + patience;
        let line = multipathd::Line::open(last, Path::new(PATHNAME), deadline).map_err(Complaint::Away)?;
        Ok(Self { line, deadline })
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
        let answer = self.line.ask(command, MAX_ANSWER, self.deadline);
        let answer = answer.map_err(|error| Complaint::Silent(command.to_owned(), error))?;
        let line = answer.lines().next().unwrap_or_default().trim_matches(['\0', ' ']);
        Ok(line.chars().filter(|c| !c.is_control()).take(200).collect())
    }
}
