//! Parts of disks: partitions, logical volumes and whatever else has some of a disk's blocks.
//!
//! A persistent reservation is about a whole logical unit. The kernel sends nothing to one by way of a part of it, except
//! for a program with `CAP_SYS_RAWIO`: that is this one, and not the one that passed the descriptor.

use std::{io, os::fd::BorrowedFd, path::Path};

use rustix::fs::{FileType, fstat};

use crate::{
    identity::Identity,
    sysfs::{self, attribute, lower},
};

/// More devices do not lie on top of each other.
const MAX_DEPTH: usize = 16;

/// What a command to a part of a disk would do, and what to do instead.
pub fn of_disk(disk: &str) -> String {
    format!(
        "it is a part of {disk}, and the command would reach all of {disk}; give the guest the whole disk, or set parts = \
         \"allow\" (qemu-pr-helper.toml(5))"
    )
}

/// The same for what lies on more than one device.
fn of_several(devices: &[String]) -> String {
    format!(
        "it lies on several devices ({}), and the command would reach one of them at the most; if it is a multipath map, have \
         multipathd make it, with mpath- in its device-mapper uuid",
        devices.join(", ")
    )
}

/// Why a command to this partition of a SCSI disk would not stay in it, by its number alone.
pub fn numbered(identity: Identity) -> Option<String> {
    identity.partition().map(|_| of_disk(&identity.disk().number().to_string()))
}

/// Why a command to this block device would not stay in it, if it would not.
///
/// # Errors
/// It cannot be told.
pub fn look_up(device: BorrowedFd<'_>) -> io::Result<Option<String>> {
    let stat = fstat(device)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::BlockDevice {
        return Ok(None);
    }
    find(&sysfs::block(stat.st_rdev), MAX_DEPTH)
}

/// The kernel's own rule (`dm_blk_ioctl`, `sd_ioctl`): a partition is a part, and so is what device-mapper puts on one
/// device unless it has the same size.
fn find(device: &Path, depth: usize) -> io::Result<Option<String>> {
    if attribute(device, "partition")?.is_some() {
        return Ok(Some(of_disk(&name(device))));
    }
    if attribute(device, "dm/uuid")?.is_none() {
        return Ok(None);
    }
    match (lower(device)?.as_slice(), depth.checked_sub(1)) {
        ([], _) => Ok(None),
        ([lower], Some(depth)) => {
            let sizes = [attribute(device, "size")?, attribute(lower, "size")?];
            if sizes[0].is_some() && sizes[0] == sizes[1] {
                find(lower, depth)
            } else {
                Ok(Some(of_disk(&name(lower))))
            }
        }
        (several, _) => Ok(Some(of_several(&several.iter().map(|device| name(device)).collect::<Vec<_>>()))),
    }
}

/// What the disk at the bottom is called.
fn name(device: &Path) -> String {
    let mut path = device.canonicalize().unwrap_or_else(|_| device.to_owned());
    for _ in 0..MAX_DEPTH {
        let below = match lower(&path).unwrap_or_default().as_slice() {
            [lower] => lower.canonicalize().ok(),
            _ if path.join("partition").exists() => path.parent().map(Path::to_owned),
            _ => None,
        };
        let Some(below) = below else { break };
        path = below;
    }
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().replace('!', "/")
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::PathBuf};

    use super::*;

    /// A sysfs with `sda` (2000 sectors), its partition `sda1`, `sdb`, and what the test puts on them.
    struct Sysfs(tempfile::TempDir);

    impl Sysfs {
        fn new() -> Self {
            let sysfs = Self(tempfile::tempdir().unwrap());
            for disk in ["sda", "sdb"] {
                sysfs.write(&format!("{disk}/size"), "2000\n");
            }
            sysfs.write("sda/sda1/partition", "1\n");
            sysfs.write("sda/sda1/size", "1000\n");
            sysfs
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn write(&self, path: &str, text: &str) {
            fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
            fs::write(self.at(path), text).unwrap();
        }

        /// A device of device-mapper's.
        fn mapped(&self, name: &str, size: &str, lower: &[&str]) {
            self.write(&format!("{name}/dm/uuid"), "\n");
            self.write(&format!("{name}/size"), size);
            fs::create_dir_all(self.at(&format!("{name}/slaves"))).unwrap();
            for lower in lower {
                let link = format!("{name}/slaves/{}", lower.rsplit('/').next().unwrap());
                symlink(self.at(lower), self.at(&link)).unwrap();
            }
        }

        fn find(&self, name: &str) -> Option<String> {
            find(&self.at(name), MAX_DEPTH).unwrap()
        }
    }

    #[test]
    fn a_disk_is_no_part_of_itself() {
        let sysfs = Sysfs::new();
        assert_eq!(sysfs.find("sda"), None);
        assert_eq!(sysfs.find("nothing"), None);
        sysfs.mapped("dm-0", "2000\n", &["sda"]);
        sysfs.mapped("dm-1", "2000\n", &["dm-0"]);
        sysfs.mapped("dm-2", "2000\n", &[]);
        assert_eq!(["dm-0", "dm-1", "dm-2"].map(|whole| sysfs.find(whole)), [None, None, None]);
    }

    #[test]
    fn partitions_and_volumes_are_parts_however_deep_the_disk_is() {
        let sysfs = Sysfs::new();
        sysfs.mapped("dm-0", "500\n", &["sda"]);
        // All of a partition, all of a volume, and something whose size cannot be read.
        sysfs.mapped("dm-1", "1000\n", &["sda/sda1"]);
        sysfs.mapped("dm-2", "100\n", &["dm-0"]);
        sysfs.mapped("dm-3", "2000\n", &["sda"]);
        fs::remove_file(sysfs.at("dm-3/size")).unwrap();
        for part in ["sda/sda1", "dm-0", "dm-1", "dm-2", "dm-3"] {
            assert_eq!(sysfs.find(part).as_deref(), Some(&*of_disk("sda")), "{part}");
        }
    }

    #[test]
    fn what_lies_on_several_devices_is_none_of_them() {
        let sysfs = Sysfs::new();
        sysfs.mapped("dm-0", "2000\n", &["sda", "sdb"]);
        sysfs.mapped("dm-1", "2000\n", &["dm-0"]);
        for device in ["dm-0", "dm-1"] {
            let reason = sysfs.find(device).expect("a reason");
            assert!(reason.starts_with("it lies on several devices (sda, sdb), and"), "{reason}");
        }
    }

    #[test]
    fn a_circle_ends() {
        let sysfs = Sysfs::new();
        sysfs.mapped("dm-0", "2000\n", &[]);
        symlink(sysfs.at("dm-0"), sysfs.at("dm-0/slaves/dm-0")).unwrap();
        assert!(sysfs.find("dm-0").is_some());
    }

    #[test]
    fn what_cannot_be_read_is_no_answer() {
        let sysfs = Sysfs::new();
        fs::create_dir_all(sysfs.at("dm-0/dm/uuid")).unwrap();
        assert!(find(&sysfs.at("dm-0"), MAX_DEPTH).is_err());
    }
}
