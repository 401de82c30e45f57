//! Simulated logical units behind descriptors that are no SCSI devices: `--simulate`.

use std::{
    collections::{BTreeSet, HashMap},
    os::fd::BorrowedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pr_sim::{InitiatorPort, LogicalUnit, Mark, Medium, Nexus};
use rustix::fs::{FileType, fstat, tell};
use scsi_persistent_reservations::{Cdb, Completion, Sense, SenseCode, Target};

use super::Device;

/// A client could open one file after the other; no test needs more than this.
const MAX_UNITS: usize = 1024;

/// A client could take one name after the other, and a unit keeps something for each.
const MAX_NAMES: usize = 256;

/// Which file a descriptor is: its device and inode. Two descriptors of one file are one disk.
type FileId = (u64, u64);

/// The simulated disks, made when they are first asked for.
#[derive(Default)]
pub struct Simulator(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    units: HashMap<FileId, Arc<Mutex<LogicalUnit>>>,
    /// The initiators with names, which do not go with a connection.
    names: BTreeSet<InitiatorPort>,
}

impl Simulator {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk behind a descriptor, who its client is to it, and what is meant instead of the command; `None` if there
    /// are too many disks or names.
    fn find(&self, device: Device<'_>) -> Option<(Arc<Mutex<LogicalUnit>>, Nexus, Option<Medium>)> {
        let stat = fstat(device.descriptor).ok()?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let mark = if is_file { mark(device.descriptor) } else { Mark::default() };
        let file = (stat.st_dev, stat.st_ino);
        let mut kept = self.kept();
        if let Some(name) = mark.initiator
            && !kept.names.contains(&name)
        {
            if kept.names.len() >= MAX_NAMES {
                return None;
            }
            kept.names.insert(name);
        }
        if !kept.units.contains_key(&file) && kept.units.len() >= MAX_UNITS {
            return None;
        }
        let unit = Arc::clone(kept.units.entry(file).or_default());
        let initiator = mark.initiator.unwrap_or_else(|| InitiatorPort::of_client(device.client));
        Some((unit, nexus(initiator), mark.medium))
    }

    /// Forgets all disks, so that one run of a fuzzer does not depend on those before it.
    #[cfg(fuzzing)]
    pub fn clear(&self) {
        *self.kept() = Kept::default();
    }

    /// Drops what is kept for a client that is gone. Its registrations stay, as on a disk.
    pub fn forget(&self, client: u64) {
        for unit in self.kept().units.values() {
            unit.lock().unwrap_or_else(PoisonError::into_inner).forget(nexus(InitiatorPort::of_client(client)));
        }
    }
}

/// Which initiator `qemu-pr-ctl --as` names, and whether `qemu-pr-ctl validate` means a read or a write. The protocol has no
/// field for either, so they are in the descriptor's file offset, which nothing else looks at. Without a name each
/// connection is an initiator of its own.
fn mark(descriptor: BorrowedFd<'_>) -> Mark {
    tell(descriptor).map(Mark::from_number).unwrap_or_default()
}

/// All of them use one target port.
const fn nexus(initiator: InitiatorPort) -> Nexus {
    Nexus { initiator, target_port: 1 }
}

impl Target<Device<'_>> for Simulator {
    fn execute<'buffer>(
        &self,
        device: Device<'_>,
        cdb: &Cdb,
        parameters: &[u8],
        buffer: &'buffer mut [u8],
    ) -> Completion<'buffer> {
        match self.find(device) {
            Some((unit, nexus, medium)) => {
                let mut unit = unit.lock().unwrap_or_else(PoisonError::into_inner);
                match medium {
                    None => unit.execute(nexus, cdb, parameters, buffer),
                    Some(medium) => unit.access(nexus, medium),
                }
            }
            None => Completion::check_condition(Sense::fixed(SenseCode::INTERNAL_TARGET_FAILURE)),
        }
    }
}
