//! All names of a disk, for rules: what is forbidden under one name must not be possible under another.
//!
//! A disk can be opened as itself, as one of its partitions, as a SCSI generic device, as one path of a multipath map
//! or as the map, or as a volume on top of any of these. A persistent reservation reaches the same disk each time, so
//! all of these share their names here.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::clean;
use crate::device::{Identity, Kind, sysfs::MAP};

/// The names of a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aliases {
    /// Kernel names, numbers, map names, WWIDs and links under `/dev/disk/by-id`.
    pub names: Vec<String>,
    /// How many paths it has, if it is a multipath map.
    #[serde(default)]
    pub paths: usize,
    /// These are all; otherwise there may be more.
    pub is_complete: bool,
}

/// Volumes are not stacked higher than this.
const MAX_DEPTH: usize = 8;

/// More bytes than the names of any disk have.
const MAX_BYTES: usize = super::MAX_MESSAGE / 2;

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
    Some(Aliases { names, paths: paths(&start), is_complete })
}

/// How many paths a multipath map has.
fn paths(device: &Path) -> usize {
    let is_map = read(device, "dm/uuid").is_some_and(|uuid| uuid.starts_with(MAP));
    if is_map { entries(&device.join("slaves")).len() } else { 0 }
}

struct Search<'a> {
    udev: &'a Path,
    seen: BTreeSet<PathBuf>,
    names: BTreeSet<String>,
    is_complete: bool,
}

impl Search<'_> {
    fn add(&mut self, name: &str) {
        self.names.extend(clean(name));
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
        if path.join("partition").exists()
            && let Some(parent) = path.parent()
        {
            self.disk(parent, below);
        }
        for slave in entries(&path.join("slaves")) {
            self.disk(&slave, below);
        }
        // A map made of this path. Nothing else above it is this disk alone.
        for holder in entries(&path.join("holders")) {
            if read(&holder, "dm/uuid").is_some_and(|uuid| uuid.starts_with(MAP)) {
                self.disk(&holder, below);
            }
        }
    }

    fn character_device(&mut self, path: &Path) {
        self.common(path);
        for disk in entries(&path.join("device/block")) {
            self.disk(&disk, MAX_DEPTH);
        }
    }

    fn common(&mut self, path: &Path) {
        if let Some(name) = path.file_name() {
            self.add(&name.to_string_lossy());
        }
        if let Some(wwid) = read(path, "device/wwid") {
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
        if let Some(map) = read(path, "dm/name") {
            self.add(&map);
        }
        if let Some(wwid) = read(path, "dm/uuid").as_deref().and_then(|uuid| uuid.strip_prefix(MAP)) {
            self.add(wwid);
        }
        let Some(number) = read(path, "dev") else {
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
}

fn read(path: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(path.join(name)).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).collect()
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
            assert_eq!(paths, if device == "dm-0" { 2 } else { 0 }, "{device}");
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
    fn a_device_that_is_no_disk_has_its_name() {
        let null = Identity { kind: Kind::Character, device: rustix::fs::makedev(1, 3) };
        assert_eq!(look_up(null), Some(Aliases { names: vec!["null".into()], paths: 0, is_complete: true }));
        assert_eq!(look_up(Identity::default()), None);
    }
}
