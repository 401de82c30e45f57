//! One simulated disk.

use pr_sim::{InitiatorPort, LogicalUnit, Nexus};
use qemu_pr_protocol::Reply;
use scsi_persistent_reservations::Cdb;

use super::fault::{self, Fault};

/// A disk with one target port.
#[derive(Default)]
pub struct Lun(LogicalUnit);

impl Lun {
    /// Carries out a command of a client, with a fault if there is one.
    pub fn execute(&mut self, client: u64, cdb: &Cdb, list: &[u8], fault: Option<Fault>) -> Reply {
        match fault {
            None => fault::without_fault(&mut self.0, nexus(client), cdb, list),
            Some(fault) => fault::execute(&mut self.0, nexus(client), cdb, list, fault),
        }
    }

    /// Drops what is kept for a client that has disconnected.
    pub fn forget(&mut self, client: u64) {
        self.0.forget(nexus(client));
    }
}

/// The same addresses that the helper's `--simulate` gives its clients.
fn nexus(client: u64) -> Nexus {
    Nexus { initiator: InitiatorPort(0x3000_0000_0000_0000 | client & 0x0fff_ffff_ffff_ffff), target_port: 1 }
}
