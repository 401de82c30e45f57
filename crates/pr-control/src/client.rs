//! The asking side.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    os::unix::{fs::FileTypeExt, net::UnixStream},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt};
use thiserror::Error;

use crate::{
    protocol::{Answer, Ask},
    record::Record,
    snapshot::Snapshot,
};

/// The longest answer, in bytes: more than the state of a helper with all the connections that a system can have.
const MAX_ANSWER: usize = 64 << 20;

/// A way to one helper's control socket. Each question is a connection of its own.
#[derive(Clone, Debug)]
pub struct Control {
    path: PathBuf,
    timeout: Duration,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ControlError {
    /// There is no socket.
    #[error("cannot connect to the control socket {}: No such file or directory; start the helper with --control {}", .0.display(), .0.display())]
    NoSocket(PathBuf),
    /// Something else.
    #[error("cannot connect to the control socket {}: not a socket; give the helper's control socket with --control", .0.display())]
    NotASocket(PathBuf),
    /// A socket, and nobody behind it.
    #[error("cannot connect to the control socket {}: Connection refused; start the helper again", .0.display())]
    NobodyListens(PathBuf),
    /// The socket's permissions.
    #[error("cannot connect to the control socket {}: Permission denied; run as root or as a member of its group (--control-group)", .0.display())]
    NoPermission(PathBuf),
    /// The helper is too busy, stopped, or another program.
    #[error("no answer at the control socket {} within {timeout:?}; see the log of the helper", .path.display())]
    TimedOut {
        /// The socket.
        path: PathBuf,
        /// How long it had.
        timeout: Duration,
    },
    /// The helper ended, or has too many who ask.
    #[error("the helper at the control socket {} closed the connection before it answered; it may be shutting down", .0.display())]
    HungUp(PathBuf),
    /// A directory without a socket.
    #[error("no control socket in {}; give another directory, or a socket, with --control", .0.display())]
    NoneThere(PathBuf),
    /// A directory with several.
    #[error("several control sockets in {}; choose one with --control: {names}", .directory.display())]
    Several {
        /// The directory.
        directory: PathBuf,
        /// What they are called there.
        names: String,
    },
    /// A directory that cannot be read.
    #[error("cannot list the control sockets in {}: {error}; give the socket with --control", .directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Anything else with the connection.
    #[error("connection to the control socket {} failed: {error}", .path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The answer is none.
    #[error("invalid answer at the control socket {}: {line}", .path.display())]
    Senseless {
        /// The socket.
        path: PathBuf,
        /// What came.
        line: String,
    },
    /// The helper says no.
    #[error("{}", if .0.is_empty() { "the helper refused without a reason" } else { .0 })]
    Refused(String),
}

impl Control {
    /// The helper whose control socket is at `path`; it has `timeout` to answer.
    pub fn new(path: impl Into<PathBuf>, timeout: Duration) -> Self {
        Self { path: path.into(), timeout }
    }

    /// The path of the socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The helper's state.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn snapshot(&self) -> Result<Snapshot, ControlError> {
        match self.ask(&Ask::Snapshot)? {
            Answer::Snapshot(snapshot) => Ok(*snapshot),
            answer => Err(self.senseless(&format!("{answer:?}"))),
        }
    }

