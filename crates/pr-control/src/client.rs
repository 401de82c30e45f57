//! The asking side.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use thiserror::Error;

use crate::{
    protocol::{Answer, Ask},
    record::Record,
    snapshot::Snapshot,
};

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
    #[error("there is no control socket {}; start the helper with --control {}", .0.display(), .0.display())]
    NoSocket(PathBuf),
    /// A socket, and nobody behind it.
    #[error("nobody listens at the control socket {}; is the helper running?", .0.display())]
    NobodyListens(PathBuf),
    /// The socket's permissions.
    #[error("no permission for the control socket {}; it is for root and its group (--control-group)", .0.display())]
    NoPermission(PathBuf),
    /// Anything else with the connection.
    #[error("the control socket {}: {error}", .path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The answer is none.
    #[error("the control socket {} answered something else than a helper does: {line}", .path.display())]
    Senseless {
        /// The socket.
        path: PathBuf,
        /// What came.
        line: String,
    },
    /// The helper says no.
    #[error("{0}")]
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

    /// The audit trail from now on.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn follow(&self) -> Result<Follow, ControlError> {
        let mut lines = self.send(&Ask::Log)?;
        match self.read(&mut lines)? {
            Some(Answer::Following) => {}
            Some(Answer::Failed { reason }) => return Err(ControlError::Refused(reason)),
            answer => return Err(self.senseless(&format!("{answer:?}"))),
        }
        // Nobody knows when the next record comes.
        lines.get_ref().set_read_timeout(None).map_err(|error| self.broken(error))?;
        Ok(Follow { control: self.clone(), lines })
    }

    fn ask(&self, ask: &Ask) -> Result<Answer, ControlError> {
        match self.read(&mut self.send(ask)?)? {
            Some(Answer::Failed { reason }) => Err(ControlError::Refused(reason)),
            Some(answer) => Ok(answer),
            None => Err(self.broken(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    fn send(&self, ask: &Ask) -> Result<BufReader<UnixStream>, ControlError> {
        let mut line = serde_json::to_vec(ask).map_err(|error| self.broken(error.into()))?;
        line.push(b'\n');
        let socket = UnixStream::connect(&self.path).map_err(|error| self.broken(error))?;
        let sent = socket
            .set_read_timeout(Some(self.timeout))
            .and_then(|()| socket.set_write_timeout(Some(self.timeout)))
            .and_then(|()| (&socket).write_all(&line));
        sent.map_err(|error| self.broken(error))?;
        Ok(BufReader::new(socket))
    }

    /// The next answer; `None` at the end.
    fn read(&self, lines: &mut BufReader<UnixStream>) -> Result<Option<Answer>, ControlError> {
        let mut line = String::new();
        match lines.read_line(&mut line) {
            Ok(0) => Ok(None),
            Ok(_) => serde_json::from_str(&line).map(Some).map_err(|_| self.senseless(line.trim_end())),
            Err(error) => Err(self.broken(error)),
        }
    }

    fn broken(&self, error: io::Error) -> ControlError {
        let path = self.path.clone();
        match error.kind() {
            io::ErrorKind::NotFound => ControlError::NoSocket(path),
            io::ErrorKind::ConnectionRefused => ControlError::NobodyListens(path),
            io::ErrorKind::PermissionDenied => ControlError::NoPermission(path),
            _ => ControlError::Broken { path, error },
        }
    }

    fn senseless(&self, line: &str) -> ControlError {
        ControlError::Senseless { path: self.path.clone(), line: line.chars().take(200).collect() }
    }
}

/// An audit trail that is being followed.
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
        match self.control.read(&mut self.lines) {
            Ok(None) => None,
            Ok(Some(Answer::Record(record))) => Some(Ok(Told::Record(record))),
            Ok(Some(Answer::Lost { count })) => Some(Ok(Told::Lost(count))),
            Ok(Some(answer)) => Some(Err(self.control.senseless(&format!("{answer:?}")))),
            Err(error) => Some(Err(error)),
        }
    }
}
