//! What the server has to answer: the protocol said as simply as possible, and the simulated disk asked directly.

use pr_sim::{InitiatorPort, LogicalUnit, Nexus};
use scsi_persistent_reservations::{Cdb, Completion, Sense, SenseCode, Status};

use super::stage::{DISKS, MAX_CONNECTIONS, Sent};

/// The settings files that a run may have in force.
pub const SCENES: [&str; 5] = [
    "",
    "default = \"deny\"\n[[rule]]\nname = \"ask\"\naction = [\"read\"]\ndecision = \"allow\"\n",
    "[limits]\nconnections-per-process = 3\ncommands-per-device = 1000\n",
    "[[rule]]\nname = \"own\"\nkeys = { prefix = \"0xa1\", bits = 8 }\n",
    "[limits]\nrequests-per-second = 20000\nburst = 8\n",
];

const HEADER: usize = 104;

/// In the control byte, the last one of the command: what fails stays in force until somebody clears it (SAM-5 5.9).
const NACA: u8 = 0x04;

/// A request as it has to come out of the bytes.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which disk.
    pub disk: usize,
    writable: bool,
    cdb: [u8; 16],
    parameters: Vec<u8>,
}

/// The bytes of one client that are no request yet.
#[derive(Clone, Debug, Default)]
pub struct Wire {
    greeted: bool,
    pending: Vec<u8>,
    /// The descriptors that came with a CDB.
    fds: Vec<Sent>,
}

impl Wire {
    /// The requests that these bytes would complete.
    pub fn preview(&self, bytes: &[u8], fds: &[Sent]) -> Vec<Request> {
        self.clone().take(bytes, fds).0
    }

    /// Takes bytes, whose descriptors come with the first; the requests that they complete, and whether the server
    /// hangs up after these.
    pub fn take(&mut self, bytes: &[u8], fds: &[Sent]) -> (Vec<Request>, bool) {
        let mut requests = Vec::new();
        for (index, byte) in bytes.iter().enumerate() {
            // Only in a CDB does a descriptor mean anything.
            if index == 0 && self.greeted && self.pending.len() < 16 {
                self.fds.extend(fds);
            }
            self.pending.push(*byte);
            match self.next() {
                Ok(None) => {}
                Ok(Some(request)) => requests.push(request),
                Err(Violation) => return (requests, true),
            }
        }
        (requests, false)
    }

    /// Whether the client owes the rest of something.
    pub fn owes(&self) -> bool {
        !self.pending.is_empty()
    }

    fn next(&mut self) -> Result<Option<Request>, Violation> {
        if !self.greeted {
            if self.pending.len() == 4 {
                self.greeted = true;
                return if self.pending.split_off(0) == [0; 4] { Ok(None) } else { Err(Violation) };
            }
            return Ok(None);
        }
        if self.fds.len() > 1 {
            return Err(Violation);
        }
        let Some(cdb) = self.pending.first_chunk::<16>() else { return Ok(None) };
        let sent = *self.fds.first().ok_or(Violation)?;
        let long = |high: usize| cdb[high..9].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let length = match cdb[0] {
            0x5e if long(7) <= 8192 => 0,
            0x5f if long(5) <= 8192 => long(5),
            _ => return Err(Violation),
        };
        if self.pending.len() < 16 + length {
            return Ok(None);
        }
        let cdb = *cdb;
        let parameters = self.pending.split_off(16);
        self.pending.clear();
        self.fds.clear();
        Ok(Some(Request { disk: sent.disk, writable: sent.writable, cdb, parameters }))
    }
}

/// The client breaks the protocol.
struct Violation;

/// An answer that is due.
pub enum Expected {
    /// These bytes.
    Exactly(Vec<u8>),
    /// Some answer to this CDB.
    Any([u8; 16]),
}

impl Expected {
    /// How long it is, as far as `received` tells: at least as long as that.
    pub fn length(&self, received: &[u8]) -> usize {
        match (self, received.get(4..8)) {
            (Self::Exactly(bytes), _) => bytes.len(),
            (Self::Any(_), Some(size)) => HEADER + size.iter().fold(0, |size, byte| size << 8 | usize::from(*byte)),
            (Self::Any(_), None) => HEADER,
        }
    }

