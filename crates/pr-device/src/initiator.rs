//! Which initiator port of this host leads to a SCSI device, as far as sysfs tells.

use std::{fs, path::Path};

use scsi_persistent_reservations::{DataIn, TransportId};

/// The drivers of hosts whose sessions open-iscsi logs in; an adapter that does so by itself calls them as it likes.
const LOGS_IN: [&str; 2] = ["iscsi_tcp", "iscsi_iser"];

/// An initiator port of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Initiator {
    /// Its TransportID (SPC-4 7.6.4), as it is on the wire.
    pub transport_id: Vec<u8>,
    /// Whether the kernel says it, or it is put together from what the kernel and open-iscsi are known to do.
    pub is_certain: bool,
}

/// The initiator port that leads to the SCSI device with this directory, whose links are resolved.
pub fn of(directory: &Path) -> Option<Initiator> {
    let host = format!("host{}", numbered(directory, "host")?);
    if let Some(transport_id) = fibre_channel(&host).or_else(|| sas(&host)) {
        return Some(Initiator { transport_id, is_certain: true });
    }
    let driver = fs::read_to_string(format!("/sys/class/scsi_host/{host}/proc_name")).ok()?;
    if !LOGS_IN.contains(&driver.trim()) {
        return None;
    }
    iscsi(numbered(directory, "session")?).map(|transport_id| Initiator { transport_id, is_certain: false })
}

/// The TransportIDs of all sessions that open-iscsi has logged in. An adapter that does so by itself has its own.
pub fn sessions() -> Vec<Vec<u8>> {
    let entries = fs::read_dir("/sys/class/iscsi_session").into_iter().flatten().flatten();
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_prefix("session")?.parse().ok();
    entries.filter_map(number).filter_map(iscsi).collect()
}

/// The number of the directory of this kind that a device is in.
pub fn numbered(directory: &Path, kind: &str) -> Option<u32> {
    let mut names = directory.ancestors().filter_map(Path::file_name).filter_map(|name| name.to_str());
    names.find_map(|name| name.strip_prefix(kind)?.parse().ok())
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
