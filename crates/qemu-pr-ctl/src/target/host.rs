//! What the host says of itself and of a device, for a report that goes into a support case.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use pr_device::{initiator, sysfs};
use rustix::fs::{major, minor};
use scsi_persistent_reservations::TransportId;

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
    path_devices(device).map(|paths| paths.len())
}

/// The paths of a multipath map, in the order of their names; `None` for anything else.
pub fn path_devices(device: &Path) -> Option<Vec<PathBuf>> {
    let number = block(device)?;
    paths_of(&Path::new("/sys/dev/block").join(format!("{}:{}", major(number), minor(number))))
}

fn block(device: &Path) -> Option<u64> {
    let meta = fs::metadata(device).ok()?;
    meta.file_type().is_block_device().then(|| meta.rdev())
}

fn paths_of(device: &Path) -> Option<Vec<PathBuf>> {
    let uuid = fs::read_to_string(device.join("dm/uuid")).ok()?;
    let slaves = fs::read_dir(device.join("slaves")).ok()?;
    let mut paths: Vec<_> = slaves.flatten().map(|entry| Path::new("/dev").join(entry.file_name())).collect();
    paths.sort();
    uuid.starts_with(sysfs::MAP).then_some(paths)
}

/// The initiator port of this host that leads to a disk, as a TransportID in words; `None` where the host does not say.
pub fn initiator(device: &Path) -> Option<String> {
    let directory = sysfs::block(block(device)?).join("device").canonicalize().ok()?;
    Some(words(&initiator::of(Path::new(sysfs::ROOT), &directory)?.transport_id))
}

/// The initiator ports of this host that are iSCSI sessions.
pub fn sessions() -> Vec<String> {
    initiator::sessions(Path::new(sysfs::ROOT)).iter().map(|id| words(id)).collect()
}

/// Whether an initiator port that a disk has registered is an iSCSI session of this host that it has no more: open-iscsi
/// has logged it in, for the same initiator as one of these sessions, and it is none of them. To the disk it is another
/// initiator than those that are there.
pub fn is_gone(port: &str, sessions: &[String]) -> bool {
    let parts = |port: &str| port.split_once(",i,0x").map(|(name, isid)| (name.to_owned(), isid.to_ascii_lowercase()));
    let Some((name, isid)) = parts(port) else { return false };
    let is_ours = |session: &String| parts(session).is_some_and(|(other, _)| other.eq_ignore_ascii_case(&name));
    isid.starts_with(initiator::ISID)
        && sessions.iter().any(is_ours)
        && !sessions.iter().any(|session| session.eq_ignore_ascii_case(port))
}

/// A TransportID in words.
pub fn words(transport_id: &[u8]) -> String {
    TransportId::from_field(transport_id).to_string()
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
        let paths = |device: &str| paths_of(&sysfs.path().join(device)).map(|paths| paths.len());
        assert_eq!(paths_of(&sysfs.path().join("map")), Some(["/dev/sd0", "/dev/sd1"].map(PathBuf::from).to_vec()));
        assert_eq!((paths("map"), paths("volume"), paths("disk")), (Some(2), None, None));
        assert_eq!(super::paths(sysfs.path()), None);
    }
}
