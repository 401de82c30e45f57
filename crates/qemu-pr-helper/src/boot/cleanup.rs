//! What a daemon that has become another user may not remove at its end: a socket or a pidfile in a folder of root's.
//!
//! A process that may is forked before the privileges go, if there is such a file. It can do nothing but remove these
//! files, by their folders' descriptors and while they are the same files: when the daemon asks for it, and whatever is
//! left when the daemon has gone, however that came.

use std::{
    cell::OnceCell,
    fs, io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, openat, statat, unlinkat},
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send, sockopt},
};

use super::{
    Privileged,
    companion::{self, CompanionError, UnreadyError},
    privilege,
};
use crate::{
    confine,
    confine::Sandbox,
    values::{Group, User},
};

/// How long the removal of a file may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Device and inode: which file it is, so that nobody else's is ever removed.
pub type FileId = (u64, u64);

/// Which file this is.
pub fn id(metadata: &fs::Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

/// The daemon's line to the process.
pub struct Cleanup {
    line: OwnedFd,
    files: Vec<PathBuf>,
}

/// A folder's descriptor, and what is to be removed there.
type Entry = (OwnedFd, PathBuf, FileId);

/// Starts the process, if the user that this process becomes may not remove one of the files.
pub fn start(
    privileged: &Privileged,
    files: &[(&Path, FileId)],
    user: Option<User>,
    group: Option<Group>,
    sandbox: Sandbox,
) -> Result<Option<Arc<Cleanup>>, CompanionError> {
    let Some(User(user)) = user else { return Ok(None) };
    let group = group.map_or_else(|| rustix::process::getegid().as_raw(), |Group(group)| group);
    let mut left = Vec::new();
    for (path, file) in files {
        if !may_remove(&fs::metadata(folder(path))?, user, group) {
            left.push((*path, *file));
        }
    }
    if left.is_empty() {
        return Ok(None);
    }
    let files = left;
    let entries = OnceCell::new();
    let confine = || {
        let open = |path: &Path| openat(CWD, folder(path), OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let opened =
            files.iter().map(|(path, file)| Ok((open(path)?, path.file_name().unwrap_or_default().into(), *file)));
        let opened = opened.collect::<Result<Vec<Entry>, Errno>>().map_err(|error| UnreadyError::Seal(error.into()))?;
        privilege::keep_user()?;
        let folders: Vec<PathBuf> = files.iter().map(|(path, _)| folder(path).into()).collect();
        confine::cleanup(sandbox, &folders)?;
        let _ = entries.set(opened);
        Ok(())
    };
    let line = companion::start(privileged, c"qemu-pr-cleanup", confine, |line| {
        serve(line, entries.get().map_or(&[][..], Vec::as_slice));
    })?;
    companion::await_ready(&line)?;
    sockopt::set_socket_timeout(&line, sockopt::Timeout::Recv, Some(PATIENCE)).map_err(io::Error::from)?;
    Ok(Some(Arc::new(Cleanup { line, files: files.iter().map(|(path, _)| path.to_path_buf()).collect() })))
}

/// The folder that a file is in.
pub fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether a user and group may remove a file of root's from this folder.
fn may_remove(folder: &fs::Metadata, user: u32, group: u32) -> bool {
    let (mode, is_owner) = (folder.mode(), folder.uid() == user);
    let class = if is_owner {
        6
    } else if folder.gid() == group {
        3
    } else {
        0
    };
    let is_sticky = mode & 0o1000 != 0;
    user == 0 || (mode >> class & 0o3 == 0o3 && (is_owner || !is_sticky))
}

impl Cleanup {
    /// Removes a file, if it is one of this process'; `None` if it is not.
    pub fn remove(&self, path: &Path) -> Option<io::Result<()>> {
        let index = self.files.iter().position(|file| file == path)?;
        Some(u8::try_from(index).map_err(io::Error::other).and_then(|index| Ok(self.ask(index)?)))
    }

    fn ask(&self, index: u8) -> rustix::io::Result<()> {
        send(&self.line, &[index], SendFlags::NOSIGNAL)?;
        let mut answer = [0];
        match recv(&self.line, &mut answer, RecvFlags::empty())? {
            (1, _) if answer == [0] => Ok(()),
            (1, _) => Err(Errno::from_raw_os_error(answer[0].into())),
            _ => Err(Errno::PIPE),
        }
    }
}

/// Removes what it is asked to, and at the daemon's end the rest.
fn serve(line: &OwnedFd, entries: &[Entry]) {
    let mut index = [0];
    loop {
        match recv(line, &mut index, RecvFlags::empty()) {
            Ok((1, _)) => {
                let Some(entry) = entries.get(usize::from(index[0])) else { continue };
                let error = remove(entry).err().map_or(0, Errno::raw_os_error);
                let _ = send(line, &[u8::try_from(error).unwrap_or(u8::MAX)], SendFlags::NOSIGNAL);
            }
            Err(Errno::INTR) => {}
            _ => break,
        }
    }
    for entry in entries {
        let _ = remove(entry);
    }
}

/// Removes a file, unless it is gone or another one by now.
fn remove((folder, name, file): &Entry) -> Result<(), Errno> {
    // A pidfile may be a symbolic link to where it is.
    match statat(folder, name, AtFlags::empty()) {
        Ok(stat) if (stat.st_dev, stat.st_ino) == *file => unlinkat(folder, name, AtFlags::empty()),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn who_may_remove_a_file_from_a_folder_goes_by_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let metadata = fs::metadata(folder.path()).unwrap();
        let (user, group) = (metadata.uid(), metadata.gid());
        let other = |number: u32| number + 4711;
        for (mode, of_user, of_group, of_others) in [
            (0o755, true, false, false),
            (0o775, true, true, false),
            (0o771, true, true, false),
            (0o777, true, true, true),
            (0o1777, true, false, false),
            (0o705, true, false, false),
        ] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            let metadata = fs::metadata(folder.path()).unwrap();
            assert_eq!(may_remove(&metadata, user, other(group)), of_user, "{mode:o}, its owner");
            assert_eq!(may_remove(&metadata, other(user), group), of_group, "{mode:o}, its group");
            assert_eq!(may_remove(&metadata, other(user), other(group)), of_others, "{mode:o}, others");
        }
    }
}