    /// Whether this is it.
    pub fn check(&self, received: &[u8]) {
        match self {
            Self::Exactly(bytes) => assert_eq!(received, bytes),
            Self::Any(cdb) => {
                let allowed = if cdb[0] == 0x5e { usize::from(u16::from_be_bytes([cdb[7], cdb[8]])) } else { 0 };
                let good = received[..4] == [0; 4];
                assert!(received.len() <= HEADER + if good { allowed } else { 0 }, "more data than asked for");
                assert!(!good || received[8..HEADER] == [0; 96], "sense data with GOOD");
            }
        }
    }
}

/// The disks, and who may do what to them.
pub struct Model {
    scene: usize,
    units: [LogicalUnit; DISKS],
    /// What is on this disk depends on how fast somebody was.
    doubted: [bool; DISKS],
}

impl Model {
    /// New disks, and one of [`SCENES`].
    pub fn new(scene: usize) -> Self {
        Self { scene, units: Default::default(), doubted: Default::default() }
    }

    /// How many connections there may be.
    pub fn room(&self) -> usize {
        if self.scene == 2 { 3 } else { MAX_CONNECTIONS }
    }

    /// What is on these disks cannot be said any more.
    pub fn doubt(&mut self, disks: impl Iterator<Item = usize>) {
        disks.for_each(|disk| self.doubted[disk] = true);
    }

    /// A client is gone.
    pub fn forget(&mut self, client: u64) {
        self.units.iter_mut().for_each(|unit| unit.forget(nexus(client)));
    }

    /// What a client's request has to be answered.
    pub fn answer(&mut self, client: u64, request: &Request) -> Expected {
        let cdb = Cdb::new(request.cdb).expect("it is one of the two");
        let mut buffer = [0; 8192];
        let is_out = request.cdb[0] == 0x5f;
        let refusal = |code| Completion::check_condition(Sense::fixed(code));
        let completion = if is_out && !request.writable {
            refusal(SenseCode::INVALID_OPERATION_CODE)
        } else if is_out && (self.scene == 1 || self.scene == 3 && !is_own(request)) {
            refusal(SenseCode::NO_ACCESS_RIGHTS)
        } else if request.cdb[9] & NACA != 0 {
            refusal(SenseCode::INVALID_FIELD_IN_CDB)
        } else if self.doubted[request.disk] {
            return Expected::Any(request.cdb);
        } else {
            let length = if is_out { 0 } else { usize::from(u16::from_be_bytes([request.cdb[7], request.cdb[8]])) };
            self.units[request.disk].execute(nexus(client), &cdb, &request.parameters, &mut buffer[..length])
        };
        Expected::Exactly(bytes(&completion))
    }
}

fn nexus(client: u64) -> Nexus {
    Nexus { initiator: InitiatorPort(0x3000_0000_0000_0000 | client), target_port: 1 }
}

/// An answer on the wire: status, length, sense, data.
fn bytes(completion: &Completion<'_>) -> Vec<u8> {
    let Completion { status: Status(status), sense, data } = completion;
    let size = u32::try_from(data.len()).expect("a small number").to_be_bytes();
    [&[0, 0, 0, *status], &size[..], sense.as_bytes(), data].concat()
}

/// Whether whoever has the keys a1… may send this: no key of others in a field that counts, and nothing that would
/// concern all registrants.
fn is_own(request: &Request) -> bool {
    let Request { cdb, parameters: list, .. } = request;
    let (action, kind) = (cdb[1] & 31, cdb[2] & 15);
    let own = |key: &[u8]| key[0] == 0xa1 || *key == [0; 8];
    // REGISTER, RESERVE, RELEASE, PREEMPT, PREEMPT AND ABORT.
    let harmless = matches!(action, 0 | 1 | 2 | 4 | 5) && !(action > 0 && matches!(kind, 7 | 8));
    let registers = action == 0;
    let preempts = action >= 4;
    harmless
        && list.len() >= 24
        && list[20] & 8 == 0
        && !(registers && list[20] & 4 != 0)
        && own(&list[..8])
        && !(preempts && list[8..16] == [0; 8])
        && (!(registers || preempts) || own(&list[8..16]))
}
