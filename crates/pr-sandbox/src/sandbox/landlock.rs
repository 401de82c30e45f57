//! The files that a process may reach, on kernels that have Landlock.

use std::{
    io::{self, ErrorKind},
    os::fd::BorrowedFd,
};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, PathFdError, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use thiserror::Error;

/// What may be done with the files in a directory.
#[derive(Clone, Copy, Debug)]
pub enum Reach {
    /// They may be read.
    Read,
    /// They may be read, and are devices: ioctls of any kind, as far as the filter goes.
    Devices,
    /// They may be written to as well.
    WriteDevices,
    /// They may be read, written to and made, but not removed.
    Make,
}

impl Reach {
    fn access(self) -> BitFlags<AccessFs> {
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        match self {
            Self::Read => read,
            Self::Devices => read | AccessFs::IoctlDev,
            Self::WriteDevices => read | AccessFs::IoctlDev | AccessFs::WriteFile,
            Self::Make => read | AccessFs::WriteFile | AccessFs::MakeReg,
        }
    }
}

/// Directories, with everything in them.
#[derive(Default)]
pub struct Files<'a> {
    /// Those that may be reached, and for what.
    pub reachable: &'a [(&'a str, Reach)],
    /// Files in them may be removed.
    pub removable: &'a [BorrowedFd<'a>],
    /// Whether abstract Unix sockets of other programs may be reached: multipathd's is one.
    pub reaches_abstract_sockets: bool,
}

/// The newest version of Landlock that this knows; older kernels do what they can of it.
const NEWEST: ABI = ABI::V6;

/// Why files are not out of reach.
#[derive(Debug, Error)]
pub enum FilesError {
    /// The kernel does not take the rules.
    #[error(transparent)]
    Rules(#[from] RulesetError),
    /// It is not known whether there is Landlock. A sandbox that is promised where there is must not be weaker for that.
    #[error(
        "cannot find out whether this kernel has Landlock: {0}; allow landlock_create_ruleset (a container's seccomp profile may forbid it), or use --sandbox seccomp"
    )]
    Unknown(#[source] io::Error),
    /// The kernel has it and the rules do not count.
    #[error("the kernel has Landlock and does not enforce the rules")]
    NotEnforced,
    /// A directory that a rule is about.
    #[error(transparent)]
    Directory(#[from] PathFdError),
}

/// Rules out every file but these, every TCP port, and signals and abstract sockets of others.
pub fn restrict(files: &Files<'_>) -> Result<(), FilesError> {
    if !pr_sys::sandbox::has_landlock().map_err(FilesError::Unknown)? {
        return Ok(());
    }
    let scope = if files.reaches_abstract_sockets { Scope::Signal.into() } else { Scope::from_all(NEWEST) };
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(scope)?
        .create()?;
    for directory in files.removable {
        ruleset = ruleset.add_rule(PathBeneath::new(directory, AccessFs::RemoveFile))?;
    }
    for (directory, reach) in files.reachable {
        match PathFd::new(directory) {
            Ok(directory) => ruleset = ruleset.add_rule(PathBeneath::new(directory, reach.access()))?,
            // A directory that is not there now, or that nothing can be reached in, is none that could be needed.
            Err(PathFdError::OpenCall { source, .. })
                if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // The library asks again, and takes whatever goes wrong for a kernel without Landlock.
    match ruleset.restrict_self()?.ruleset {
        RulesetStatus::NotEnforced => Err(FilesError::NotEnforced),
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
    }
}
