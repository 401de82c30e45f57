//! All names of a disk, for rules: what is forbidden under one name must not be possible under another.
//!
//! A disk can be opened as itself, as one of its partitions, as a SCSI generic device, as one path of a multipath map
//! or as the map, or as a volume on top of any of these. A persistent reservation reaches the same disk each time, so
//! all of these share their names here.

use std::{
    collections::BTreeSet,
    fs, io, mem,
    path::{Path, PathBuf},
};

use pr_device::{Identity, Kind, sysfs::MAP};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::text::clean;

/// The names of a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aliases {
    /// Kernel names, numbers, map names, WWIDs and links under `/dev/disk/by-id`.
    pub names: Vec<String>,
    /// How many paths it has as a multipath map, none if it is no map; `None` where that cannot be told.
    pub paths: Option<usize>,
    /// These are all; otherwise there may be more.
    pub is_complete: bool,
}

/// Volumes are not stacked higher than this.
const MAX_DEPTH: usize = 8;

/// More bytes than the names of any disk have.
pub const MAX_BYTES: usize = 32 * 1024;

/// The names of a disk; `None` if there is no such device.
pub fn look_up(identity: Identity) -> Option<Aliases> {
    let class = match identity.kind {
        Kind::Block => "block",
        Kind::Character => "char",
        Kind::File | Kind::Pipe | Kind::Unknown => return None,
    };
    let path = format!("/sys/dev/{class}/{}", identity.number());
    find(Path::new(&path), identity.kind, Path::new("/run/udev/data"))
}

fn find(sysfs: &Path, kind: Kind, udev: &Path) -> Option<Aliases> {
    let start = sysfs.canonicalize().ok()?;
    let mut search = Search { udev, seen: BTreeSet::new(), names: BTreeSet::new(), is_complete: true };
    match kind {
        Kind::Block => search.disk(&start, MAX_DEPTH),
        _ => search.character_device(&start),
    }
    let paths = search.paths(&start);
    let Search { names, mut is_complete, .. } = search;
    let mut room = MAX_BYTES;
    let fits = |name: &String| {
        let left = room.checked_sub(name.len() + 8);
        room = left.unwrap_or(0);
        left.is_some()
    };
    let count = names.len();
    let names: Vec<String> = names.into_iter().take_while(fits).collect();
    is_complete &= names.len() == count;
    Some(Aliases { names, paths, is_complete })
}

struct Search<'a> {
    udev: &'a Path,
    seen: BTreeSet<PathBuf>,
    names: BTreeSet<String>,
    is_complete: bool,
}

