//! A map is one disk to its guest: whatever the guest and another node do, in whatever order, the guest sees on a map with two paths
//! what it would see on a disk with one, and the other node is treated the same.
//!
//! Two simulated disks get the same random commands. The guest reaches one of them by a map, through the helper.

use pr_lab::prelude::*;
use pr_sim::{LogicalUnit, Nexus};

use crate::multipath::disk::keys_with;
use crate::multipath::lab::{Lab, device};
use crate::multipath::mapped::{GUEST, Guest, Mapped, OTHER, PATHS, Told, Way, key_of, settle};

const SEEDS: u64 = 20;
const STEPS: usize = 80;

/// What matters of a disk's state: the guest's key, the other node's, what is reserved, by whom, and whether it persists.
pub fn state(unit: &LogicalUnit, guest: Nexus) -> impl PartialEq + std::fmt::Debug + use<> {
    let held = unit.reservation().map(|held| (held.kind, held.holder.map(|holder| holder == OTHER)));
    (key_of(unit, guest), key_of(unit, OTHER), held, unit.persists_through_power_loss())
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
    for seed in 1..=SEEDS {
        // A map of its own: what one conversation leaves is not the next one's.
        let lab = Lab::new();
        let (helper, mapped) = Mapped::start(&lab);
        conversation(&lab, &helper, &mapped, seed, outages);
    }
}

fn conversation(lab: &Lab, helper: &Helper, mapped: &Mapped, seed: u64, outages: bool) {
    let guest = Guest::of(helper);
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut plain = LogicalUnit::default();
    let mut history = Vec::new();
    let mut away = None;
    for _ in 0..STEPS {
        if outages && random.next(4) == 0 {
            match away.take() {
                None => {
                    let path = random.next(2);
                    // As if I/O had met it, too: a command that meets it first may have been carried out or not.
                    mapped.goes(path);
                    lab.mapper().set_active(device(u32::try_from(path).expect("a number") + 1), false);
                    away = Some(path);
                    history.push(format!("path {path} goes"));
                }
                Some(path) => {
                    mapped.comes_back(lab, path);
                    history.push(format!("path {path} comes back"));
                }
            }
        }
        let is_guest = random.next(3) > 0;
        let (nexus, own, others) =
            if is_guest { (GUEST, [0xa1, 0xa2], [0xb1, 0xb2]) } else { (OTHER, [0xb1, 0xb2], [0xa1, 0xa2]) };
        let registered = key_of(&plain, nexus);
        let (action, kind, list) = command(&mut random, &own, &others, registered);
        let who = if is_guest { "guest" } else { "other" };
        let (key, new) = (list[7], list[15]);
        history.push(format!("{who} action {action} type {kind} {key:x}>{new:x} flags {}", list[20]));

        let expected = settle(&mut plain, nexus, action, kind, &list);
        let found =
            if is_guest { guest.change(action, kind, &list) } else { Told(mapped.act(OTHER, action, kind, &list)) };
        let story = || format!("seed {seed}\n{}\n{}", history.join("\n"), helper.stderr());
        assert_eq!(found, Told(expected), "the answer; {}", story());
        // A path that came back is given what the others have, soon.
        let differs = || {
            let disk = mapped.disk();
            let here = PATHS.into_iter().zip(disk.paths).filter(|(_, way)| *way == Way::Up);
            here.map(|(path, _)| state(&disk.unit, path)).find(|found| *found != state(&plain, GUEST))
        };
        // And carries I/O again: until then the other one must not go. It may have gone in the middle of what it was asked
        // for, and be failed for that after it was back: as multipathd does, whoever looks has it used again.
        let carries_io = || {
            let is_up = |number: &u32| mapped.disk().paths[*number as usize] == Way::Up;
            let failed = |number: &u32| !lab.mapper().is_active(device(number + 1));
            let failed: Vec<u32> = (0..2).filter(is_up).filter(failed).collect();
            for number in &failed {
                lab.mapper().set_active(device(number + 1), true);
            }
            failed.is_empty()
        };
        let is_settled = || differs().is_none() && carries_io();
        let is_settled = if outages { within(PATIENCE, is_settled) } else { is_settled() };
        assert!(is_settled, "the disk is {:?} and not {:?} after {}", differs(), state(&plain, GUEST), story());
    }
}
