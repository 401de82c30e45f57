//! The user that the exporter runs as.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use pr_control::Control;
use rustix::process::geteuid;

use crate::{error::Error, sys::users};

/// The default.
pub const NOBODY: &str = "nobody";

/// Gives up root's privileges for good, if the process has them: it becomes `user`, with the groups of that user and
/// those of the control sockets. Returns the name of that user.
pub fn become_unprivileged(user: Option<&str>, controls: &[PathBuf]) -> Result<Option<String>, Error> {
    if !geteuid().is_root() {
        return if user.is_none() { Ok(None) } else { Err(Error::NotRoot) };
    }
    let name = user.unwrap_or(NOBODY);
    let mut found = users::find(name).ok_or_else(|| Error::NoUser(name.to_owned()))?;
    // The group of a control socket exists for its clients.
    found.groups.extend(controls.iter().filter_map(|path| group(path)));
    users::switch_to(&found).map_err(|error| Error::ChangeUser { user: name.to_owned(), error })?;
    Ok(Some(name.to_owned()))
}

/// The group that may use a socket, if there is one there. The group root is left out: it has access to too much else.
fn group(control: &Path) -> Option<u32> {
    let control = Control::find(control, Duration::ZERO).ok()?;
    let socket = fs::metadata(control.path()).ok()?;
    (socket.file_type().is_socket() && socket.gid() != 0 && socket.permissions().mode() & 0o060 == 0o060)
        .then(|| socket.gid())
}