    /// Something to be done; what was odd about it.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn order(&self, ask: &Ask) -> Result<Vec<String>, ControlError> {
        match self.ask(ask)? {
            Answer::Done { warnings } => Ok(warnings),
            answer => Err(self.senseless(&format!("{answer:?}"))),
        }
    }

    /// The audit log from now on.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn follow(&self) -> Result<Follow, ControlError> {
        let mut lines = self.send(&Ask::Log)?;
        match self.read(&mut lines, self.deadline())? {
            Some(Answer::Following) => {}
            Some(Answer::Failed { reason }) => return Err(ControlError::Refused(reason)),
            Some(answer) => return Err(self.senseless(&format!("{answer:?}"))),
            None => return Err(ControlError::HungUp(self.path.clone())),
        }
        // Nobody knows when the next record comes.
        lines.get_ref().set_read_timeout(None).map_err(|error| self.broken(error))?;
        Ok(Follow { control: self.clone(), lines })
    }

    fn ask(&self, ask: &Ask) -> Result<Answer, ControlError> {
        let deadline = self.deadline();
        match self.read(&mut self.send(ask)?, deadline)? {
            Some(Answer::Failed { reason }) => Err(ControlError::Refused(reason)),
            Some(answer) => Ok(answer),
            None => Err(ControlError::HungUp(self.path.clone())),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        Instant::now().checked_add(self.timeout)
    }

    fn send(&self, ask: &Ask) -> Result<BufReader<UnixStream>, ControlError> {
        let mut line = serde_json::to_vec(ask).map_err(|error| self.broken(error.into()))?;
        line.push(b'\n');
        let mut socket = self.connected().map_err(|error| self.broken(error))?;
        match socket.write_all(&line) {
            // Whoever hangs up at once may have said why.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(self.broken(error)),
            _ => Ok(BufReader::new(socket)),
        }
    }

    /// A connection on which every wait has an end, that for being connected at all included.
    fn connected(&self) -> io::Result<UnixStream> {
        let address = SocketAddrUnix::new(&self.path)?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        for wait in [sockopt::Timeout::Send, sockopt::Timeout::Recv] {
            sockopt::set_socket_timeout(&socket, wait, Some(self.timeout))?;
        }
        connect(&socket, &address)?;
        Ok(socket.into())
    }

    /// The next answer; `None` at the end.
    fn read(
        &self,
        lines: &mut BufReader<UnixStream>,
        deadline: Option<Instant>,
    ) -> Result<Option<Answer>, ControlError> {
        let mut line = Vec::new();
        loop {
            if let Some(deadline) = deadline {
                // Zero would be no timeout at all.
                let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
                lines.get_ref().set_read_timeout(Some(left)).map_err(|error| self.broken(error))?;
            }
            let some = match lines.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // It has hung up with something of ours unread.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => &[],
                Err(error) => return Err(self.broken(error)),
                Ok(some) => some,
            };
            if some.is_empty() {
                // What is cut off is no answer.
                return if line.is_empty() { Ok(None) } else { Err(ControlError::HungUp(self.path.clone())) };
            }
            let end = some.iter().position(|byte| *byte == b'\n');
            let length = end.map_or(some.len(), |end| end + 1);
            line.extend_from_slice(some.get(..length).unwrap_or_default());
            lines.consume(length);
            if end.is_some() {
                return match serde_json::from_slice(&line) {
                    Ok(answer) => Ok(Some(answer)),
                    Err(_) => Err(self.senseless(String::from_utf8_lossy(&line).trim_end())),
                };
            }
            if line.len() > MAX_ANSWER {
                return Err(self.senseless(&String::from_utf8_lossy(line.get(..200).unwrap_or_default())));
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Err(ControlError::TimedOut { path: self.path.clone(), timeout: self.timeout });
            }
        }
    }

    fn broken(&self, error: io::Error) -> ControlError {
        let path = self.path.clone();
        match error.kind() {
            io::ErrorKind::NotFound => ControlError::NoSocket(path),
            io::ErrorKind::ConnectionRefused => match fs::metadata(&path) {
                Ok(file) if !file.file_type().is_socket() => ControlError::NotASocket(path),
                _ => ControlError::NobodyListens(path),
            },
            io::ErrorKind::PermissionDenied => ControlError::NoPermission(path),
            io::ErrorKind::WouldBlock => ControlError::TimedOut { path, timeout: self.timeout },
            _ => ControlError::Broken { path, error },
        }
    }

    fn senseless(&self, line: &str) -> ControlError {
        ControlError::Senseless { path: self.path.clone(), line: line.chars().take(200).collect() }
    }
}

/// An audit log that is being followed.
#[derive(Debug)]
pub struct Follow {
    control: Control,
    lines: BufReader<UnixStream>,
}

/// One thing of a trail that is being followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A record.
    Record(Box<Record>),
    /// So many records are missing here, because this side read too slowly.
    Lost(u64),
}

/// Ends when the helper does.
impl Iterator for Follow {
    type Item = Result<Told, ControlError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.control.read(&mut self.lines, None) {
            Ok(None) => None,
            Ok(Some(Answer::Record(record))) => Some(Ok(Told::Record(record))),
            Ok(Some(Answer::Lost { count })) => Some(Ok(Told::Lost(count))),
            Ok(Some(answer)) => Some(Err(self.control.senseless(&format!("{answer:?}")))),
            Err(error) => Some(Err(error)),
        }
    }
}
