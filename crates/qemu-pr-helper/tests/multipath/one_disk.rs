//! A map is one disk to its guest: whatever the guest and another node do, in whatever order, the guest sees on a map with two paths
//! what it would see on a disk with one, and the other node is treated the same.
//!
//! Two simulated disks get the same random commands. The guest reaches one of them by a map, through the helper; the library's
//! registrations are carried out when its journal has them.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use fake_mpath::Event;
use pr_lab::prelude::*;
use pr_sim::{InitiatorPort, LogicalUnit, Nexus};
use scsi_pr::{Cdb, Status};

use crate::disk::{self, keys_with};
use crate::lab::{Lab, node};

/// The guest, on the disk with one path.
const GUEST: Nexus = Nexus { initiator: InitiatorPort(1), target_port: 1 };
/// The guest's paths on the other.
const PATHS: [Nexus; 2] = [GUEST, Nexus { initiator: InitiatorPort(2), target_port: 1 }];
/// The other node, on both.
const OTHER: Nexus = Nexus { initiator: InitiatorPort(3), target_port: 1 };

const SEEDS: u64 = 20;
const STEPS: usize = 80;

/// Status and, with CHECK CONDITION, the sense key and code.
type Said = (u8, [u8; 3]);

/// The disk behind the map.
pub struct Mapped {
    pub unit: LogicalUnit,
    journal: PathBuf,
    read: usize,
    turn: usize,
    /// The path that is away.
    away: Option<usize>,
}

impl Mapped {
    /// A new one, whose library begins with this journal anew.
    pub fn new(journal: PathBuf) -> Self {
        std::fs::write(&journal, "").expect("empty the journal");
        Self { unit: LogicalUnit::default(), journal, read: 0, turn: 0, away: None }
    }

    /// The key that each of the guest's paths has.
    pub fn keys(&self) -> [Option<u64>; 2] {
        PATHS.map(|path| key_of(&self.unit, path))
    }

    /// What the library was asked since the last time is done.
    pub fn spread(&mut self) {
        let events = disk::journal(&self.journal);
        for event in &events[self.read..] {
            if let Event::Begin(call) = event {
                for path in PATHS {
                    let list = keys_with(call.flags, 0, call.new_key);
                    let said = settle(&mut self.unit, path, 6, 0, &list);
                    assert_eq!(said.0, 0, "{said:?}");
                }
            }
        }
        self.read = events.len();
    }

    /// A path goes, or the one that is away comes back: then multipathd gives it the key that the map has.
    fn toggle(&mut self, path: usize) {
        let Some(away) = self.away.take() else {
            self.away = Some(path);
            return;
        };
        let key = key_of(&self.unit, PATHS[1 - away]).unwrap_or(0);
        let flags = u8::from(self.unit.persists_through_power_loss());
        let said = settle(&mut self.unit, PATHS[away], 6, 0, &keys_with(flags, 0, key));
        assert_eq!(said.0, 0, "{said:?}");
    }

    pub fn answer(&mut self, command: &Command) -> Outcome {
        self.spread();
        // The map takes its paths in turn, as long as it has both.
        self.turn += 1;
        let path = match rustix::fs::minor(command.device) {
            0 => self.away.map_or(self.turn % 2, |away| 1 - away),
            path => path as usize - 1,
        };
        if self.away == Some(path) {
            return disk::dead();
        }
        let nexus = PATHS[path];
        let mut cdb = [0; 16];
        cdb[..10].copy_from_slice(&command.cdb[..10]);
        let mut buffer = vec![0; command.dxfer_len as usize];
        let came = self.unit.execute(nexus, &Cdb::new(cdb).expect("a command"), &command.data_out, &mut buffer);
        match came.status {
            Status::GOOD => Answer::good(came.data).into(),
            Status::CHECK_CONDITION => Answer::check(&came.sense.as_bytes()[..18]).into(),
            status => Answer::status(status.0).into(),
        }
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
fn settle(unit: &mut LogicalUnit, nexus: Nexus, action: u8, kind: u8, list: &[u8]) -> Said {
    let cdb = Cdb::new(cdb(action, kind, list)).expect("a command");
    loop {
        let came = unit.execute(nexus, &cdb, list, &mut []);
        let said = said(came.status.0, came.sense.as_bytes());
        if !is_unit_attention(said) {
            return said;
        }
    }
}

/// The same for the helper.
fn settle_on_map(client: &Raw, action: u8, kind: u8, list: &[u8]) -> Said {
    let device = node(0);
    for _ in 0..16 {
        client.send_with(&cdb(action, kind, list), &[device.as_fd()]);
        client.send(list);
        let reply = client.reply();
        let said = said(u8::try_from(reply.status).expect("a status"), &reply.sense);
        if !is_unit_attention(said) {
            return said;
        }
    }
    panic!("unit attentions without end")
}

/// What matters of a disk's state: the guest's key, the other node's, what is reserved, by whom, and whether it persists.
fn state(unit: &LogicalUnit, guest: Nexus) -> impl PartialEq + std::fmt::Debug + use<> {
    let held = unit.reservation().map(|held| (held.kind, held.holder.map(|holder| holder == OTHER)));
    (key_of(unit, guest), key_of(unit, OTHER), held, unit.persists_through_power_loss())
}

/// Preempting one's own key without a reservation ends the registration of the path that says so. A map keeps it: there the command
/// cannot be told from that of a guest whose reservation is meant.
fn preempts_a_mere_registration(unit: &LogicalUnit, action: u8, list: &[u8]) -> bool {
    matches!(action, 4 | 5)
        && list[..8] == list[8..16]
        && unit.reservation().is_none_or(|held| held.holder != Some(GUEST))
}

fn key_of(unit: &LogicalUnit, nexus: Nexus) -> Option<u64> {
    unit.registrations().find(|(which, _)| *which == nexus).map(|(_, registration)| registration.key.0)
}

struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % below
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.next(choices.len())]
    }
}

