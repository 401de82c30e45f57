//! Block devices as what they lead to: a logical unit has a device for each path, and a multipath map over them.

use pr_device::{multipathd, sysfs::MAP};

use super::host::Host;

/// A multipath map.
#[derive(Debug, PartialEq, Eq)]
pub struct Map {
    /// The kernel's name, `dm-0`.
    pub disk: String,
    /// device-mapper's name, `mpatha`.
    pub name: String,
    pub is_suspended: bool,
    /// The kernel's names of its paths.
    pub paths: Vec<String>,
}

impl Map {
    /// The map as multipathd's commands have it.
    pub fn for_multipathd(&self) -> &str {
        multipathd::map_word(&self.name, &self.disk)
    }
}

/// The logical unit that a map is of, as multipath-tools name it.
fn unit_of_map(host: &Host, disk: &str) -> Option<String> {
    host.attribute(disk, "dm/uuid")?.strip_prefix(MAP).map(str::to_owned)
}

/// All multipath maps.
pub fn maps(host: &Host) -> Vec<Map> {
    let disks = host.names("/sys/block");
    disks.into_iter().filter(|disk| unit_of_map(host, disk).is_some()).map(|disk| map(host, disk)).collect()
}

fn map(host: &Host, disk: String) -> Map {
    Map {
        name: host.attribute(&disk, "dm/name").unwrap_or_default(),
        is_suspended: is_suspended(host, &disk),
        paths: host.names(format!("/sys/block/{disk}/slaves")),
        disk,
    }
}

/// Whether I/O to a map waits.
pub fn is_suspended(host: &Host, disk: &str) -> bool {
    host.attribute(disk, "dm/suspended").is_some_and(|suspended| suspended == "1")
}

/// Whether a block device may be sent SCSI commands: a SCSI disk or a multipath map.
pub fn takes_scsi_commands(host: &Host, disk: &str) -> bool {
    unit_of_map(host, disk).is_some()
        || disk.starts_with("sd") && host.path(format!("/sys/block/{disk}/device")).exists()
}

/// The map that a disk is a path of.
pub fn map_over(host: &Host, disk: &str) -> Option<String> {
    host.names(format!("/sys/block/{disk}/holders")).into_iter().find(|holder| unit_of_map(host, holder).is_some())
}

/// What tells logical units apart, however they are reached.
pub fn lun(host: &Host, disk: &str) -> String {
    let map = map_over(host, disk);
    let of_map = unit_of_map(host, map.as_deref().unwrap_or(disk));
    // multipath-tools put the type of the name in front, which for NAA is 3.
    let of_disk = || Some(format!("3{}", host.attribute(disk, "device/wwid")?.strip_prefix("naa.")?.to_lowercase()));
    of_map.or_else(of_disk).or_else(|| host.attribute(disk, "device/wwid")).unwrap_or_else(|| disk.to_owned())
}

/// The name that people use for a disk.
pub fn node(host: &Host, disk: &str) -> String {
    match host.attribute(disk, "dm/name") {
        Some(name) => format!("/dev/mapper/{name}"),
        None => format!("/dev/{disk}"),
    }
}
