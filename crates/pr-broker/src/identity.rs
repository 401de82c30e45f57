//! Who a path is to the logical unit, as far as sysfs tells.

use std::{fs, path::Path};

use pr_device::{initiator, sysfs};
use pr_multipath::{HostSays, Identity, PathId};

/// The initiator port and the target port of a path.
pub fn of(device: u64) -> HostSays {
    told(device).unwrap_or_default()
}

fn told(device: u64) -> Option<HostSays> {
    let directory = sysfs::block(device).join("device").canonicalize().ok()?;
    let target_port = initiator::target_port(&fs::read(directory.join("vpd_pg83")).ok()?)?;
    let initiator::Initiator { transport_id, is_certain } = initiator::of(Path::new(sysfs::ROOT), &directory)?;
    let identity = Identity { target_port, transport_id };
    Some(if is_certain { HostSays::Surely(identity) } else { HostSays::Likely(identity) })
}

/// What a path is called as long as its session lasts, whatever number its disk has: a disk that is removed and found
/// again mostly gets another one, and its old one may be another path's by then. The kernel counts sessions and uses no
/// number again.
pub fn of_session(device: u64) -> Option<PathId> {
    // The link says it all.
    disk(&fs::read_link(sysfs::block(device)).ok()?).and_then(session)
}

/// The SCSI device that a block device is of, by where it is below that in sysfs.
fn disk(block: &Path) -> Option<&Path> {
    block.parent().filter(|folder| folder.ends_with("block"))?.parent()
}

fn session(directory: &Path) -> Option<PathId> {
    let session = initiator::numbered(directory, "session")?;
    let mut address = directory.file_name()?.to_str()?.split(':');
    let (_host, channel, target) = (address.next()?, address.next()?.parse().ok()?, address.next()?.parse().ok()?);
    Some(PathId::of_session(session, channel, target, address.next()?.parse().ok()?))
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_session_is_called_by_it() {
        let of = |path: &str| disk(Path::new(path)).and_then(session);
        let disk = "../../devices/platform/host3/session4/target3:0:0/3:0:0:1/block/sda";
        assert_eq!(of(disk), Some(PathId::of_session(4, 0, 0, 1)));
        assert_ne!(of(disk), of(&disk.replace("session4", "session5")));
        assert_ne!(of(disk), of(&disk.replace("0:1", "0:2")));
        for other in [
            "../../devices/pci0000:00/0000:00:04.0/host0/target0:0:1/0:0:1:0/block/sdb",
            "../../devices/virtual/block/loop0",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
