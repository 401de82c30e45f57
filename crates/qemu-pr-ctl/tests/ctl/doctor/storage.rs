//! The disks of a host, and who it is to them.

use std::{collections::BTreeMap, fs, os::fd::AsRawFd as _};

use pr_sim::{LogicalUnit, Nexus};
use qemu_pr_protocol::Reply;
use scsi_persistent_reservations::{PrOut, Sense, SenseCode, Status};

use crate::stand_in::{Request, good};

/// In the control byte of a CDB, which is its last.
const NACA: u8 = 0x04;

/// The disks, as a helper reaches them.
#[derive(Clone)]
pub struct Storage {
    /// The disk with the map, the one without, and a third.
    pub units: [LogicalUnit; 3],
    /// Which unit a device leads to, and by whom.
    pub ways: BTreeMap<String, (usize, Nexus)>,
    pub refusals: BTreeMap<String, SenseCode>,
    /// It answers as QEMU's own helper does.
    pub is_qemus_own: bool,
}

impl Storage {
    /// A device's initiator changes something.
    pub fn send(&mut self, device: &str, request: &PrOut<'_>) {
        let (unit, nexus) = self.ways[device];
        let completion = self.units[unit].execute(nexus, &request.cdb(), &request.list(), &mut []);
        assert_eq!(completion.status, Status::GOOD, "{device}");
    }

    /// What a helper answers.
    pub fn answer(&mut self, request: &Request) -> Reply {
        let refused =
            |code: SenseCode| Reply { status: Status::CHECK_CONDITION, sense: Sense::fixed(code), data: Vec::new() };
        let file = fs::read_link(format!("/proc/self/fd/{}", request.device.as_raw_fd())).expect("a file");
        let name = file.file_name().expect("a name").to_str().expect("words");
        let Some((unit, nexus)) = self.ways.get(name).copied() else {
            // Something that is no disk, to find out whose helper this is.
            return refused(if !request.parameters.is_empty() {
                SenseCode::INVALID_OPERATION_CODE
            } else if request.cdb.command_bytes()[9] == NACA && !self.is_qemus_own {
                SenseCode::INVALID_FIELD_IN_CDB
            } else {
                SenseCode::IO_PROCESS_TERMINATED
            });
        };
        if let Some(code) = self.refusals.get(name) {
            return refused(*code);
        }
        assert!(request.parameters.is_empty(), "a disk is asked and not changed");
        let mut buffer = vec![0; 8192];
        let completion = self.units[unit].execute(nexus, &request.cdb, &request.parameters, &mut buffer);
        match completion.status {
            Status::GOOD => good(completion.data),
            status => Reply { status, sense: completion.sense, data: Vec::new() },
        }
    }
}
