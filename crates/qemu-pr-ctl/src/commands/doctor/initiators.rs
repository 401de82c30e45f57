//! Who this host is to its disks, as far as sysfs tells: Fibre Channel, SAS, and iSCSI with open-iscsi.

use std::fs;

use pr_device::{initiator, sysfs};
use scsi_persistent_reservations::{FullStatusDescriptor, TransportId};

use super::host::Host;
use crate::target::host::{is_gone, words};

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
    ports: Vec<String>,
    /// Those that are iSCSI sessions.
    sessions: Vec<String>,
}

impl Initiators {
    pub fn of(host: &Host) -> Self {
        let sysfs = host.path(sysfs::ROOT);
        let in_words = |ids: Vec<Vec<u8>>| ids.iter().map(|id| words(id)).collect::<Vec<_>>();
        let sessions = in_words(initiator::sessions(&sysfs));
        Self { ports: [in_words(initiator::adapters(&sysfs)), sessions.clone()].concat(), sessions }
    }

    /// Whether a registration is one of this host's.
    pub fn has(&self, registration: &Registration) -> bool {
        self.ports.iter().any(|port| registration.is_of_initiator(port))
    }

    /// Whether a registration is of this host's iSCSI initiator by a session that it has no more.
    pub fn had(&self, registration: &Registration) -> bool {
        is_gone(&registration.initiator, &self.sessions)
    }
}

/// The ends of the path that a SCSI disk is, where the host tells.
pub fn port(host: &Host, disk: &str) -> Option<Port> {
    let directory = fs::canonicalize(host.path(format!("/sys/block/{disk}/device"))).ok()?;
    let initiator = words(&initiator::of(&host.path(sysfs::ROOT), &directory)?.transport_id);
    let page = fs::read(directory.join("vpd_pg83")).ok();
    Some(Port { initiator, target_port: page.and_then(|page| initiator::target_port(&page)) })
}
