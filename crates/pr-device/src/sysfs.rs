//! What sysfs says of block devices.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::identity::Number;

/// Where it is mounted.
pub const ROOT: &str = "/sys";

/// The prefix of every multipath map's device-mapper uuid.
pub const MAP: &str = "mpath-";

/// The directory of a block device.
pub fn block(device: u64) -> PathBuf {
    format!("{ROOT}/dev/block/{}", Number(device)).into()
}

/// What a file in a device's directory says; `None` where there is no such file.
pub fn attribute(device: &Path, name: &str) -> io::Result<Option<String>> {
    match fs::read_to_string(device.join(name)) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The devices that this one lies on.
pub fn lower(device: &Path) -> io::Result<Vec<PathBuf>> {
    let mut lower = match fs::read_dir(device.join("slaves")) {
        Err(error) if is_absence(&error) => return Ok(Vec::new()),
        entries => entries?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?,
    };
    lower.sort();
    Ok(lower)
}

/// Whether an error says that there is nothing to be read, and not that reading failed.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
