//! What the host says of itself and of a device, for a report that goes into a support case.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
};

use rustix::fs::{major, minor};

/// The kernel's release.
pub fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// Vendor, model and revision of a SCSI disk.
pub fn disk(device: &Path) -> Option<String> {
    let name = fs::canonicalize(device).ok()?;
    let directory = Path::new("/sys/class/block").join(name.file_name()?).join("device");
    let parts = ["vendor", "model", "rev"].map(|name| fs::read_to_string(directory.join(name)).unwrap_or_default());
    let parts: Vec<&str> = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty()).collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

/// How many paths a multipath map has; `None` for anything else.
pub fn paths(device: &Path) -> Option<usize> {
    let meta = fs::metadata(device).ok()?;
    let number = meta.file_type().is_block_device().then(|| meta.rdev())?;
    paths_of(&Path::new("/sys/dev/block").join(format!("{}:{}", major(number), minor(number))))
}

fn paths_of(device: &Path) -> Option<usize> {
    let uuid = fs::read_to_string(device.join("dm/uuid")).ok()?;
    let slaves = fs::read_dir(device.join("slaves")).ok()?;
    uuid.starts_with("mpath-").then(|| slaves.flatten().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multipath_map_is_known_by_its_uuid() {
        let sysfs = tempfile::tempdir().expect("a directory");
        for (device, uuid, slaves) in [("map", "mpath-36001\n", 2), ("volume", "LVM-abc\n", 1)] {
            let directory = sysfs.path().join(device);
            fs::create_dir_all(directory.join("dm")).expect("a directory");
            fs::write(directory.join("dm/uuid"), uuid).expect("a file");
            for slave in 0..slaves {
                fs::create_dir_all(directory.join(format!("slaves/sd{slave}"))).expect("a directory");
            }
        }
        let paths = |device: &str| paths_of(&sysfs.path().join(device));
        assert_eq!((paths("map"), paths("volume"), paths("disk")), (Some(2), None, None));
        assert_eq!(super::paths(sysfs.path()), None);
    }
}
