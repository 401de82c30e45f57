//! One simulated disk.

use pr_sim::{InitiatorPort, LogicalUnit, Nexus};
use pr_wire::Reply;
use scsi_pr::Cdb;

use super::misbehave::{self, Misbehave};

/// A disk with one target port.
#[derive(Default)]
pub struct Lun(LogicalUnit);

impl Lun {
    /// Carries out a command of a client, if need be in the wrong way.
    pub fn execute(&mut self, client: u64, cdb: &Cdb, list: &[u8], misbehave: Option<Misbehave>) -> Reply {
        match misbehave {
            None => misbehave::proper(&mut self.0, nexus(client), cdb, list),
            Some(way) => misbehave::execute(&mut self.0, nexus(client), cdb, list, way),
        }
    }

    /// A client is gone for good.
    pub fn forget(&mut self, client: u64) {
        self.0.forget(nexus(client));
    }
}

/// The same addresses that the helper's `--simulate` gives its clients.
fn nexus(client: u64) -> Nexus {
    Nexus { initiator: InitiatorPort(0x3000_0000_0000_0000 | client & 0x0fff_ffff_ffff_ffff), target_port: 1 }
}
