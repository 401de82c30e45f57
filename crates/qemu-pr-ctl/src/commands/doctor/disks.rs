//! What disks answer: their keys, their reservation, and whose both are.

use std::{path::PathBuf, time::Duration};

use scsi_persistent_reservations::{
    FullStatus, InAction, ReadKeys, ReadReservation, Reservation, ReservationKey, Status,
};

use super::{
    finding::Finding,
    guests::{self, Guest},
    host::Host,
    initiators::{Initiators, Registration},
    luns,
};
use crate::{
    error::Error,
    request::Access,
    target::{Device, Disk, Helper},
};

/// What only those who may open disks can look at.
const RESERVATIONS: &str = "the reservations of disks";

/// How disks are asked: through a helper, or without one.
pub struct Asker<'a> {
    pub host: &'a Host,
    /// A helper that answers.
    pub helper: Option<Helper>,
    pub timeout: Duration,
}

/// What a disk answers.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub generation: u32,
    /// One for each registration.
    pub keys: Vec<ReservationKey>,
    /// There were more than an answer has room for.
    pub has_more_keys: bool,
    pub reservation: Option<Reservation>,
    /// `None` where the disk has no READ FULL STATUS, or has more to tell than an answer has room for.
    pub registrations: Option<Vec<Registration>>,
}

impl Asker<'_> {
    /// What a disk answers; `None` for one that this user may not open.
    pub fn ask(&self, disk: &str) -> Option<Result<Answer, Error>> {
        match self.try_to_ask(disk) {
            Err(Error::DeviceDenied { .. } | Error::CommandDenied(_)) => {
                self.host.could_not_see(RESERVATIONS);
                None
            }
            answer => Some(answer),
        }
    }

    fn try_to_ask(&self, disk: &str) -> Result<Answer, Error> {
        let device = Device { path: self.host.path(format!("/dev/{disk}")), direct: self.helper.is_none() };
        // Without a helper none is connected to.
        let nowhere = Helper::at(PathBuf::new(), self.timeout);
        let mut disk = Disk::open(self.helper.as_ref().unwrap_or(&nowhere), &device, Access::Read)?;
        // Pending unit attentions are reported once.
        disk.ask_settled(InAction::ReadKeys)?;
        let keys = disk.data(InAction::ReadKeys)?;
        let reservation = disk.data(InAction::ReadReservation)?;
        let full = disk.ask(InAction::ReadFullStatus)?;
        let read = ReadKeys::parse(&keys).map_err(|_| disk.too_short(InAction::ReadKeys, &keys))?;
        let held = ReadReservation::parse(&reservation)
            .map_err(|_| disk.too_short(InAction::ReadReservation, &reservation))?;
        let registrations = (full.status == Status::GOOD).then(|| FullStatus::parse(&full.data).ok()).flatten();
        let registrations = registrations.filter(|all| !all.is_truncated());
        Ok(Answer {
            generation: read.generation,
            keys: read.keys().collect(),
            has_more_keys: read.is_truncated(),
            reservation: held.reservation,
            registrations: registrations.map(|all| all.descriptors().map(Registration::from).collect()),
        })
    }
}

/// Looks at one disk. It may have been named as one that a guest is to have.
pub fn look(asker: &Asker<'_>, disk: &str, guests: &[Guest], initiators: &Initiators) -> Vec<Finding> {
    // What is sent to a map that is suspended waits as all else does.
    if luns::is_suspended(asker.host, disk) {
        return Vec::new();
    }
    let name = luns::node(asker.host, disk);
    let answer = match asker.ask(disk) {
        None => return Vec::new(),
        Some(Err(error)) => return vec![Finding::DiskRefuses { disk: name, error: error.to_string() }],
        Some(Ok(answer)) => answer,
    };
    let mut findings = Vec::new();
    for registration in answer.registrations.iter().flatten().filter(|registration| initiators.had(registration)) {
        findings.push(Finding::StaleSession {
            disk: name.clone(),
            key: registration.key,
            initiator: registration.initiator.clone(),
            holds: registration.holds,
            kind: answer.reservation.map(|held| held.scope_type & 0x0f),
        });
    }
    let lun = luns::lun(asker.host, disk);
    let is_used = guests.iter().flat_map(|guest| &guest.disks).any(|other| luns::lun(asker.host, other) == lun);
    if is_used || asker.host.unseen().contains(&guests::OPEN_FILES) {
        return findings;
    }
    let ours: Vec<&Registration> =
        answer.registrations.iter().flatten().filter(|registration| initiators.has(registration)).collect();
    match (ours.iter().find(|registration| registration.holds), answer.reservation) {
        (Some(holder), Some(held)) => {
            findings.push(Finding::ReservationOfNobody { disk: name, key: holder.key, kind: held.scope_type & 0x0f });
        }
        _ => findings.extend(
            ours.first().map(|registration| Finding::KeyOfNobody { disk: name.clone(), key: registration.key }),
        ),
    }
    findings
}

/// The disks of a command line; one that cannot be found is an error as for every other command.
pub fn named(host: &Host, paths: &[PathBuf]) -> Result<Vec<String>, Error> {
    let found = |path: &PathBuf| {
        host.disk_at(path).ok_or_else(|| match host.path(path).try_exists() {
            Ok(true) => Error::NotScsi(path.clone()),
            Ok(false) => Error::NoDevice(path.clone()),
            Err(error) => Error::opening(path, Access::Read, error),
        })
    };
    paths.iter().map(found).collect()
}
