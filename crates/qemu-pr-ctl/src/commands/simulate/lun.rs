//! One simulated disk.

use pr_sim::{InitiatorPort, LogicalUnit, Medium, Nexus};
use qemu_pr_protocol::Reply;
use scsi_persistent_reservations::Cdb;

use super::{
    fault::Fault,
    misbehave::{self, Leftover},
};

/// A disk with one target port.
#[derive(Default)]
pub struct Lun {
    unit: LogicalUnit,
    leftover: Leftover,
}

impl Lun {
    /// Carries out a command of an initiator, with a fault if there is one.
    pub fn execute(&mut self, initiator: InitiatorPort, cdb: &Cdb, list: &[u8], fault: Option<Fault>) -> Reply {
        match fault {
            None => misbehave::without_fault(&mut self.unit, nexus(initiator), cdb, list),
            Some(fault) => misbehave::execute(&mut self.unit, &mut self.leftover, nexus(initiator), cdb, list, fault),
        }
    }

    /// Carries out an access to the medium.
    pub fn access(&mut self, initiator: InitiatorPort, medium: Medium, fault: Option<Fault>) -> Reply {
        misbehave::access(&mut self.unit, nexus(initiator), medium, fault)
    }

    /// Drops what is kept for an initiator that has disconnected.
    pub fn forget(&mut self, initiator: InitiatorPort) {
        self.unit.forget(nexus(initiator));
    }
}

const fn nexus(initiator: InitiatorPort) -> Nexus {
    Nexus { initiator, target_port: 1 }
}
