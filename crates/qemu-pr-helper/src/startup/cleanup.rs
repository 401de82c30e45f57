//! Files that a daemon which has become another user may not remove when it ends: a socket or a pidfile in a directory of
//! root's. And those that it had better not: in a directory like /run, where others' files are.
//!
//! A process that may is forked before the privileges go, if there is such a file. It can do nothing but remove these
//! files, by their directories' descriptors and while they are the same files: when the daemon asks for it, and whatever is
//! left when the daemon has gone, however it ended.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use pr_sandbox::{ChildError, Privileged, Sandbox, await_ready, child, privileges, sandbox};
use pr_sys::users::{Group, User};
use rustix::{
    fs::{Stat, stat},
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send, sockopt},
};

use crate::paths::{Entry, FileId, id};

/// How long the removal of a file may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The daemon's socket to the process.
pub struct Cleanup {
    socket: OwnedFd,
    files: Vec<FileId>,
}

/// Directories that belong to many programs. Landlock knows no single files: a daemon that may remove its own there may
/// remove every file in it and below.
const COMMON: [&str; 5] = ["/", "/run", "/tmp", "/var/tmp", "/dev/shm"];

/// Starts the process, if the user that this process becomes may not remove one of the files, or could remove others'
/// with it.
pub fn start(
    privileged: &Privileged,
    files: &[(&Entry, FileId)],
    user: Option<User>,
    group: Option<Group>,
    sandbox: Sandbox,
) -> Result<Option<Arc<Cleanup>>, ChildError> {
    let group = group.map_or_else(|| rustix::process::getegid().as_raw(), |Group(group)| group);
    let mut left = Vec::new();
    for (entry, file) in files {
        let directory = entry.directory_stat()?;
        let may_remove = user.is_none_or(|User(user)| may_remove(&directory, user, group));
        if !may_remove || (sandbox == Sandbox::Enforce && is_common(&directory)) {
            left.push((*entry, *file));
        }
    }
    if left.is_empty() {
        return Ok(None);
    }
    let directories: Vec<BorrowedFd<'_>> = left.iter().map(|(entry, _)| entry.directory()).collect();
    let reduce = || {
        privileges::keep_user()?;
        Ok(sandbox::cleanup(sandbox, &directories)?)
    };
    let socket = child::fork(privileged, c"qemu-pr-cleanup", &directories, reduce, |socket| serve(socket, &left))?;
    await_ready(&socket)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE)).map_err(io::Error::from)?;
    Ok(Some(Arc::new(Cleanup { socket, files: left.iter().map(|(_, file)| *file).collect() })))
}

fn is_common(directory: &Stat) -> bool {
    COMMON.iter().any(|path| stat(*path).is_ok_and(|common| id(&common) == id(directory)))
}

/// Whether a user and group may remove a file of root's from this directory.
fn may_remove(directory: &Stat, user: u32, group: u32) -> bool {
    let (mode, is_owner) = (directory.st_mode, directory.st_uid == user);
    let class = if is_owner {
        6
    } else if directory.st_gid == group {
        3
    } else {
        0
    };
    let is_sticky = mode & 0o1000 != 0;
    user == 0 || (mode >> class & 0o3 == 0o3 && (is_owner || !is_sticky))
}

impl Cleanup {
    /// Removes a file, if it is one of this process'; `None` if it is not.
    pub fn remove(&self, file: FileId) -> Option<io::Result<()>> {
        let index = self.files.iter().position(|left| *left == file)?;
        Some(u8::try_from(index).map_err(io::Error::other).and_then(|index| Ok(self.ask(index)?)))
    }

    fn ask(&self, index: u8) -> rustix::io::Result<()> {
        send(&self.socket, &[index], SendFlags::NOSIGNAL)?;
        let mut answer = [0];
        match recv(&self.socket, &mut answer, RecvFlags::empty())? {
            (1, _) if answer == [0] => Ok(()),
            (1, _) => Err(Errno::from_raw_os_error(answer[0].into())),
            _ => Err(Errno::PIPE),
        }
    }
}

/// Removes what it is asked to, and when the daemon has ended the rest.
fn serve(socket: &OwnedFd, entries: &[(&Entry, FileId)]) {
    let mut index = [0];
    loop {
        match recv(socket, &mut index, RecvFlags::empty()) {
            Ok((1, _)) => {
                let Some((entry, file)) = entries.get(usize::from(index[0])) else { continue };
                let error = entry.remove(*file).err().map_or(0, Errno::raw_os_error);
                let _ = send(socket, &[u8::try_from(error).unwrap_or(u8::MAX)], SendFlags::NOSIGNAL);
            }
            Err(Errno::INTR) => {}
            _ => break,
        }
    }
    for (entry, file) in entries {
        let _ = entry.remove(*file);
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn who_may_remove_a_file_from_a_directory_goes_by_its_mode() {
        let directory = tempfile::tempdir().unwrap();
        let metadata = stat(directory.path()).unwrap();
        let (user, group) = (metadata.st_uid, metadata.st_gid);
        let other = |number: u32| number + 4711;
        for (mode, of_user, of_group, of_others) in [
            (0o755, true, false, false),
            (0o775, true, true, false),
            (0o771, true, true, false),
            (0o777, true, true, true),
            (0o1777, true, false, false),
            (0o705, true, false, false),
        ] {
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
            let metadata = stat(directory.path()).unwrap();
            assert_eq!(may_remove(&metadata, user, other(group)), of_user, "{mode:o}, its owner");
            assert_eq!(may_remove(&metadata, other(user), group), of_group, "{mode:o}, its group");
            assert_eq!(may_remove(&metadata, other(user), other(group)), of_others, "{mode:o}, others");
        }
    }
}
