//! Which control socket a path means. Several helpers may have theirs in one directory: libvirt's managed helpers do, one
//! for each guest.

use std::{fs, io, os::unix::fs::FileTypeExt as _, path::Path, path::PathBuf, time::Duration};

use crate::client::{Control, ControlError};

/// Where a helper has its control socket by default.
pub const DEFAULT_CONTROL: &str = "/run/qemu-pr-helper/control";

impl Control {
    /// The control socket at `path`, or the only one in the directory that `path` names. As with [`Control::new`] nothing
    /// is connected to yet, and the helper has `timeout` to answer.
    ///
    /// # Errors
    /// The directory has no socket or several, or cannot be read.
    pub fn find(path: &Path, timeout: Duration) -> Result<Self, ControlError> {
        Ok(Self::new(found(path)?, timeout))
    }
}

fn found(path: &Path) -> Result<PathBuf, ControlError> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let directory = path.to_owned();
    let mut found = sockets(path).map_err(|error| ControlError::Directory { directory: directory.clone(), error })?;
    match found.pop() {
        None => Err(ControlError::NoneThere(directory)),
        Some(only) if found.is_empty() => Ok(only),
        Some(last) => {
            found.push(last);
            found.sort();
            let names = found.iter().filter_map(|path| path.file_name()).map(|name| name.display().to_string());
            Err(ControlError::Several { directory, names: names.collect::<Vec<_>>().join(", ") })
        }
    }
}

/// The sockets in a directory. Those that are not in place yet are hidden.
///
/// # Errors
/// The directory cannot be read.
pub fn sockets(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !is_hidden && entry.file_type().is_ok_and(|kind| kind.is_socket()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}
