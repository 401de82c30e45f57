//! What a block device is to multipath, asked of sysfs and of device-mapper itself.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::BorrowedFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{FileType, fstat, major, minor};

use crate::sys::dm;

/// The prefix of every multipath map's device-mapper uuid.
const PREFIX: &str = "mpath-";

/// What a device is to multipath.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    /// A multipath map.
    Map(Map),
    /// Something that lies on a multipath map, a partition or a volume. The name is the map's.
    OnMap(String),
    /// Anything else.
    Other,
}

/// A multipath map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// Its device number.
    pub device: u64,
    /// Its name, `mpatha` for example.
    pub name: String,
}

/// One path of a map, open.
pub struct PathDevice {
    /// Its name, `sda` for example.
    pub name: String,
    /// The device, good for commands.
    pub file: File,
}

fn sysfs(device: u64) -> PathBuf {
    format!("/sys/dev/block/{}:{}", major(device), minor(device)).into()
}

/// What a file in sysfs says; `None` where there is no such file.
fn attribute(directory: &Path, name: &str) -> io::Result<Option<String>> {
    match fs::read_to_string(directory.join(name)) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether an error says that there is nothing to be read, and not that reading failed.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Finds out what a descriptor is. A device number alone says nothing: it has to be a block device, device-mapper's
/// uuid has to say multipath, and so has the table, where it can be read.
///
/// # Errors
/// It cannot be told: what is taken for a disk and is a map gets a command on one path only.
pub fn classify(device: BorrowedFd<'_>) -> io::Result<Kind> {
    let stat = fstat(device)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::BlockDevice {
        return Ok(Kind::Other);
    }
    let directory = sysfs(stat.st_rdev);
    let Some(uuid) = attribute(&directory, "dm/uuid")? else { return Ok(Kind::Other) };
    if uuid.starts_with(PREFIX) {
        let name = attribute(&directory, "dm/name")?.unwrap_or_else(|| uuid.clone());
        let map = Map { device: stat.st_rdev, name };
        return Ok(if is_multipath_table(map.device) { Kind::Map(map) } else { Kind::Other });
    }
    Ok(below(&directory)?.map_or(Kind::Other, Kind::OnMap))
}

/// Whether the table says multipath. Where it cannot be read the uuid has to do.
fn is_multipath_table(device: u64) -> bool {
    let Ok(control) = dm::control() else { return true };
    dm::target_type(&control, device).map_or(true, |kind| kind.as_deref() == Some("multipath"))
}

/// The name of a map among the devices that this one lies on.
fn below(directory: &Path) -> io::Result<Option<String>> {
    let entries = match fs::read_dir(directory.join("slaves")) {
        Err(error) if is_absence(&error) => return Ok(None),
        entries => entries?,
    };
    for entry in entries {
        let lower = entry?.path();
        let Some(uuid) = attribute(&lower, "dm/uuid")? else { continue };
        let name =
            if uuid.starts_with(PREFIX) { Some(attribute(&lower, "dm/name")?.unwrap_or(uuid)) } else { below(&lower)? };
        if name.is_some() {
            return Ok(name);
        }
    }
    Ok(None)
}

impl Map {
    /// Opens the paths of the map, by the names that the kernel gives them. Errors say which and why.
    pub fn paths(&self) -> (Vec<PathDevice>, Vec<String>) {
        let mut open = Vec::new();
        let mut failed = Vec::new();
        let slaves = fs::read_dir(sysfs(self.device).join("slaves"));
        for entry in slaves.into_iter().flatten().flatten() {
            // The kernel writes '!' for the '/' of names like cciss/c0d0.
            let name = entry.file_name().to_string_lossy().replace('!', "/");
            match open_path(&name, attribute(&entry.path(), "dev").ok().flatten().as_deref()) {
                Ok(file) => open.push(PathDevice { name, file }),
                Err(error) => failed.push(format!("path {name} cannot be opened: {error}")),
            }
        }
        open.sort_by(|a, b| a.name.cmp(&b.name));
        (open, failed)
    }
}

/// Opens a path's node, if it is the device that the kernel means: in a container it may be another, or missing.
fn open_path(name: &str, number: Option<&str>) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(Path::new("/dev").join(name))?;
    let device = file.metadata()?.rdev();
    if number != Some(format!("{}:{}", major(device), minor(device)).as_str()) {
        return Err(io::Error::other("the node in /dev is another device"));
    }
    Ok(file)
}
