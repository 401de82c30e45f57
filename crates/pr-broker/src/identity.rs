//! Who a path is to the logical unit, as far as sysfs tells.

use std::{fs, path::Path};

use pr_device::sysfs;
use pr_multipath::{HostSays, Identity, PathId};
use scsi_persistent_reservations::{DataIn, TransportId};

/// The page of the vital product data that names the ports, and its designator for the relative target port.
const RELATIVE_TARGET_PORT: u8 = 4;

/// The drivers of hosts whose sessions open-iscsi logs in; an adapter that does so by itself calls them as it likes.
const LOGS_IN: [&str; 2] = ["iscsi_tcp", "iscsi_iser"];

/// The initiator port and the target port of a path.
pub fn of(device: u64) -> HostSays {
    told(device).unwrap_or_default()
}

fn told(device: u64) -> Option<HostSays> {
    let directory = sysfs::block(device).join("device").canonicalize().ok()?;
    let target_port = target_port(&fs::read(directory.join("vpd_pg83")).ok()?)?;
    let identity = |transport_id| Identity { target_port, transport_id };
    let host = format!("host{}", numbered(&directory, "host")?);
    if let Some(transport_id) = fibre_channel(&host).or_else(|| sas(&host)) {
        return Some(HostSays::Surely(identity(transport_id)));
    }
    let driver = fs::read_to_string(format!("/sys/class/scsi_host/{host}/proc_name")).ok()?;
    if !LOGS_IN.contains(&driver.trim()) {
        return None;
    }
    iscsi(numbered(&directory, "session")?).map(|transport_id| HostSays::Likely(identity(transport_id)))
}

/// The number of the directory of this kind that a device is in.
fn numbered(directory: &Path, kind: &str) -> Option<u32> {
    let mut names = directory.ancestors().filter_map(Path::file_name).filter_map(|name| name.to_str());
    names.find_map(|name| name.strip_prefix(kind)?.parse().ok())
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
    let session = numbered(directory, "session")?;
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

/// A `TransportID` of Fibre Channel: the port's world wide name.
fn fibre_channel(host: &str) -> Option<Vec<u8>> {
    let name = wide_name(&fs::read_to_string(format!("/sys/class/fc_host/{host}/port_name")).ok()?)?;
    let mut id = vec![0; 24];
    id[8..16].copy_from_slice(&name);
    Some(id)
}

/// A `TransportID` of SAS: the address of the host's port.
fn sas(host: &str) -> Option<Vec<u8>> {
    let name = wide_name(&fs::read_to_string(format!("/sys/class/scsi_host/{host}/host_sas_address")).ok()?)?;
    let mut id = vec![0; 24];
    id[0] = 6;
    id[4..12].copy_from_slice(&name);
    Some(id)
}

/// A `TransportID` of iSCSI: the initiator's name, and what open-iscsi calls its session on the wire, whose last three bytes
/// are the number that the kernel gives it (usr/initiator.c, `DRIVER_ISID`).
fn iscsi(session: u32) -> Option<Vec<u8>> {
    let name = fs::read_to_string(format!("/sys/class/iscsi_session/session{session}/initiatorname")).ok()?;
    Some(iscsi_port(name.trim(), session))
}

fn iscsi_port(name: &str, session: u32) -> Vec<u8> {
    let isid = format!("00023d{:06x}", session & 0xff_ffff);
    let id = TransportId::Iscsi { name: name.as_bytes(), session: Some(isid.as_bytes()) };
    let mut bytes = vec![0; id.length()];
    id.write(&mut DataIn::new(&mut bytes));
    bytes
}

/// `0x` and sixteen digits.
fn wide_name(text: &str) -> Option<[u8; 8]> {
    let digits = text.trim().trim_start_matches("0x");
    Some(u64::from_str_radix(digits, 16).ok()?.to_be_bytes())
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

    /// As the kernel's own target told it of session 5, but for the name.
    #[test]
    fn an_iscsi_port_is_called_by_the_initiator_and_its_session() {
        let told = b"\x45\0\0\x24iqn.2024-01.test:1,i,0x00023d000005\0";
        assert_eq!(iscsi_port("iqn.2024-01.test:1", 5), told);
    }

    #[test]
    fn a_wide_name_is_read() {
        assert_eq!(wide_name("0x10000000c9a1b2c3\n"), Some([0x10, 0, 0, 0, 0xc9, 0xa1, 0xb2, 0xc3]));
        assert_eq!(wide_name("none"), None);
    }
}
