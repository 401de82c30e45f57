//! Who this host is to its disks, as far as sysfs tells: Fibre Channel, SAS, and iSCSI with open-iscsi.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use scsi_persistent_reservations::{FullStatusDescriptor, TransportId};

use super::host::Host;

/// The drivers of hosts whose sessions open-iscsi logs in; an adapter that does so by itself calls them as it likes.
const LOGS_IN: [&str; 2] = ["iscsi_tcp", "iscsi_iser"];

/// How open-iscsi begins what it calls a session.
const ISID: &str = "00023d";

/// Association 1 and type 4: the relative target port of the port that is asked.
const RELATIVE_TARGET_PORT: u8 = 0x14;

/// One path's ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The initiator port, as `status` prints it.
    pub initiator: String,
    /// The relative target port, where the device tells.
    pub target_port: Option<u16>,
}

/// A registration that a disk has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    pub key: scsi_persistent_reservations::ReservationKey,
    /// The TransportID, as `status` prints it.
    pub initiator: String,
    /// The name alone, of an iSCSI initiator.
    pub iscsi_name: Option<String>,
    /// `None` where it is on all.
    pub target_port: Option<u16>,
    /// Whether it holds the reservation.
    pub holds: bool,
}

impl From<FullStatusDescriptor<'_>> for Registration {
    fn from(descriptor: FullStatusDescriptor<'_>) -> Self {
        let iscsi_name = match descriptor.transport_id {
            TransportId::Iscsi { name, .. } => Some(String::from_utf8_lossy(name).into_owned()),
            _ => None,
        };
        Self {
            key: descriptor.key,
            initiator: descriptor.transport_id.to_string(),
            iscsi_name,
            target_port: (!descriptor.all_target_ports).then_some(descriptor.relative_target_port),
            holds: descriptor.holds.is_some(),
        }
    }
}

impl Registration {
    /// Whether it is that of a path.
    pub fn is_of(&self, port: &Port) -> bool {
        let same_target = match (self.target_port, port.target_port) {
            (Some(here), Some(there)) => here == there,
            _ => true,
        };
        same_target && self.is_of_initiator(&port.initiator)
    }

    /// An iSCSI initiator may be registered with all its sessions.
    fn is_of_initiator(&self, initiator: &str) -> bool {
        self.initiator.eq_ignore_ascii_case(initiator)
            || self.iscsi_name.as_deref().is_some_and(|name| {
                name == self.initiator && initiator.split_once(",i,").is_some_and(|(of, _)| of == name)
            })
    }
}

/// All initiator ports of a host.
#[derive(Debug, Default)]
pub struct Initiators {
    ports: BTreeSet<String>,
    /// The names of iSCSI initiators whose sessions are all known.
    iscsi_names: BTreeSet<String>,
}

impl Initiators {
    pub fn of(host: &Host) -> Self {
        let mut all = Self::default();
        for name in host.names("/sys/class/fc_host").iter().chain(&host.names("/sys/class/scsi_host")) {
            all.ports.extend(fibre_channel(host, name).or_else(|| sas(host, name)));
        }
        for session in host.names("/sys/class/iscsi_session") {
            let Some(number) = session.strip_prefix("session").and_then(|number| number.parse().ok()) else { continue };
            let Some(name) = host.text(format!("/sys/class/iscsi_session/{session}/initiatorname")) else { continue };
            let directory = fs::canonicalize(host.path("/sys/class/iscsi_session").join(&session));
            if directory.is_ok_and(|directory| is_logged_in_by_open_iscsi(host, &directory)) {
                all.ports.insert(iscsi(&name, number));
                all.iscsi_names.insert(name);
            }
        }
        all
    }

    /// Whether a registration is one of this host's.
    pub fn has(&self, registration: &Registration) -> bool {
        self.ports.iter().any(|port| registration.is_of_initiator(port))
    }

    /// Whether a registration is of this host's iSCSI initiator by a session that it has no more.
    pub fn had(&self, registration: &Registration) -> bool {
        let Some(name) = &registration.iscsi_name else { return false };
        let session = registration.initiator.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix(",i,0x"));
        self.iscsi_names.contains(name)
            && session.is_some_and(|session| session.starts_with(ISID))
            && !self.has(registration)
    }
}

/// The ends of the path that a SCSI disk is, where the host tells.
pub fn port(host: &Host, disk: &str) -> Option<Port> {
    let directory = fs::canonicalize(host.path(format!("/sys/block/{disk}/device"))).ok()?;
    let name = format!("host{}", numbered(&directory, "host")?);
    let initiator = fibre_channel(host, &name).or_else(|| sas(host, &name)).or_else(|| {
        let session = numbered(&directory, "session").filter(|_| is_logged_in_by_open_iscsi(host, &directory))?;
        Some(iscsi(&host.text(format!("/sys/class/iscsi_session/session{session}/initiatorname"))?, session))
    })?;
    let target_port = fs::read(directory.join("vpd_pg83")).ok().and_then(|page| target_port(&page));
    Some(Port { initiator, target_port })
}

/// The number of the directory of this kind that a device is in.
fn numbered(directory: &Path, kind: &str) -> Option<u32> {
    let mut names = directory.ancestors().filter_map(Path::file_name).filter_map(|name| name.to_str());
    names.find_map(|name| name.strip_prefix(kind)?.parse().ok())
}

fn is_logged_in_by_open_iscsi(host: &Host, directory: &Path) -> bool {
    let driver = numbered(directory, "host")
        .and_then(|number| host.text(PathBuf::from(format!("/sys/class/scsi_host/host{number}/proc_name"))));
    driver.is_some_and(|driver| LOGS_IN.contains(&driver.as_str()))
}

fn fibre_channel(host: &Host, name: &str) -> Option<String> {
    let name = wide_name(&host.text(format!("/sys/class/fc_host/{name}/port_name"))?)?;
    Some(TransportId::FibreChannel { n_port_name: name }.to_string())
}

fn sas(host: &Host, name: &str) -> Option<String> {
    let address = wide_name(&host.text(format!("/sys/class/scsi_host/{name}/host_sas_address"))?)?;
    Some(TransportId::Sas { address }.to_string())
}

/// The last three bytes of what open-iscsi calls a session are the number that the kernel gives it.
fn iscsi(name: &str, session: u32) -> String {
    let session = format!("{ISID}{:06x}", session & 0xff_ffff);
    TransportId::Iscsi { name: name.as_bytes(), session: Some(session.as_bytes()) }.to_string()
}

/// `0x` and sixteen digits.
fn wide_name(text: &str) -> Option<[u8; 8]> {
    Some(u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()?.to_be_bytes())
}

/// The relative target port identifier in a Device Identification page (SPC-4 7.8.5).
fn target_port(page: &[u8]) -> Option<u16> {
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
