//! As whom the exporter serves: nobody who could do any harm.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::PathBuf,
};

use rustix::process::geteuid;

use crate::{error::Error, sys::users};

/// Who serves if nobody else is named.
const NOBODY: &str = "nobody";

/// Gives up root's rights for good, where this has them: it becomes `user`, with the groups of that user and those of
/// the control sockets. The name of the user that it became.
pub fn become_unprivileged(user: Option<&str>, controls: &[PathBuf]) -> Result<Option<String>, Error> {
    if !geteuid().is_root() {
        return if user.is_none() { Ok(None) } else { Err(Error::NotRoot) };
    }
    let name = user.unwrap_or(NOBODY);
    let mut found = users::find(name).ok_or_else(|| Error::NoUser(name.to_owned()))?;
    // A group that may use a control socket was made for this.
    found.groups.extend(controls.iter().filter_map(group));
    users::switch_to(&found).map_err(|error| Error::Become { user: name.to_owned(), error })?;
    Ok(Some(name.to_owned()))
}

/// The group that may use a socket, where there is one. Root's own has too many rights elsewhere, and so have those of
/// disks.
fn group(control: &PathBuf) -> Option<u32> {
    let socket = fs::metadata(control).ok()?;
    (socket.file_type().is_socket() && socket.gid() != 0 && socket.permissions().mode() & 0o060 == 0o060)
        .then(|| socket.gid())
}
