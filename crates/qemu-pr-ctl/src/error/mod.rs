//! What can go wrong, in sentences: the thing, the reason, the hint.

pub mod exit;
mod hint;

use std::{
    fmt, fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};

use pr_control::ControlError;
use qemu_pr_protocol::ReplyError;
use scsi_persistent_reservations::{OutAction, SenseCode, Status};

use crate::request::{Access, Action};

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "cannot connect to {}: No such file or directory; start the helper (systemctl start qemu-pr-helper), or give \
         its socket with --socket", .0.display()
    )]
    NoSocket(PathBuf),
    #[error("cannot connect to {}: not a socket; give the helper's socket with --socket", .0.display())]
    NotASocket(PathBuf),
    #[error(
        "cannot connect to {}: Connection refused; no process listens there: start the helper again (systemctl \
         restart qemu-pr-helper)", .0.display()
    )]
    ConnectionRefused(PathBuf),
    #[error(
        "cannot connect to {}{owner}: Permission denied; run as a user who may write to the socket and search its \
         directory, such as root, or start the helper with --socket-group and --socket-mode", .path.display()
    )]
    NoPermission { path: PathBuf, owner: String },
    #[error("cannot connect to {}: {error}", .path.display())]
    Connect { path: PathBuf, error: io::Error },
    #[error("the helper at {} closed the connection {}", .socket.display(), .phase.closed())]
    Closed { socket: PathBuf, phase: Phase },
    #[error("the helper at {} did not {} within {timeout:?}; {}", .socket.display(), .phase.verb(), .phase.waited())]
    TimedOut { socket: PathBuf, timeout: Duration, phase: Phase },
    #[error("connection to the helper at {} failed: {error}; try again", .socket.display())]
    Broken { socket: PathBuf, error: io::Error },
    #[error("invalid answer from {}: {what}; check that qemu-pr-helper listens there", .socket.display())]
    Malformed { socket: PathBuf, what: ReplyError },
    #[error("cannot open {}: No such file or directory; lsblk lists the disks", .0.display())]
    NoDevice(PathBuf),
    #[error("cannot open {} {}: Permission denied; run as root, or as a member of the device's group", .path.display(), .access)]
    DeviceDenied { path: PathBuf, access: Access },
    #[error("cannot open {} {access}: {error}", .path.display())]
    Device { path: PathBuf, access: Access, error: io::Error },
    #[error("{} refused {action}: {}{}", .device.display(), answer(*.status, *.sense), hint(*.action, *.status, *.sense))]
    Refused { device: PathBuf, action: Action, status: Status, sense: Option<SenseCode> },
    #[error(
        "the answer of {} to {action} has {length} bytes, which is too short; check that the device supports \
         persistent reservations", .device.display()
    )]
    TooShort { device: PathBuf, action: Action, length: usize },
    #[error("cannot send the command to {}: Operation not permitted; run as root, or without --direct", .0.display())]
    CommandDenied(PathBuf),
    #[error("{} is a device, and --as is for ordinary files that a helper simulates disks with; omit --as", .0.display())]
    NotSimulated(PathBuf),
    #[error("cannot act as another initiator with {}: {error}; put the file on another file system", .device.display())]
    NotNamed { device: PathBuf, error: io::Error },
    #[error("{} is not a SCSI disk: it does not support SG_IO; lsblk -o NAME,TRAN lists the disks", .0.display())]
    NotScsi(PathBuf),
    #[error(
        "no answer from {}: {reason}; see dmesg. The command may have been carried out: see 'qemu-pr-ctl status'",
        .device.display()
    )]
    Lost { device: PathBuf, reason: String },
    #[error("{}: {}, so {action} was not sent; confirm with --yes", .device.display(), Registered(*.others))]
    NotConfirmed { device: PathBuf, action: OutAction, others: usize },
    #[error("cannot listen on {}: {error}; choose another path with --socket", .path.display())]
    Listen { path: PathBuf, error: io::Error },
    #[error("{} is in use (registrations: {registrations}){stale}; --force removes all of them", .device.display())]
    InUse { device: PathBuf, registrations: usize, stale: String },
    #[error(
        "{} and {} are different disks: a registration on one is not visible on the other", .device.display(),
        .second.display()
    )]
    OtherDisk { device: PathBuf, second: PathBuf },
    #[error(
        "{} and {} are the same initiator to the disk; for --second use another host adapter or iSCSI session",
        .device.display(), .second.display()
    )]
    SameInitiator { device: PathBuf, second: PathBuf },
    #[error(
        "{} and {} are two initiator ports ({ports}), and the disk has one registration for both: it registers hosts; \
         for --second use the disk by another host's port", .device.display(), .second.display()
    )]
    RegistersHosts { device: PathBuf, second: PathBuf, ports: String },
    #[error(
        "cannot clean up {}: {reason}; the keys {keys} may still be registered: see 'qemu-pr-ctl keys'",
        .device.display()
    )]
    NotCleaned { device: PathBuf, keys: String, reason: String, exit: u8 },
    #[error("cannot create threads for {connections} connections: {error}; measure fewer with --connections")]
    NoThread { connections: usize, error: io::Error },
    #[error("no block was read: {} reports a block length of {length} bytes", .device.display())]
    NoBlock { device: PathBuf, length: usize },
    #[error("no block to write back: none has been read since the last change")]
    NotRead,
    #[error("no second initiator: give it with --second")]
    NoInitiator,
    #[error(transparent)]
    Control(ControlError),
    #[error("end of the audit log: the helper at {} closed the connection; it has stopped, or is restarting", .0.display())]
    LogEnded(PathBuf),
    #[error("cannot read {}: {error}; choose another file with --config", .path.display())]
    Settings { path: PathBuf, error: io::Error },
    #[error("cannot set up signal handling: {0}")]
    Signals(io::Error),
    #[error("cannot create a pipe: {0}")]
    Pipe(io::Error),
    #[error("cannot write the output: {0}")]
    Output(io::Error),
}

