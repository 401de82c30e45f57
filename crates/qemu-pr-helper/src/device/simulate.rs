//! Simulated logical units behind descriptors that are no SCSI devices: `--simulate`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use pr_sim::{InitiatorPort, LogicalUnit, Nexus};
use rustix::fs::fstat;
use scsi_persistent_reservations::{Cdb, Completion, SenseCode, Target};

use super::Device;

/// A client could open one file after the other; no test needs more than this.
const MAX_UNITS: usize = 1024;

/// Which file a descriptor is: its device and inode. Two descriptors of one file are one disk.
type FileId = (u64, u64);

/// The simulated disks, made when they are first asked for.
#[derive(Default)]
pub struct Simulator(Mutex<HashMap<FileId, Arc<Mutex<LogicalUnit>>>>);

impl Simulator {
    fn unit(&self, file: FileId) -> Option<Arc<Mutex<LogicalUnit>>> {
        let mut units = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !units.contains_key(&file) && units.len() >= MAX_UNITS {
            return None;
        }
        Some(Arc::clone(units.entry(file).or_default()))
    }

    /// Forgets all disks, so that one run of a fuzzer does not depend on those before it.
    #[cfg(fuzzing)]
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Drops what is kept for a client that is gone. Its registrations stay, as on a disk.
    pub fn forget(&self, client: u64) {
        for unit in self.0.lock().unwrap_or_else(PoisonError::into_inner).values() {
            unit.lock().unwrap_or_else(PoisonError::into_inner).forget(nexus(client));
        }
    }
}

/// Each connection is an initiator of its own, on the same target port, with a SAS address of the locally assigned
/// kind (NAA 3) that ends in the client's number.
fn nexus(client: u64) -> Nexus {
    Nexus { initiator: InitiatorPort(0x3000_0000_0000_0000 | client & 0x0fff_ffff_ffff_ffff), target_port: 1 }
}

impl Target<Device<'_>> for Simulator {
    fn execute<'buffer>(
        &self,
        device: Device<'_>,
        cdb: &Cdb,
        parameters: &[u8],
        buffer: &'buffer mut [u8],
    ) -> Completion<'buffer> {
        let unit = fstat(device.descriptor).ok().and_then(|stat| self.unit((stat.st_dev, stat.st_ino)));
        match unit {
            Some(unit) => {
                let mut unit = unit.lock().unwrap_or_else(PoisonError::into_inner);
                unit.execute(nexus(device.client), cdb, parameters, buffer)
            }
            None => Completion::check_condition(scsi_persistent_reservations::Sense::fixed(
                SenseCode::INTERNAL_TARGET_FAILURE,
            )),
        }
    }
}
