//! The file with our PID in it, locked for as long as we live.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{FileType, FlockOperation, Mode, OFlags, fcntl_lock},
    io::Errno,
};
use thiserror::Error;

use super::cleanup::Cleanup;
use crate::paths::{self, Entry, FileId, id};

/// Why there is no pidfile.
#[derive(Debug, Error)]
pub enum PidfileError {
    /// It cannot be opened.
    #[error("cannot create the pidfile '{}': {error}; choose another with -f", .path.display())]
    Create { path: PathBuf, error: io::Error },
    /// It is a device, a pipe, …
    #[error("the pidfile '{}' exists and is not a regular file; choose another with -f", .path.display())]
    NotAFile { path: PathBuf },
    /// Another process has it.
    #[error("cannot lock the pidfile '{}': {error}; another helper with this pidfile runs", .path.display())]
    Taken { path: PathBuf, error: io::Error },
    /// Its file system has no locks.
    #[error("cannot lock the pidfile '{}': {error}; choose another with -f", .path.display())]
    Lock { path: PathBuf, error: io::Error },
    /// The number cannot be written.
    #[error("cannot write the pidfile '{}': {error}", .path.display())]
    Write { path: PathBuf, error: io::Error },
}

/// The pidfile. It goes when this does.
pub struct Pidfile {
    entry: Entry,
    file: File,
    id: FileId,
    /// Who removes it, if this process may not.
    cleanup: Option<Arc<Cleanup>>,
}

impl Pidfile {
    /// Writes our number to `path`, following root's symbolic links. What another process wrote there is left alone until
    /// the lock says that it is gone.
    pub fn create(path: &Path) -> Result<Self, PidfileError> {
        let at = || path.to_owned();
        // Without NONBLOCK, opening a FIFO would wait for a reader.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NONBLOCK;
        let (file, entry, stat) =
            paths::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(|error| match error.raw_os_error() {
                Some(libc::ENXIO) => PidfileError::NotAFile { path: at() },
                _ => PidfileError::Create { path: at(), error },
            })?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(PidfileError::NotAFile { path: at() });
        }
        fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            Errno::AGAIN | Errno::ACCESS => PidfileError::Taken { path: at(), error: error.into() },
            error => {
                // A helper that runs has its number in the file.
                entry.remove_if_empty();
                PidfileError::Lock { path: at(), error: error.into() }
            }
        })?;
        // From here on it is ours, and goes if anything fails.
        let mut this = Self { entry, file, id: id(&stat), cleanup: None };
        let number = format!("{}\n", std::process::id());
        this.file
            .set_len(0)
            .and_then(|()| this.file.write_all(number.as_bytes()))
            .map_err(|error| PidfileError::Write { path: at(), error })?;
        Ok(this)
    }

    /// Where it is, and which file.
    pub const fn file(&self) -> (&Entry, FileId) {
        (&self.entry, self.id)
    }

    /// Where this process is to remove it.
    pub fn removable(&self) -> Option<&Entry> {
        self.cleanup.is_none().then_some(&self.entry)
    }

    /// Leaves its removal to another process.
    pub fn leave_to(&mut self, cleanup: &Arc<Cleanup>) {
        self.cleanup = Some(Arc::clone(cleanup));
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        let is_ours = self.entry.stat().is_ok_and(|there| id(&there) == self.id);
        let remove = || {
            let removed = self.cleanup.as_ref().and_then(|cleanup| cleanup.remove(self.id));
            removed.unwrap_or_else(|| Ok(self.entry.remove(self.id)?))
        };
        if is_ours && remove().is_ok() {
            return;
        }
        // In a directory that the user we became may not change: at least the number is not to be taken for a
        // running helper.
        let _ = self.file.set_len(0);
    }
}