/// When something went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before the helper had sent its feature word.
    Handshake,
    /// Between a command and its answer.
    Command,
}

impl Phase {
    const fn closed(self) -> &'static str {
        match self {
            Self::Handshake => {
                "before the handshake; it does so at its connection limit (--max-connections) and during shutdown: see \
                 its log (journalctl -u qemu-pr-helper)"
            }
            Self::Command => {
                "before it answered; it does so after a protocol violation, when it has no free file descriptor, and \
                 during shutdown: see its log (journalctl -u qemu-pr-helper). The command may have been carried out: \
                 see 'qemu-pr-ctl status'"
            }
        }
    }

    const fn verb(self) -> &'static str {
        match self {
            Self::Handshake => "start the handshake",
            Self::Command => "answer",
        }
    }

    const fn waited(self) -> &'static str {
        match self {
            Self::Handshake => "check that qemu-pr-helper listens there, and see its log",
            Self::Command => {
                "the disk may hang (see dmesg). The command may still be carried out: see 'qemu-pr-ctl status' later, \
                 or wait longer with --timeout"
            }
        }
    }
}

impl Error {
    /// The error for a socket that cannot be connected to.
    pub fn connecting(path: &Path, error: io::Error) -> Self {
        let file = fs::metadata(path);
        let path = path.to_path_buf();
        match (error.kind(), file) {
            (io::ErrorKind::NotFound, _) => Self::NoSocket(path),
            (io::ErrorKind::ConnectionRefused, Ok(file)) if !file.file_type().is_socket() => Self::NotASocket(path),
            (io::ErrorKind::ConnectionRefused, _) => Self::ConnectionRefused(path),
            (io::ErrorKind::PermissionDenied, file) => {
                let owner = file.map_or_else(
                    |_| String::new(),
                    |file| format!(" (mode {:04o}, user {}, group {})", file.mode() & 0o7777, file.uid(), file.gid()),
                );
                Self::NoPermission { path, owner }
            }
            (_, _) => Self::Connect { path, error },
        }
    }

    /// The error for a device that cannot be opened.
    pub fn opening(path: &Path, access: Access, error: io::Error) -> Self {
        let path = path.to_path_buf();
        match error.kind() {
            io::ErrorKind::NotFound => Self::NoDevice(path),
            io::ErrorKind::PermissionDenied => Self::DeviceDenied { path, access },
            _ => Self::Device { path, access, error },
        }
    }

    /// What a device answered instead of GOOD.
    pub fn refused(device: &Path, action: Action, status: Status, sense: Option<SenseCode>) -> Self {
        Self::Refused { device: device.to_path_buf(), action, status, sense }
    }

