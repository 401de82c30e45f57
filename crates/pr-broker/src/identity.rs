//! Who a path is to the logical unit, as far as sysfs tells.

use std::{fs, path::Path};

use pr_device::{initiator, sysfs};
use pr_multipath::{HostSays, Identity, PathId};

/// The page of the vital product data that names the ports, and its designator for the relative target port.
const RELATIVE_TARGET_PORT: u8 = 4;

/// The initiator port and the target port of a path.
pub fn of(device: u64) -> HostSays {
    told(device).unwrap_or_default()
}

fn told(device: u64) -> Option<HostSays> {
    let directory = sysfs::block(device).join("device").canonicalize().ok()?;
    let target_port = target_port(&fs::read(directory.join("vpd_pg83")).ok()?)?;
    let initiator::Initiator { transport_id, is_certain } = initiator::of(&directory)?;
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

/// The relative target port identifier in a Device Identification page (SPC-4 7.8.5).
fn target_port(page: &[u8]) -> Option<u16> {
    let length = usize::from(u16::from_be_bytes([*page.get(2)?, *page.get(3)?]));
    let mut rest = page.get(4..)?;
    rest = &rest[..rest.len().min(length)];
    loop {
        let ([_, kind, _, length], behind) = rest.split_first_chunk::<4>()?;
        let (value, behind) = behind.split_at_checked(usize::from(*length))?;
        // Of a target port: association 1.
        if kind & 0x3f == 0x10 | RELATIVE_TARGET_PORT {
            let [.., high, low] = value.get(..4)? else { return None };
            return Some(u16::from_be_bytes([*high, *low]));
        }
        rest = behind;
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    #[test]
    fn the_target_port_is_read_from_the_page() {
        let name = [1, 3, 0, 8, 0x60, 1, 2, 3, 4, 5, 6, 7];
        let port = [0x61, 0x94, 0, 4, 0, 0, 1, 2];
        let page = |designators: &[&[u8]]| {
            let all = designators.concat();
            [&[0, 0x83][..], &u16::try_from(all.len()).unwrap().to_be_bytes(), &all].concat()
        };
        assert_eq!(target_port(&page(&[&name, &port])), Some(0x102));
        assert_eq!(target_port(&page(&[&name])), None);
        // A target port group is something else, and so is what lies behind the end.
        assert_eq!(target_port(&page(&[&[0x61, 0x95, 0, 4, 0, 0, 1, 2]])), None);
        assert_eq!(target_port(&[&page(&[&name])[..], &port].concat()), None);
        for end in 0..page(&[&name, &port]).len() {
            assert_eq!(target_port(&page(&[&name, &port])[..end]), None, "{end}");
        }
    }

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
