//! A simulated disk behind a map with two paths, and a guest that uses it.

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard};

use pr_lab::prelude::*;
use pr_sim::{InitiatorPort, LogicalUnit, Nexus};
use scsi_persistent_reservations::{Cdb, Status};

use crate::multipath::disk;
use crate::multipath::lab::{Lab, device, node};

/// The guest, on a disk with one path.
pub const GUEST: Nexus = Nexus { initiator: InitiatorPort(1), target_port: 1 };
/// The guest's paths on a disk with two.
pub const PATHS: [Nexus; 2] = [GUEST, Nexus { initiator: InitiatorPort(2), target_port: 1 }];
/// The other node, on both.
pub const OTHER: Nexus = Nexus { initiator: InitiatorPort(3), target_port: 1 };

const TEST_UNIT_READY: u8 = 0;

/// Status and, with CHECK CONDITION, the sense key and code.
pub type Said = (u8, [u8; 3]);

/// The disk behind the map: loop1 and loop2 are its paths.
#[derive(Clone, Default)]
pub struct Mapped(Arc<Mutex<Disk>>);

/// It, as far as the simulation has no part in it.
#[derive(Default)]
pub struct Disk {
    /// The logical unit.
    pub unit: LogicalUnit,
    /// What each path is.
    pub paths: [Way; 2],
}

/// What a path is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Way {
    /// It works.
    #[default]
    Up,
    /// `DID_NO_CONNECT`.
    Away,
    /// It takes commands and answers none.
    Hung,
}

impl Mapped {
    /// A helper and its disk.
    pub fn start(lab: &Lab) -> (Helper, Self) {
        let mapped = Self::default();
        (mapped.launch(lab).start(), mapped)
    }

    /// A helper in this world whose disk this is.
    pub fn launch(&self, lab: &Lab) -> Launch {
        let this = self.clone();
        lab.enter(lab.bed().launch()).device(move |command| this.answer(command))
    }

    /// This is a helper's disk from now on.
    pub fn replace(&self, helper: &Helper) {
        let this = self.clone();
        helper.device().behave(move |command| this.answer(command));
    }

    /// The disk itself.
    pub fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().expect("the disk")
    }

    /// The key that each of the guest's paths has.
    pub fn keys(&self) -> [Option<u64>; 2] {
        let disk = self.disk();
        PATHS.map(|path| key_of(&disk.unit, path))
    }

    /// Somebody acts on the disk, past unit attentions.
    pub fn act(&self, nexus: Nexus, action: u8, kind: u8, list: &[u8]) -> Said {
        settle(&mut self.disk().unit, nexus, action, kind, list)
    }

    /// A path goes.
    pub fn goes(&self, path: usize) {
        self.disk().paths[path] = Way::Away;
    }

    /// A path takes commands and does not answer any more.
    pub fn hangs(&self, path: usize) {
        self.disk().paths[path] = Way::Hung;
    }

    /// A path answers again, and device-mapper does not use it yet.
    pub fn answers(&self, path: usize) {
        self.disk().paths[path] = Way::Up;
    }

    /// A path comes back, and multipathd has device-mapper use it again.
    pub fn comes_back(&self, lab: &Lab, path: usize) {
        self.answers(path);
        lab.mapper().set_active(device(u32::try_from(path).expect("a number") + 1), true);
    }

    /// What a command gets.
    pub fn answer(&self, command: &Command) -> Outcome {
        let mut disk = self.disk();
        let path = rustix::fs::minor(command.device) as usize - 1;
        match disk.paths[path] {
            Way::Up => {}
            Way::Away => return disk::dead(),
            Way::Hung => return Outcome::Hang,
        }
        disk.carry_out(PATHS[path], command)
    }
}

impl Disk {
    /// Carries a command out, for whoever.
    pub fn carry_out(&mut self, nexus: Nexus, command: &Command) -> Outcome {
        if command.cdb[0] == TEST_UNIT_READY && self.unit.unit_attentions(nexus).is_empty() {
            return Answer::good(&[]).into();
        }
        let mut cdb = [0; 16];
        cdb[..command.cdb.len()].copy_from_slice(&command.cdb);
        if command.cdb[0] == TEST_UNIT_READY {
            // To be told what is to be told, any command will do.
            cdb[0] = PR_IN;
        }
        let mut buffer = vec![0; command.dxfer_len as usize];
        let came = self.unit.execute(nexus, &Cdb::new(cdb).expect("a command"), &command.data_out, &mut buffer);
        match came.status {
            Status::GOOD => Answer::good(came.data).into(),
            Status::CHECK_CONDITION => Answer::check(&came.sense.as_bytes()[..18]).into(),
            status => Answer::status(status.0).into(),
        }
    }
}

/// A guest whose disk is the map.
pub struct Guest(Raw);

/// What a guest was told, past unit attentions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told(pub Said);

impl Guest {
    /// A guest of this helper.
    pub fn of(helper: &Helper) -> Self {
        Self(helper.connect())
    }

    /// Sends a PERSISTENT RESERVE OUT, again after each unit attention.
    #[track_caller]
    pub fn change(&self, action: u8, kind: u8, list: &[u8]) -> Told {
        for _ in 0..16 {
            self.begin(action, kind, list);
            let said = self.end();
            if !is_unit_attention(said) {
                return Told(said);
            }
        }
        panic!("unit attentions without end")
    }

    /// Sends it and does not wait.
    pub fn begin(&self, action: u8, kind: u8, list: &[u8]) {
        let device = node(0);
        self.0.send_with(&cdb(action, kind, list), &[device.as_fd()]);
        self.0.send(list);
    }

    /// Waits for the answer.
    #[track_caller]
    pub fn end(&self) -> Said {
        let reply = self.0.reply();
        said(u8::try_from(reply.status).expect("a status"), &reply.sense)
    }

    /// READ KEYS.
    #[track_caller]
    pub fn read(&self) -> Reply {
        self.0.pr_in(node(0), 0, 256)
    }
}

impl Told {
    /// GOOD.
    #[track_caller]
    pub fn expect_good(self) {
        assert_eq!(self.0, (0, [0; 3]));
    }

    /// RESERVATION CONFLICT.
    #[track_caller]
    pub fn expect_conflict(self) {
        assert_eq!(self.0, (0x18, [0; 3]));
    }
}

fn said(status: u8, sense: &[u8]) -> Said {
    (status, if status == 2 { [sense[2], sense[12], sense[13]] } else { [0; 3] })
}

fn is_unit_attention(said: Said) -> bool {
    said.0 == 2 && said.1[0] == 6
}

fn cdb(action: u8, kind: u8, list: &[u8]) -> [u8; 16] {
    let mut cdb = Raw::cdb_out(action, list.len());
    cdb[2] = kind;
    cdb
}

/// A command for a simulated disk, past unit attentions.
pub fn settle(unit: &mut LogicalUnit, nexus: Nexus, action: u8, kind: u8, list: &[u8]) -> Said {
    let cdb = Cdb::new(cdb(action, kind, list)).expect("a command");
    loop {
        let came = unit.execute(nexus, &cdb, list, &mut []);
        let said = said(came.status.0, came.sense.as_bytes());
        if !is_unit_attention(said) {
            return said;
        }
    }
}

/// The key of a nexus.
pub fn key_of(unit: &LogicalUnit, nexus: Nexus) -> Option<u64> {
    unit.registrations().find(|(which, _)| *which == nexus).map(|(_, registration)| registration.key.0)
}
