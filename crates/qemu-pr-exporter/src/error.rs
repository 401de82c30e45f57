//! What can go wrong, in sentences: the thing, the reason, the hint.

use std::{io, net::SocketAddr, path::PathBuf};

use pr_control::ControlError;
use serde::Serialize;

/// The exit status for a command line that is invalid, or asks for what cannot be.
pub const EXIT_COMMAND_LINE: u8 = 1;

/// That for something that cannot be opened or used, as `qemu-pr-ctl` and `sg_persist` have it.
const EXIT_NOT_USABLE: u8 = 15;

/// Why the program ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}: {error}; choose another address or port with --listen")]
    Listen { address: SocketAddr, error: io::Error },
    #[error("user {0} does not exist; choose another with --user")]
    NoUser(String),
    #[error("only root can change the user; omit --user, or run as root")]
    NotRoot,
    #[error("cannot change to user {user}: {error}; run as that user, without --user")]
    ChangeUser { user: String, error: io::Error },
    #[error(
        "user {user} may not use the control socket {}; start the helper with --control-group GROUP, and choose a \
         member of that group with --user", .control.display()
    )]
    UserDenied { user: String, control: PathBuf },
    #[error(transparent)]
    Denied(ControlError),
    #[error("cannot write the output: {0}")]
    Output(io::Error),
}

/// What went wrong, for programs: as `qemu-pr-ctl --json` has it.
#[derive(Debug, Serialize)]
pub struct Failure {
    error: Details,
}

#[derive(Debug, Serialize)]
struct Details {
    kind: &'static str,
    exit: u8,
    message: String,
}

impl Error {
    /// What it is about, in one word.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Listen { .. } => "listen",
            Self::NoUser(_) | Self::NotRoot | Self::ChangeUser { .. } | Self::UserDenied { .. } => "user",
            Self::Denied(_) => "no-permission",
            Self::Output(_) => "output",
        }
    }

    /// The exit status.
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::NoUser(_) | Self::NotRoot => EXIT_COMMAND_LINE,
            Self::Listen { .. }
            | Self::ChangeUser { .. }
            | Self::UserDenied { .. }
            | Self::Denied(_)
            | Self::Output(_) => EXIT_NOT_USABLE,
        }
    }

    /// The same for programs.
    pub fn for_programs(&self) -> Failure {
        let (kind, exit, message) = (self.kind(), self.exit_status(), self.to_string());
        Failure { error: Details { kind, exit, message } }
    }
}