    /// Which of the four it is: the socket, the helper, the answer of a disk, or this side.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NoSocket(_) | Self::NotASocket(_) | Self::ConnectionRefused(_) | Self::Connect { .. } => "no-socket",
            Self::NoPermission { .. } | Self::DeviceDenied { .. } | Self::CommandDenied(_) => "no-permission",
            Self::Closed { .. } | Self::Broken { .. } | Self::LogEnded(_) => "hung-up",
            Self::TimedOut { .. } => "timed-out",
            Self::Malformed { .. } | Self::TooShort { .. } | Self::NoBlock { .. } => "nonsense",
            Self::Refused { .. } => "refused",
            Self::Lost { .. } => "lost",
            Self::Listen { .. } => "listen",
            Self::NoDevice(_)
            | Self::Device { .. }
            | Self::NotScsi(_)
            | Self::NotSimulated(_)
            | Self::NotNamed { .. } => "no-device",
            Self::NotConfirmed { .. } => "wants-yes",
            Self::InUse { .. } => "in-use",
            Self::NotCleaned { .. } => "not-cleaned",
            Self::OtherDisk { .. }
            | Self::SameInitiator { .. }
            | Self::RegistersHosts { .. }
            | Self::NoInitiator
            | Self::NotRead => "no-pair",
            Self::Control(error) => control_kind(error),
            Self::Settings { .. } => "settings",
            Self::Output(_) | Self::Signals(_) | Self::Pipe(_) | Self::NoThread { .. } => "output",
        }
    }

    /// The SCSI answer, if it is one.
    pub const fn scsi(&self) -> Option<(Status, Option<SenseCode>)> {
        match self {
            Self::Refused { status, sense, .. } => Some((*status, *sense)),
            _ => None,
        }
    }

    /// The exit status.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::NotConfirmed { .. }
            | Self::InUse { .. }
            | Self::OtherDisk { .. }
            | Self::SameInitiator { .. }
            | Self::RegistersHosts { .. }
            | Self::NoInitiator
            | Self::NotRead
            | Self::NotSimulated(_) => exit::COMMAND_LINE,
            Self::NoSocket(_)
            | Self::NotASocket(_)
            | Self::ConnectionRefused(_)
            | Self::NoPermission { .. }
            | Self::Connect { .. }
            | Self::NoDevice(_)
            | Self::DeviceDenied { .. }
            | Self::Device { .. }
            | Self::CommandDenied(_)
            | Self::Listen { .. }
            | Self::Settings { .. }
            | Self::NotScsi(_)
            | Self::NotNamed { .. }
            | Self::Signals(_)
            | Self::Pipe(_)
            | Self::NoThread { .. }
            | Self::Output(_) => exit::NOT_OPENED,
            Self::Control(error) => control_exit(error),
            Self::Closed { .. } | Self::Broken { .. } | Self::LogEnded(_) => exit::TRANSPORT,
            Self::NotCleaned { exit, .. } => *exit,
            Self::Lost { .. } => exit::LOST,
            Self::TimedOut { .. } => exit::TIMED_OUT,
            Self::Malformed { .. } | Self::TooShort { .. } | Self::NoBlock { .. } => exit::INVALID_ANSWER,
            Self::Refused { status, sense, .. } => exit::of_answer(*status, *sense),
        }
    }
}

const fn control_kind(error: &ControlError) -> &'static str {
    match error {
        ControlError::NoSocket(_)
        | ControlError::NotASocket(_)
        | ControlError::NobodyListens(_)
        | ControlError::NoneThere(_)
        | ControlError::Several { .. }
        | ControlError::Directory { .. }
        | ControlError::Broken { .. } => "no-socket",
        ControlError::NoPermission(_) => "no-permission",
        ControlError::TimedOut { .. } => "timed-out",
        ControlError::HungUp(_) => "hung-up",
        ControlError::Senseless { .. } => "nonsense",
        ControlError::Refused(_) => "declined",
    }
}

const fn control_exit(error: &ControlError) -> u8 {
    match error {
        ControlError::NoSocket(_)
        | ControlError::NotASocket(_)
        | ControlError::NobodyListens(_)
        | ControlError::NoPermission(_)
        | ControlError::NoneThere(_)
        | ControlError::Several { .. }
        | ControlError::Directory { .. }
        | ControlError::Broken { .. } => exit::NOT_OPENED,
        ControlError::TimedOut { .. } => exit::TIMED_OUT,
        ControlError::HungUp(_) => exit::TRANSPORT,
        ControlError::Senseless { .. } => exit::INVALID_ANSWER,
        ControlError::Refused(_) => exit::NEGATIVE,
    }
}

/// So many registrations of other initiators.
pub struct Registered(pub usize);

impl fmt::Display for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("one registration of another initiator would be removed"),
            many => write!(f, "{many} registrations of other initiators would be removed"),
        }
    }
}

/// The answer in words: the sense data of CHECK CONDITION, otherwise the status.
fn answer(status: Status, sense: Option<SenseCode>) -> String {
    match (status, sense) {
        (Status::CHECK_CONDITION, Some(sense)) => sense.to_string(),
        (Status::CHECK_CONDITION, None) => "CHECK CONDITION without sense data".to_owned(),
        (status, _) => status.to_string(),
    }
}

fn hint(action: Action, status: Status, sense: Option<SenseCode>) -> String {
    hint::of(action, status, sense).map_or_else(String::new, |hint| format!("; {hint}"))
}