impl Search<'_> {
    /// A name that is not as it was found would let a rule pass that is about the other one.
    fn add(&mut self, name: &str) {
        let clean = clean(name);
        self.is_complete &= clean.as_deref().unwrap_or_default() == name.trim();
        self.names.extend(clean);
    }

    /// A block device and what it consists of.
    fn disk(&mut self, path: &Path, depth: usize) {
        let Ok(path) = path.canonicalize() else {
            self.is_complete = false;
            return;
        };
        if !self.seen.insert(path.clone()) {
            return;
        }
        let Some(below) = depth.checked_sub(1) else {
            self.is_complete = false;
            return;
        };
        self.itself(&path);
        if self.read(&path, "partition").is_some()
            && let Some(parent) = path.parent()
        {
            self.disk(parent, below);
        }
        for slave in self.entries(&path.join("slaves")) {
            self.disk(&slave, below);
        }
        // A map made of this path. Nothing else above it is this disk alone.
        for holder in self.entries(&path.join("holders")) {
            if self.is_map(&holder) {
                self.disk(&holder, below);
            }
        }
    }

    /// A character device is a disk under another name, and sysfs knows which: not while the disk's driver is still
    /// looking for it or has let go of it, and not of every kind of device. Those that are memory are none.
    fn character_device(&mut self, path: &Path) {
        self.common(path);
        let disks = self.entries(&path.join("device/block"));
        let is_memory = self.read(path, "dev").is_some_and(|number| number.starts_with("1:"));
        self.is_complete &= is_memory || !disks.is_empty();
        for disk in disks {
            self.disk(&disk, MAX_DEPTH);
        }
    }

    fn common(&mut self, path: &Path) {
        if let Some(name) = path.file_name() {
            self.add(&name.to_string_lossy());
        }
        if let Some(wwid) = self.read(path, "device/wwid") {
            self.wwid(&wwid);
        }
    }

    /// In the kernel's form, and in the one that multipath and udev make of it.
    fn wwid(&mut self, wwid: &str) {
        self.add(wwid);
        for (kind, digit) in [("naa.", '3'), ("eui.", '2')] {
            if let Some(number) = wwid.strip_prefix(kind) {
                self.add(&format!("{digit}{number}"));
            }
        }
    }

    fn itself(&mut self, path: &Path) {
        self.common(path);
        if let Some(map) = self.read(path, "dm/name") {
            self.add(&map);
        }
        if let Some(wwid) = self.read(path, "dm/uuid").as_deref().and_then(|uuid| uuid.strip_prefix(MAP)) {
            self.add(wwid);
        }
        let Some(number) = self.read(path, "dev") else {
            self.is_complete = false;
            return;
        };
        self.add(&number);
        // udev writes one for every disk. None means that it has not got to this one, or that it is not here.
        let Ok(record) = fs::read_to_string(self.udev.join(format!("b{number}"))) else {
            self.is_complete = false;
            return;
        };
        for link in record.lines().filter_map(|line| line.strip_prefix("S:disk/by-id/")) {
            self.add(link);
        }
    }

    fn is_map(&mut self, device: &Path) -> bool {
        self.read(device, "dm/uuid").is_some_and(|uuid| uuid.starts_with(MAP))
    }

    /// How many paths a multipath map has.
    fn paths(&mut self, device: &Path) -> Option<usize> {
        let before = mem::replace(&mut self.is_complete, true);
        let paths = if self.is_map(device) { self.entries(&device.join("slaves")).len() } else { 0 };
        let is_certain = self.is_complete;
        self.is_complete &= before;
        is_certain.then_some(paths)
    }

    /// What a file says; `None` where there is none, or where it cannot be read as text, which is not the same.
    fn read(&mut self, path: &Path, name: &str) -> Option<String> {
        let bytes = self.there(fs::read(path.join(name)))?;
        let text = String::from_utf8(bytes);
        self.is_complete &= text.is_ok();
        text.ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// What is in a directory; nothing where there is none.
    fn entries(&mut self, directory: &Path) -> Vec<PathBuf> {
        let entries = self.there(fs::read_dir(directory)).into_iter().flatten();
        let entries: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.path())).collect();
        self.is_complete &= entries.is_ok();
        entries.unwrap_or_default()
    }

    /// What has been read, unless it is not there. What is there and cannot be read is missed.
    fn there<T>(&mut self, result: io::Result<T>) -> Option<T> {
        // The last two are how the kernel says that a disk has no WWID.
        const NONE: [Errno; 4] = [Errno::NOENT, Errno::NOTDIR, Errno::NXIO, Errno::INVAL];
        if let Err(error) = &result {
            self.is_complete &= Errno::from_io_error(error).is_some_and(|errno| NONE.contains(&errno));
        }
        result.ok()
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// `dm-0` (mpatha) of `sda` and `sdb`, `sdb1`, a volume `dm-1` on the map, and `sg1`.
    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        let write = |path: &str, text: &str| {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            fs::write(at(path), text).unwrap();
        };
        for (disk, number) in
            [("sda", "8:0"), ("sdb", "8:16"), ("dm-0", "253:0"), ("dm-1", "253:1"), ("sdb/sdb1", "8:17")]
        {
            write(&format!("devices/{disk}/dev"), &format!("{number}\n"));
            write(&format!("udev/b{number}"), &format!("S:disk/by-id/link-of-{}\nE:X=1\n", disk.replace('/', "-")));
        }
        for path in ["sda", "sdb"] {
            write(&format!("devices/{path}/device/wwid"), "naa.6001405abc\n");
            fs::create_dir_all(at(&format!("devices/{path}/holders"))).unwrap();
            symlink(at("devices/dm-0"), at(&format!("devices/{path}/holders/dm-0"))).unwrap();
        }
        write("devices/sdb/sdb1/partition", "1\n");
        write("devices/dm-0/dm/name", "mpatha\n");
        write("devices/dm-0/dm/uuid", "mpath-36001405abc\n");
        write("devices/dm-1/dm/name", "vg-lv\n");
        write("devices/dm-1/dm/uuid", "LVM-x\n");
        for (holder, slave) in [("dm-0", "sda"), ("dm-0", "sdb"), ("dm-1", "dm-0")] {
            fs::create_dir_all(at(&format!("devices/{holder}/slaves"))).unwrap();
            symlink(at(&format!("devices/{slave}")), at(&format!("devices/{holder}/slaves/{slave}"))).unwrap();
        }
        fs::create_dir_all(at("devices/dm-0/holders")).unwrap();
        symlink(at("devices/dm-1"), at("devices/dm-0/holders/dm-1")).unwrap();
        fs::create_dir_all(at("devices/sg1/device/block")).unwrap();
        symlink(at("devices/sdb"), at("devices/sg1/device/block/sdb")).unwrap();
        root
    }

    #[test]
    fn a_disk_is_known_by_the_same_names_however_it_is_opened() {
        let root = tree();
        let names = |device: &str, kind| {
            let device = root.path().join("devices").join(device);
            find(&device, kind, &root.path().join("udev")).unwrap()
        };
        let common =
            ["36001405abc", "8:0", "8:16", "dm-0", "link-of-dm-0", "link-of-sdb", "mpatha", "naa.6001405abc", "sdb"];
        let ways = [("sdb", Kind::Block), ("dm-0", Kind::Block), ("dm-1", Kind::Block), ("sdb/sdb1", Kind::Block)];
        for (device, kind) in ways.into_iter().chain([("sg1", Kind::Character)]) {
            let Aliases { names, paths, is_complete } = names(device, kind);
            assert!(is_complete);
            assert_eq!(paths, Some(if device == "dm-0" { 2 } else { 0 }), "{device}");
            for name in common {
                assert!(names.iter().any(|known| known == name), "{device}: no {name} in {names:?}");
            }
        }
        let disk = names("sdb", Kind::Block).names;
        assert!(!disk.iter().any(|name| name == "vg-lv"), "a volume is not the disk: {disk:?}");
    }

    #[test]
    fn names_that_udev_has_not_told_are_missed() {
        let root = tree();
        let (device, udev) = (root.path().join("devices/sdb"), root.path().join("udev"));
        fs::remove_file(udev.join("b8:0")).unwrap();
        let some = find(&device, Kind::Block, &udev).unwrap();
        assert!(!some.is_complete && some.names.iter().any(|name| name == "link-of-sdb"), "{some:?}");
        assert_eq!(find(&root.path().join("devices/sdz"), Kind::Block, &udev), None);
    }

    #[test]
    fn names_that_cannot_be_read_are_missed() {
        // A mistake in one of these would go unnoticed without it.
        let breaks: [(&str, &str, Kind); 9] = [
            ("slaves", "devices/dm-1/slaves", Kind::Block),
            ("holders", "devices/sdb/holders", Kind::Block),
            ("partition", "devices/sdb/sdb1/partition", Kind::Block),
            ("the map's name", "devices/dm-0/dm/name", Kind::Block),
            ("what it is", "devices/dm-0/dm/uuid", Kind::Block),
            ("what a holder is", "devices/dm-0/dm/uuid", Kind::Block),
            ("WWID", "devices/sdb/device/wwid", Kind::Block),
            ("number", "devices/sdb/dev", Kind::Block),
            ("the disk of sg", "devices/sg1/device/block", Kind::Character),
        ];
        let start = ["dm-1", "sdb", "sdb/sdb1", "dm-0", "dm-0", "sdb", "sdb", "sdb", "sg1"];
        for ((what, path, kind), device) in breaks.into_iter().zip(start) {
            let root = tree();
            let (path, device) = (root.path().join(path), root.path().join("devices").join(device));
            if path.is_dir() {
                fs::remove_dir_all(&path).unwrap();
            } else {
                fs::remove_file(&path).unwrap();
            }
            // Reading it fails, and looking for it does: root may do everything but this.
            symlink(&path, &path).unwrap();
            let found = find(&device, kind, &root.path().join("udev")).unwrap();
            assert!(!found.is_complete, "{what}: {found:?}");
            assert_eq!(found.paths.is_none(), what == "what it is", "{what}: {found:?}");
        }
    }

    #[test]
    fn a_generic_device_whose_disk_is_not_there_yet_has_more_names() {
        let root = tree();
        let sg = |name: &str| find(&root.path().join("devices").join(name), Kind::Character, &root.path().join("udev"));
        assert!(sg("sg1").unwrap().is_complete);
        fs::remove_file(root.path().join("devices/sg1/device/block/sdb")).unwrap();
        assert!(!sg("sg1").unwrap().is_complete, "sd has let go of it");
        fs::remove_dir(root.path().join("devices/sg1/device/block")).unwrap();
        assert!(!sg("sg1").unwrap().is_complete, "sd has not found it yet");
        // As /dev/raw/raw1 was: nothing says which disk it is.
        fs::create_dir_all(root.path().join("devices/raw1")).unwrap();
        fs::write(root.path().join("devices/raw1/dev"), "162:1\n").unwrap();
        assert!(!sg("raw1").unwrap().is_complete);
    }

    #[test]
    fn a_name_that_is_no_text_or_no_name_is_missed() {
        for odd in [&b"t10.ACME \xff\xfe disk"[..], b"t10.a\x07b", &[b'w'; 300]] {
            let root = tree();
            fs::write(root.path().join("devices/sdb/device/wwid"), odd).unwrap();
            let found = find(&root.path().join("devices/sdb"), Kind::Block, &root.path().join("udev")).unwrap();
            assert!(!found.is_complete, "{found:?}");
        }
    }

    #[test]
    fn a_device_that_is_no_disk_has_its_name() {
        let null = Identity { kind: Kind::Character, device: rustix::fs::makedev(1, 3) };
        assert_eq!(look_up(null), Some(Aliases { names: vec!["null".into()], paths: Some(0), is_complete: true }));
        assert_eq!(look_up(Identity::default()), None);
    }
}
