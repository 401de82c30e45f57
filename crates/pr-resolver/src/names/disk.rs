//! What a disk is called, by what sysfs and udev tell everybody.

use std::{fs, path::Path};

use pr_control::Device;
use pr_device::{Identity, Kind, sysfs::MAP};

use crate::text::clean;

/// The names of a disk, as far as they can be found.
pub fn look_up(identity: Identity) -> Device {
    let (class, letter) = match identity.kind {
        Kind::Block => ("block", 'b'),
        Kind::Character => ("char", 'c'),
        Kind::File | Kind::Pipe | Kind::Unknown => return Device::default(),
    };
    let number = identity.number();
    find(Path::new(&format!("/sys/dev/{class}/{number}")), Path::new(&format!("/run/udev/data/{letter}{number}")))
}

fn find(sysfs: &Path, udev: &Path) -> Device {
    let read = |name: &str| fs::read_to_string(sysfs.join(name)).ok();
    let directory = sysfs.canonicalize().ok();
    let name = directory.as_ref().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    let map = read("dm/name");
    let uuid = read("dm/uuid");
    // A partition's disk is the directory above.
    let wwid = read("device/wwid").or_else(|| fs::read_to_string(directory?.parent()?.join("device/wwid")).ok());
    let wwid = wwid.or_else(|| Some(uuid?.trim().strip_prefix(MAP)?.to_owned()));
    let by_id = fs::read_to_string(udev).ok().and_then(|data| best_link(&data));
    Device {
        name: name.and_then(|name| clean(&name)),
        by_id: by_id.and_then(|link| clean(&link)),
        wwid: wwid.and_then(|wwid| clean(&wwid)),
        map: map.and_then(|map| clean(&map)),
        ..Device::default()
    }
}

/// The kinds of links under `/dev/disk/by-id`, those that say most first.
const KINDS: [&str; 6] = ["wwn-", "scsi-3", "nvme-eui.", "dm-uuid-mpath-", "scsi-", ""];

/// The link of udev's record that says most.
fn best_link(record: &str) -> Option<String> {
    let links = record.lines().filter_map(|line| line.strip_prefix("S:disk/by-id/"));
    let rank = |link: &&str| KINDS.iter().position(|kind| link.starts_with(kind));
    // Among equals always the same one.
    links.min_by_key(|link| (rank(link), *link)).map(str::to_owned)
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_best_of_the_links_is_told() {
        let record = "S:disk/by-path/pci\nS:disk/by-id/scsi-0QEMU\nS:disk/by-id/wwn-0x5000\nE:ID_SERIAL=1\n";
        assert_eq!(best_link(record).as_deref(), Some("wwn-0x5000"));
        assert_eq!(best_link("S:disk/by-id/ata-x\nS:disk/by-id/ata-a").as_deref(), Some("ata-a"));
        assert_eq!(best_link("E:X=1"), None);
    }

    #[test]
    fn a_disk_a_partition_and_a_map_have_their_names() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        let write = |path: &str, text: &str| {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            fs::write(at(path), text).unwrap();
        };
        write("devices/sdb/device/wwid", "naa.6001405abc\n");
        write("devices/sdb/sdb1/partition", "1\n");
        write("devices/dm-0/dm/name", "mpatha\n");
        write("devices/dm-0/dm/uuid", "mpath-36001405abc\n");
        write("udev", "S:disk/by-id/wwn-0x6001405abc\n");
        for (link, target) in [("8:16", "devices/sdb"), ("8:17", "devices/sdb/sdb1"), ("253:0", "devices/dm-0")] {
            symlink(at(target), at(link)).unwrap();
        }
        let disk = find(&at("8:16"), &at("udev"));
        assert_eq!(disk.name.as_deref(), Some("sdb"));
        assert_eq!(disk.wwid.as_deref(), Some("naa.6001405abc"));
        assert_eq!(disk.by_id.as_deref(), Some("wwn-0x6001405abc"));
        let partition = find(&at("8:17"), &at("none"));
        assert_eq!((partition.name.as_deref(), partition.wwid.as_deref()), (Some("sdb1"), Some("naa.6001405abc")));
        let map = find(&at("253:0"), &at("none"));
        assert_eq!((map.map.as_deref(), map.wwid.as_deref()), (Some("mpatha"), Some("36001405abc")));
        assert_eq!(find(&at("7:7"), &at("none")), Device::default());
    }
}
