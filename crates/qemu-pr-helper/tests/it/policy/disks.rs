//! Disks that keep the rules of SPC.

use std::{
    fs::File,
    sync::{Arc, Mutex},
};

use pr_lab::prelude::*;
use pr_sim::{InitiatorPort, LogicalUnit, Nexus};
use scsi_persistent_reservations::{Cdb, ReservationKey};

/// A disk to which all guests of this host are one initiator, as they are to a real one.
#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<LogicalUnit>>);

impl Shared {
    /// Answers the helper's commands.
    pub fn answer(&self, command: &Command) -> Outcome {
        let mut bytes = [0; 16];
        bytes[..command.cdb.len()].copy_from_slice(&command.cdb);
        let cdb = Cdb::new(bytes).expect("one of the two commands");
        let mut buffer = vec![0; usize::try_from(command.dxfer_len).unwrap()];
        let nexus = Nexus { initiator: InitiatorPort(1), target_port: 1 };
        let completion = self.0.lock().unwrap().execute(nexus, &cdb, &command.data_out, &mut buffer);
        match completion.status.0 {
            0 => Answer::good(completion.data).into(),
            2 => Answer::check(&completion.sense.as_bytes()[..18]).into(),
            status => Answer::status(status).into(),
        }
    }

    /// What is registered and reserved, to be compared.
    pub fn state(&self) -> (Vec<ReservationKey>, Option<u8>) {
        let unit = self.0.lock().unwrap();
        let keys = unit.registrations().map(|(_, registration)| registration.key).collect();
        (keys, unit.reservation().map(|held| held.kind.code()))
    }
}

/// A simulated disk: to it every connection is an initiator of its own.
pub fn simulated(bed: &Bed) -> File {
    let path = bed.path("disk");
    File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap()
}
