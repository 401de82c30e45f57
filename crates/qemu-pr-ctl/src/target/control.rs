//! The control socket of a helper. Several helpers may have theirs in one directory: libvirt's managed helpers do, one
//! for each guest.

use std::{
    fs, io,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

use clap::Args;
use pr_control::Control;

use super::helper::Helper;
use crate::error::Error;

/// Where a helper has its control socket by default.
pub const DEFAULT_CONTROL: &str = "/run/qemu-pr-helper/control";

/// Which helper.
#[derive(Debug, Args)]
pub struct ControlSocket {
    /// Control socket of the helper, or a directory that contains no other
    #[arg(long = "control", value_name = "PATH", default_value = DEFAULT_CONTROL)]
    path: PathBuf,
}

impl ControlSocket {
    /// The socket, ready to be asked.
    pub fn find(&self, helper: &Helper) -> Result<Control, Error> {
        Ok(Control::new(found(&self.path)?, helper.control_timeout()))
    }
}

/// The control socket that a path means: itself, or the only one in the directory that it names.
fn found(path: &Path) -> Result<PathBuf, Error> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let directory = path.to_owned();
    let mut found = sockets(path).map_err(|error| Error::ControlDirectory { directory: directory.clone(), error })?;
    match found.pop() {
        None => Err(Error::NoControl(directory)),
        Some(only) if found.is_empty() => Ok(only),
        Some(last) => {
            found.push(last);
            found.sort();
            let names = found.iter().filter_map(|path| path.file_name()).map(|name| name.display().to_string());
            Err(Error::WhichControl { directory, names: names.collect::<Vec<_>>().join(", ") })
        }
    }
}

/// The sockets in a directory. Those that are not in place yet are hidden.
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
