//! Which initiator port of this host leads to a SCSI device, and to which target port, as far as sysfs tells.
//!
//! Where sysfs is mounted is the caller's to say: a tool may look at another root than its own.

use std::{fs, path::Path};

use scsi_persistent_reservations::{DataIn, TransportId};

/// The drivers of hosts whose sessions open-iscsi logs in; an adapter that does so by itself calls them as it likes.
const LOGS_IN: [&str; 2] = ["iscsi_tcp", "iscsi_iser"];

/// How open-iscsi begins what it calls a session on the wire (usr/initiator.c, `DRIVER_ISID`).
pub const ISID: &str = "00023d";

/// Association 1, which is the target port that is asked, and designator type 4, its relative number (SPC-4 7.8.5).
const RELATIVE_TARGET_PORT: u8 = 0x14;

/// An initiator port of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Initiator {
    /// Its TransportID (SPC-4 7.6.4), as it is on the wire.
    pub transport_id: Vec<u8>,
    /// Whether the kernel says it, or it is put together from what the kernel and open-iscsi are known to do.
    pub is_certain: bool,
}

/// The initiator port that leads to the SCSI device with this directory, whose links are resolved.
pub fn of(sysfs: &Path, directory: &Path) -> Option<Initiator> {
    let host = format!("host{}", numbered(directory, "host")?);
    if let Some(transport_id) = adapter(sysfs, &host) {
        return Some(Initiator { transport_id, is_certain: true });
    }
    let session = numbered(directory, "session").filter(|_| is_logged_in_by_open_iscsi(sysfs, directory))?;
    Some(Initiator { transport_id: iscsi(sysfs, session)?, is_certain: false })
}

/// The TransportIDs of the Fibre Channel and SAS ports of this host.
pub fn adapters(sysfs: &Path) -> Vec<Vec<u8>> {
    names(&sysfs.join("class/scsi_host")).iter().filter_map(|host| adapter(sysfs, host)).collect()
}

/// The TransportIDs of all sessions that open-iscsi has logged in. An adapter that does so by itself has its own.
pub fn sessions(sysfs: &Path) -> Vec<Vec<u8>> {
    let class = sysfs.join("class/iscsi_session");
    let is_open_iscsi = |name: &&String| {
        class.join(name).canonicalize().is_ok_and(|directory| is_logged_in_by_open_iscsi(sysfs, &directory))
    };
    let number = |name: &String| name.strip_prefix("session")?.parse().ok();
    names(&class).iter().filter(is_open_iscsi).filter_map(number).filter_map(|number| iscsi(sysfs, number)).collect()
}

/// The relative target port identifier in a Device Identification page (SPC-4 7.8.5).
pub fn target_port(page: &[u8]) -> Option<u16> {
    let length = usize::from(u16::from_be_bytes([*page.get(2)?, *page.get(3)?]));
    let mut rest = page.get(4..)?;
    rest = &rest[..rest.len().min(length)];
    loop {
        let ([_, kind, _, length], behind) = rest.split_first_chunk::<4>()?;
        let (value, behind) = behind.split_at_checked(usize::from(*length))?;
        if kind & 0x3f == RELATIVE_TARGET_PORT {
            let [.., high, low] = value.get(..4)? else { return None };
            return Some(u16::from_be_bytes([*high, *low]));
        }
        rest = behind;
    }
}

/// The number of the directory of this kind that a device is in.
pub fn numbered(directory: &Path, kind: &str) -> Option<u32> {
    let mut names = directory.ancestors().filter_map(Path::file_name).filter_map(|name| name.to_str());
    names.find_map(|name| name.strip_prefix(kind)?.parse().ok())
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn is_logged_in_by_open_iscsi(sysfs: &Path, directory: &Path) -> bool {
    let driver = |number| fs::read_to_string(sysfs.join(format!("class/scsi_host/host{number}/proc_name"))).ok();
    numbered(directory, "host").and_then(driver).is_some_and(|driver| LOGS_IN.contains(&driver.trim()))
}

/// The port of an adapter that the kernel knows by a name of its own.
fn adapter(sysfs: &Path, host: &str) -> Option<Vec<u8>> {
    fibre_channel(sysfs, host).or_else(|| sas(sysfs, host))
}

/// A `TransportID` of Fibre Channel: the port's world wide name.
fn fibre_channel(sysfs: &Path, host: &str) -> Option<Vec<u8>> {
    let name = wide_name(&fs::read_to_string(sysfs.join(format!("class/fc_host/{host}/port_name"))).ok()?)?;
    let mut id = vec![0; 24];
    id[8..16].copy_from_slice(&name);
    Some(id)
}

/// A `TransportID` of SAS: the address of the host's port.
fn sas(sysfs: &Path, host: &str) -> Option<Vec<u8>> {
    let name = wide_name(&fs::read_to_string(sysfs.join(format!("class/scsi_host/{host}/host_sas_address"))).ok()?)?;
    let mut id = vec![0; 24];
    id[0] = 6;
    id[4..12].copy_from_slice(&name);
    Some(id)
}

/// A `TransportID` of iSCSI: the initiator's name, and what open-iscsi calls its session on the wire, whose last three bytes
/// are the number that the kernel gives it.
fn iscsi(sysfs: &Path, session: u32) -> Option<Vec<u8>> {
    let name = fs::read_to_string(sysfs.join(format!("class/iscsi_session/session{session}/initiatorname"))).ok()?;
    Some(iscsi_port(name.trim(), session))
}

fn iscsi_port(name: &str, session: u32) -> Vec<u8> {
    let isid = format!("{ISID}{:06x}", session & 0xff_ffff);
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

    /// As the kernel's own target told it of session 5, but for the name.
    #[test]
    fn an_iscsi_port_is_called_by_the_initiator_and_its_session() {
        let told = b"\x45\0\0\x24iqn.2024-01.test:1,i,0x00023d000005\0";
        assert_eq!(iscsi_port("iqn.2024-01.test:1", 5), told);
    }

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
    fn a_wide_name_is_read() {
        assert_eq!(wide_name("0x10000000c9a1b2c3\n"), Some([0x10, 0, 0, 0, 0xc9, 0xa1, 0xb2, 0xc3]));
        assert_eq!(wide_name("none"), None);
    }
}
