//! Which helper, where many have their control sockets in one folder: libvirt's managed ones, one for each guest.

use std::{
    fs, io,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

use crate::error::Error;

/// The control socket that a path means: itself, or the only one in the folder that it names.
pub fn control(path: &Path) -> Result<PathBuf, Error> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let folder = path.to_owned();
    let mut found = sockets(path).map_err(|error| Error::ControlFolder { folder: folder.clone(), error })?;
    match found.pop() {
        None => Err(Error::NoControl(folder)),
        Some(only) if found.is_empty() => Ok(only),
        Some(last) => {
            found.push(last);
            found.sort();
            let names = found.iter().filter_map(|path| path.file_name()).map(|name| name.display().to_string());
            Err(Error::WhichControl { folder, names: names.collect::<Vec<_>>().join(", ") })
        }
    }
}

/// The sockets in a folder. Those that are not in place yet are hidden.
fn sockets(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !is_hidden && entry.file_type().is_ok_and(|kind| kind.is_socket()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}