/// A random command: most of them such that they get somewhere. Nodes do not share keys.
fn command(random: &mut Random, own: &[u64], others: &[u64], registered: Option<u64>) -> (u8, u8, [u8; 24]) {
    let action = random.of(&[0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 4, 4, 4, 5, 6, 6]);
    let any: Vec<u64> = own.iter().chain(others).copied().chain([0]).collect();
    let key = if random.next(5) == 0 { random.of(&any) } else { registered.unwrap_or(0) };
    let new = match action {
        // A registration is made with one's own keys.
        0 | 6 => random.of(&[own[0], own[1], own[0], 0]),
        _ if random.next(3) == 0 => key,
        _ => random.of(&any),
    };
    // Two types more than the others, or hardly a reservation would meet its like.
    let kind = random.of(&[1, 1, 1, 5, 5, 5, 3, 6, 7, 8, 2]);
    (action, kind, keys_with(u8::from(matches!(action, 0 | 6) && random.next(4) == 0), key, new))
}

#[test]
fn a_map_behaves_as_one_disk() {
    conversations(false);
}

#[test]
fn a_map_behaves_as_one_disk_when_paths_go_and_come_back() {
    conversations(true);
}

fn conversations(outages: bool) {
    let lab = Lab::new();
    let helper = lab.start(disk::willing);
    for seed in 1..=SEEDS {
        let mapped = Arc::new(Mutex::new(Mapped::new(lab.bed().path("journal"))));
        let answering = Arc::clone(&mapped);
        helper.device().behave(move |command| answering.lock().expect("the disk").answer(command));
        conversation(&helper, &mapped, seed, outages);
    }
}

fn conversation(helper: &Helper, mapped: &Mutex<Mapped>, seed: u64, outages: bool) {
    let client = helper.connect();
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut plain = LogicalUnit::default();
    let mut history = Vec::new();
    for _ in 0..STEPS {
        let guest = random.next(3) > 0;
        let (nexus, own, others) =
            if guest { (GUEST, [0xa1, 0xa2], [0xb1, 0xb2]) } else { (OTHER, [0xb1, 0xb2], [0xa1, 0xa2]) };
        let registered = key_of(&plain, nexus);
        let (action, kind, list) = command(&mut random, &own, &others, registered);
        // What is wrong with a command besides a conflict, another path than the holder's does not look at.
        let kind = if outages && kind == 2 { 1 } else { kind };
        if guest && preempts_a_mere_registration(&plain, action, &list) {
            continue;
        }
        // A registration that one path does not hear of is multipathd's to complete; that is not what is tried here.
        let registers = guest && matches!(action, 0 | 6);
        let away = mapped.lock().expect("the disk").away;
        if outages && if registers { away.is_some() } else { random.next(3) == 0 } {
            let path = random.next(2);
            mapped.lock().expect("the disk").toggle(path);
            history.push(format!("path {path} goes, or the one that is away comes back"));
        }
        let who = if guest { "guest" } else { "other" };
        let (key, new) = (list[7], list[15]);
        history.push(format!("{who} action {action} type {kind} {key:x}>{new:x} flags {}", list[20]));

        let expected = settle(&mut plain, nexus, action, kind, &list);
        let found = if guest {
            let said = settle_on_map(&client, action, kind, &list);
            mapped.lock().expect("the disk").spread();
            said
        } else {
            settle(&mut mapped.lock().expect("the disk").unit, OTHER, action, kind, &list)
        };
        let story = || format!("seed {seed}\n{}\n{}", history.join("\n"), helper.stderr());
        assert_eq!(found, expected, "the answer; {}", story());
        let Mapped { unit: mapped, away: away_now, .. } = &*mapped.lock().expect("the disk");
        for (index, path) in PATHS.into_iter().enumerate() {
            if *away_now != Some(index) {
                assert_eq!(state(mapped, path), state(&plain, GUEST), "the disk after {}", story());
            }
        }
    }
}
