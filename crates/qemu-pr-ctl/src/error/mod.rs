//! What can go wrong, in sentences: the thing, the reason, the hint.

pub mod exit;
mod hint;

use std::{
    fmt, fs, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};

use pr_control::ControlError;
use scsi_pr::{OutAction, SenseCode, Status};

use crate::request::{Access, Action};

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "there is no socket {}: no helper listens there; start it (systemctl start qemu-pr-helper), or name the path \
         that it was given with --socket", .0.display()
    )]
    NoSocket(PathBuf),
    #[error("{} is no socket; name the helper's with --socket", .0.display())]
    NotASocket(PathBuf),
    #[error(
        "nobody listens on the socket {}: the helper that made it has ended; start it again \
         (systemctl restart qemu-pr-helper)", .0.display()
    )]
    NobodyListens(PathBuf),
    #[error(
        "no permission to use the socket {}{owner}; run this as a user who may write to it and search its directory, \
         root for example, or start the helper with --socket-group and --socket-mode", .path.display()
    )]
    NoPermission { path: PathBuf, owner: String },
    #[error("cannot connect to the socket {}: {error}", .path.display())]
    Connect { path: PathBuf, error: io::Error },
    #[error("the helper at {} hung up {}", .socket.display(), .phase.hung_up())]
    HungUp { socket: PathBuf, phase: Phase },
    #[error("the helper at {} did not {} within {timeout:?}; {}", .socket.display(), .phase.verb(), .phase.waited())]
    TimedOut { socket: PathBuf, timeout: Duration, phase: Phase },
    #[error("the connection to the helper at {} broke: {error}; try again", .socket.display())]
    Broken { socket: PathBuf, error: io::Error },
    #[error("what answers at {} makes no sense: {what}; is it qemu-pr-helper that listens there?", .socket.display())]
    Malformed { socket: PathBuf, what: &'static str },
    #[error("there is no device {}; check its name (lsblk lists the disks)", .0.display())]
    NoDevice(PathBuf),
    #[error("no permission to open {} {}; run this as root, or as a member of the device's group", .path.display(), .access)]
    DeviceDenied { path: PathBuf, access: Access },
    #[error("cannot open {} {access}: {error}", .path.display())]
    Device { path: PathBuf, access: Access, error: io::Error },
    #[error("{} refused {action}: {}{}", .device.display(), answer(*.status, *.sense), hint(*.action, *.status, *.sense))]
    Refused { device: PathBuf, action: Action, status: Status, sense: Option<SenseCode> },
    #[error(
        "the answer of {} to {action} has {length} bytes, too few to mean anything; does the device support \
         persistent reservations?", .device.display()
    )]
    TooShort { device: PathBuf, action: Action, length: usize },
    #[error("the kernel lets nobody but root send this to {}; run it as root, or without --direct", .0.display())]
    CommandDenied(PathBuf),
    #[error("{} is no SCSI disk (it does not take SG_IO); lsblk -o NAME,TRAN lists the disks", .0.display())]
    NotScsi(PathBuf),
    #[error(
        "the command did not get to {}, or its answer not back ({reason}); see dmesg. Whether it was carried out is \
         not known: see 'qemu-pr-ctl status'", .device.display()
    )]
    Lost { device: PathBuf, reason: String },
    #[error(
        "{}: {}, so {action} was not sent; say --yes if that is what you want", .device.display(), Registered(*.others)
    )]
    WantsYes { device: PathBuf, action: OutAction, others: usize },
    #[error("cannot listen at {}: {error}; name another path with --socket", .path.display())]
    Listen { path: PathBuf, error: io::Error },
    #[error(
        "{} is in use (registrations: {registrations}); --force removes them all, whoever needs them", .device.display()
    )]
    InUse { device: PathBuf, registrations: usize },
    #[error("{} and {} are not the same disk: neither sees the other's registration", .device.display(), .second.display())]
    OtherDisk { device: PathBuf, second: PathBuf },
    #[error(
        "for the disk {} and {} are one initiator; --second wants the disk by another host adapter or iSCSI session",
        .device.display(), .second.display()
    )]
    SameInitiator { device: PathBuf, second: PathBuf },
    #[error(
        "it is not known whether the keys {keys} are still registered on {} and have to be removed ({reason})",
        .device.display()
    )]
    NotCleaned { device: PathBuf, keys: String, reason: String, exit: u8 },
    #[error("the system has no threads for {connections} connections ({error}); measure at fewer, with --connections")]
    NoThread { connections: usize, error: io::Error },
    #[error("there is no second initiator to send this")]
    NoInitiator,
    #[error(transparent)]
    Control(ControlError),
    #[error("no helper has a control socket in {}; name another folder, or a socket, with --control", .0.display())]
    NoControl(PathBuf),
    #[error("several helpers have their control sockets in {}; name one of them with --control: {names}", .folder.display())]
    WhichControl { folder: PathBuf, names: String },
    #[error("cannot look for control sockets in {}: {error}; name the socket itself with --control", .folder.display())]
    ControlFolder { folder: PathBuf, error: io::Error },
    #[error("the audit trail ends here: the helper at {} has hung up; it has ended, or is starting anew", .0.display())]
    TrailEnds(PathBuf),
    #[error("cannot read the settings {}: {error}; name another file with --config", .path.display())]
    Settings { path: PathBuf, error: io::Error },
    #[error("cannot listen on {address}: {error}; name another address or port with --listen")]
    ListenTcp { address: SocketAddr, error: io::Error },
    #[error("there is no user {0}; name another with --user")]
    NoUser(String),
    #[error("only root can serve as another user; leave --user out, or run this as root")]
    NotRoot,
    #[error("cannot become the user {user}: {error}; run this as that user, without --user")]
    Become { user: String, error: io::Error },
    #[error(
        "the user {user} may not use the control socket {}; start the helper with --control-group GROUP, and name a \
         user with --user who is a member of that group", .control.display()
    )]
    UserDenied { user: String, control: PathBuf },
    #[error("cannot watch for signals: {0}")]
    Signals(io::Error),
    #[error("cannot make a pipe: {0}")]
    Pipe(io::Error),
    #[error("cannot write the answer: {0}")]
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
    const fn hung_up(self) -> &'static str {
        match self {
            Self::Handshake => {
                "without a greeting: it does that when it serves as many clients as it may (--max-connections), and \
                 when it is ending; its log says which (journalctl -u qemu-pr-helper)"
            }
            Self::Command => {
                "instead of answering: it does that to a client that breaks the protocol, when it has no room for \
                 another file descriptor, and when it is ending; its log says which (journalctl -u qemu-pr-helper). \
                 Whether the command was carried out is not known: see 'qemu-pr-ctl status'"
            }
        }
    }

    const fn verb(self) -> &'static str {
        match self {
            Self::Handshake => "greet",
            Self::Command => "answer",
        }
    }

    const fn waited(self) -> &'static str {
        match self {
            Self::Handshake => "is it qemu-pr-helper that listens there? If so, it hangs: see its log",
            Self::Command => {
                "the disk may be hanging (see dmesg). Whether the command will be carried out is not known: see \
                 'qemu-pr-ctl status' later, or wait longer with --timeout"
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
            (io::ErrorKind::ConnectionRefused, _) => Self::NobodyListens(path),
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
            Self::NoSocket(_)
            | Self::NotASocket(_)
            | Self::NobodyListens(_)
            | Self::Connect { .. }
            | Self::NoControl(_)
            | Self::WhichControl { .. }
            | Self::ControlFolder { .. } => "no-socket",
            Self::NoPermission { .. } | Self::DeviceDenied { .. } | Self::CommandDenied(_) => "no-permission",
            Self::HungUp { .. } | Self::Broken { .. } | Self::TrailEnds(_) => "hung-up",
            Self::TimedOut { .. } => "timed-out",
            Self::Malformed { .. } | Self::TooShort { .. } => "nonsense",
            Self::Refused { .. } => "refused",
            Self::Lost { .. } => "lost",
            Self::Listen { .. } | Self::ListenTcp { .. } => "listen",
            Self::NoDevice(_) | Self::Device { .. } | Self::NotScsi(_) => "no-device",
            Self::WantsYes { .. } => "wants-yes",
            Self::InUse { .. } => "in-use",
            Self::NotCleaned { .. } => "not-cleaned",
            Self::OtherDisk { .. } | Self::SameInitiator { .. } | Self::NoInitiator => "no-pair",
            Self::Control(error) => control_kind(error),
            Self::NoUser(_) | Self::NotRoot | Self::Become { .. } | Self::UserDenied { .. } => "user",
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
            Self::WantsYes { .. }
            | Self::InUse { .. }
            | Self::OtherDisk { .. }
            | Self::SameInitiator { .. }
            | Self::NoInitiator
            | Self::NoUser(_)
            | Self::NotRoot => exit::COMMAND_LINE,
            Self::NoSocket(_)
            | Self::NotASocket(_)
            | Self::NobodyListens(_)
            | Self::NoPermission { .. }
            | Self::Connect { .. }
            | Self::NoDevice(_)
            | Self::DeviceDenied { .. }
            | Self::Device { .. }
            | Self::CommandDenied(_)
            | Self::Listen { .. }
            | Self::ListenTcp { .. }
            | Self::Become { .. }
            | Self::Settings { .. }
            | Self::UserDenied { .. }
            | Self::NotScsi(_)
            | Self::NoControl(_)
            | Self::WhichControl { .. }
            | Self::ControlFolder { .. }
            | Self::Signals(_)
            | Self::Pipe(_)
            | Self::NoThread { .. }
            | Self::Output(_) => exit::NOT_OPENED,
            Self::Control(error) => control_exit(error),
            Self::HungUp { .. } | Self::Broken { .. } | Self::TrailEnds(_) => exit::TRANSPORT,
            Self::NotCleaned { exit, .. } => *exit,
            Self::Lost { .. } => exit::LOST,
            Self::TimedOut { .. } => exit::TIMED_OUT,
            Self::Malformed { .. } | Self::TooShort { .. } => exit::NONSENSE,
            Self::Refused { status, sense, .. } => exit::of_answer(*status, *sense),
        }
    }
}

const fn control_kind(error: &ControlError) -> &'static str {
    match error {
        ControlError::NoSocket(_)
        | ControlError::NotASocket(_)
        | ControlError::NobodyListens(_)
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
        | ControlError::Broken { .. } => exit::NOT_OPENED,
        ControlError::TimedOut { .. } => exit::TIMED_OUT,
        ControlError::HungUp(_) => exit::TRANSPORT,
        ControlError::Senseless { .. } => exit::NONSENSE,
        ControlError::Refused(_) => exit::FALSE,
    }
}

/// So many registrations of other initiators.
pub struct Registered(pub usize);

impl fmt::Display for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("one registration of another would end"),
            many => write!(f, "{many} registrations of others would end"),
        }
    }
}

/// The answer in words: for CHECK CONDITION what the sense data says, otherwise the status.
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
