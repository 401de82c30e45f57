//! What a block device is to multipath, asked of sysfs and of device-mapper itself.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
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
pub fn classify(device: BorrowedFd<'_>, control: Option<&File>) -> io::Result<Kind> {
    let stat = fstat(device)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::BlockDevice {
        return Ok(Kind::Other);
    }
    let directory = sysfs(stat.st_rdev);
    let Some(uuid) = attribute(&directory, "dm/uuid")? else { return Ok(Kind::Other) };
    if uuid.starts_with(PREFIX) {
        let name = attribute(&directory, "dm/name")?.unwrap_or_else(|| uuid.clone());
        let map = Map { device: stat.st_rdev, name };
        return Ok(if is_multipath_table(map.device, control) { Kind::Map(map) } else { Kind::Other });
    }
    Ok(below(&directory)?.map_or(Kind::Other, Kind::OnMap))
}

/// Whether the table says multipath. Where it cannot be read the uuid has to do.
fn is_multipath_table(device: u64, control: Option<&File>) -> bool {
    let Some(control) = control else { return true };
    dm::target_type(control.as_fd(), device).map_or(true, |kind| kind.as_deref() == Some("multipath"))
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
    /// The map with this device number, as far as sysfs has it.
    pub fn numbered(device: u64) -> Self {
        let name = attribute(&sysfs(device), "dm/name").ok().flatten();
        Self { device, name: name.unwrap_or_else(|| format!("{}:{}", major(device), minor(device))) }
    }

    /// The map as multipathd's commands have it. A name with a blank would be two words.
    pub fn for_multipathd(&self) -> String {
        let is_one_word = |c: char| c.is_ascii_alphanumeric() || "._+:-".contains(c);
        if !self.name.is_empty() && self.name.chars().all(is_one_word) {
            self.name.clone()
        } else {
            format!("dm-{}", minor(self.device))
        }
    }
}

/// The kernel's name of a block device, `sda` for example; its number where sysfs does not tell.
pub fn name_of(device: u64) -> String {
    let uevent = attribute(&sysfs(device), "uevent").ok().flatten().unwrap_or_default();
    let name = uevent.lines().find_map(|line| line.strip_prefix("DEVNAME="));
    name.map_or_else(|| format!("{}:{}", major(device), minor(device)), str::to_owned)
}

/// Opens a block device by its name, if that is the device which is meant: in a container it may be another, or missing.
///
/// # Errors
/// It is, or what the system says.
pub fn open(name: &str, device: u64) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(Path::new("/dev").join(name))?;
    let found = file.metadata()?;
    if !found.file_type().is_block_device() || found.rdev() != device {
        return Err(io::Error::other("the node in /dev is another device"));
    }
    Ok(file)
}
