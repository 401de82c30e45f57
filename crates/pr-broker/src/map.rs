//! What a block device is to multipath, asked of sysfs and of device-mapper itself.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    },
    path::Path,
};

use pr_device::{
    Number, multipathd,
    sysfs::{self, MAP, attribute},
};
use pr_sys::dm;
use rustix::fs::{FileType, fstat, minor};

/// The type of a map's target.
const MULTIPATH: &str = "multipath";

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
    /// device-mapper's uuid of it, `mpath-` and the logical unit's; empty if it is not there.
    pub uuid: String,
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
    // One question to device-mapper says all that there is to know of a map.
    let table = control.map(|control| dm::table(control.as_fd(), stat.st_rdev));
    if let Some(Ok(Some(dm::Table { target, uuid, name }))) = &table
        && uuid.starts_with(MAP)
        && target == MULTIPATH
    {
        return Ok(Kind::Map(Map { device: stat.st_rdev, name: name.clone(), uuid: uuid.clone() }));
    }
    let directory = sysfs::block(stat.st_rdev);
    let Some(uuid) = attribute(&directory, "dm/uuid")? else { return Ok(Kind::Other) };
    if uuid.starts_with(MAP) {
        let name = attribute(&directory, "dm/name")?.unwrap_or_else(|| uuid.clone());
        let map = Map { device: stat.st_rdev, name, uuid };
        // Where the table cannot be read the uuid has to do.
        let is_map = match table {
            Some(Ok(table)) => table.is_some_and(|table| table.target == MULTIPATH),
            Some(Err(_)) | None => true,
        };
        return Ok(if is_map { Kind::Map(map) } else { Kind::Other });
    }
    Ok(below(&directory)?.map_or(Kind::Other, Kind::OnMap))
}

/// The name of a map among the devices that this one lies on.
fn below(directory: &Path) -> io::Result<Option<String>> {
    for lower in sysfs::lower(directory)? {
        let Some(uuid) = attribute(&lower, "dm/uuid")? else { continue };
        let name =
            if uuid.starts_with(MAP) { Some(attribute(&lower, "dm/name")?.unwrap_or(uuid)) } else { below(&lower)? };
        if name.is_some() {
            return Ok(name);
        }
    }
    Ok(None)
}

impl Map {
    /// The map with this device number, as far as sysfs has it.
    pub fn numbered(device: u64) -> Self {
        let of = |name| attribute(&sysfs::block(device), name).ok().flatten();
        Self {
            device,
            name: of("dm/name").unwrap_or_else(|| Number(device).to_string()),
            uuid: of("dm/uuid").unwrap_or_default(),
        }
    }

    /// The map as multipathd's commands have it.
    pub fn for_multipathd(&self) -> String {
        multipathd::map_word(&self.name, &format!("dm-{}", minor(self.device))).to_owned()
    }
}

/// The kernel's name of a block device, `sda` for example; its number where sysfs does not tell.
pub fn name_of(device: u64) -> String {
    let uevent = attribute(&sysfs::block(device), "uevent").ok().flatten().unwrap_or_default();
    let name = uevent.lines().find_map(|line| line.strip_prefix("DEVNAME="));
    name.map_or_else(|| Number(device).to_string(), str::to_owned)
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
