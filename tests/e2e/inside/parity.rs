//! Whether a helper is as good as none: every answer through it has to be, byte by byte, the one that the device gives
//! to the same command in the same state. Two LUNs start alike; each scenario is played directly on one and through the
//! helper on the other. What is due is what SPC asks for; where LIO answers something else, the step says so.

use std::cell::Cell;
use std::fs;

use anyhow::{Result, anyhow, ensure};
use scsi_persistent_reservations::{Command, InAction, ReservationType, SenseCode};

use crate::helper::Helper;
use crate::lun::Loopback;
use crate::random;
use crate::report::{Report, known_weakness};
use crate::request::{Answer, Request};
use crate::scenario::Due::{Check, Conflict, Good};
use crate::scenario::Who::{A, B};
use crate::scenario::{Step, Way, same};

const KEY_A: u64 = 0xa1a1_a1a1_0000_0001;
const KEY_B: u64 = 0xb2b2_b2b2_0000_0002;

/// What LIO says to an initiator that is not registered and has nothing to be in conflict with.
const NOT_READY: SenseCode = SenseCode::new(0x2, 0x08, 0x00);

/// LUN 0 is reached through the helper, LUN 1 directly.
pub fn run(report: &mut Report, luns: &Loopback, reference: bool) -> Result<()> {
    let helper = Helper::start("parity", &[])?;
    let remains = Remains { reference, seen: Cell::new(false) };
    let mut through = Way::through(&helper, luns.lun(0))?;
    let mut direct = Way::Direct(luns.lun(1));
    let mut play = |name: &str, steps: &[Step]| {
        report.check(&format!("same answers: {name}"), || {
            let [by_device, by_helper] = [direct.play(steps), through.play(steps)];
            direct.reset()?;
            through.reset()?;
            let (by_device, by_helper) = (by_device?, by_helper?);
            let answers = steps.iter().zip(&by_device).zip(by_helper);
            let by_helper: Vec<Answer> =
                answers.map(|((step, device), helper)| remains.taken_out(&step.1, device, helper)).collect();
            same(&by_device, &by_helper)
        });
    };

    play("all four questions to an empty LUN", &all_questions());
    play("short allocation lengths", &short_allocations());
    play("service actions and lists that are wrong", &nonsense());
    play("register, change the key, unregister", &register());
    play("commands of the unregistered", &unregistered());
    for kind in ReservationType::ALL {
        play(&format!("reserve and release, {kind}"), &reserve(kind));
    }
    play("preempt the holder", &preempt_holder());
    play("preempt another registrant", &preempt_registrant());
    play("clear", &clear());
    play("register for good", &persist());
    for seed in 1..=4 {
        play_random(report, seed, &mut direct, &mut through, &remains);
    }

    report.check("registrations for good are on the target's disk", || {
        through.play(&[Step(A, Request::register_for_good(0, KEY_A), Good)])?;
        let kept = fs::read_to_string("/var/target/pr/aptpl_bed-disk0")?;
        // LIO writes keys in decimal.
        ensure!(kept.contains(&format!("res_key={KEY_A}")) || kept.contains(&KEY_A.to_string()), "it keeps {kept}");
        through.reset()
    });
    report.check("the helper ends on SIGTERM with two idle connections", || helper.stop());
    Ok(())
}

fn play_random(report: &mut Report, seed: u64, direct: &mut Way<'_>, through: &mut Way<'_>, remains: &Remains) {
    report.check(&format!("same answers: 250 random commands, seed {seed}"), || {
        let mut compared = Ok(());
        for (number, (who, request)) in random::commands(seed, 250).enumerate() {
            let [by_device, by_helper] = [direct.send(who, &request)?, through.send(who, &request)?];
            let by_helper = remains.taken_out(&request, &by_device, by_helper);
            if by_device != by_helper {
                compared = Err(anyhow!(
                    "command {number}, {who:?} sends {request}: the device answers {by_device}; the helper {by_helper}"
                ));
                break;
            }
        }
        direct.reset()?;
        through.reset()?;
        compared
    });
}

/// What LIO leaves out of READ FULL STATUS: it does not write the bytes that tell how a registration holds the disk where
/// it does not hold it. A kernel that lets it write into the helper's own buffer (7.2 does, 6.1 does not) leaves there what
/// the helper had there before. The reference has its last answer there, so that a guest is told of holders who are none.
struct Remains {
    reference: bool,
    seen: Cell<bool>,
}

impl Remains {
    /// The answer without them, if it is the reference's.
    fn taken_out(&self, request: &Request, by_device: &Answer, mut by_helper: Answer) -> Answer {
        const HEADER: usize = 8;
        const HOLDS: [usize; 2] = [12, 13];
        const LENGTH: std::ops::Range<usize> = 20..24;
        let full_status =
            matches!(request.cdb.command(), Command::In(read) if read.action() == Some(InAction::ReadFullStatus));
        let comparable = by_device.status == by_helper.status && by_device.data.len() == by_helper.data.len();
        if !self.reference || !full_status || !comparable {
            return by_helper;
        }
        let mut at = HEADER;
        while let Some(descriptor) = by_device.data.get(at..) {
            // The last descriptor may be cut.
            if HOLDS.iter().all(|byte| descriptor.get(*byte).is_none_or(|is| *is == 0)) {
                for byte in HOLDS {
                    let told = by_helper.data.get_mut(at + byte).map_or(0, std::mem::take);
                    if told != 0 && !self.seen.replace(true) {
                        known_weakness(
                            "READ FULL STATUS has nothing of an earlier answer",
                            "registrations that hold nothing are told as holders",
                        );
                    }
                }
            }
            let Some(length) = descriptor.get(LENGTH).and_then(|bytes| bytes.try_into().ok()) else { break };
            at = at.saturating_add(LENGTH.end).saturating_add(u32::from_be_bytes(length) as usize);
        }
        by_helper
    }
}

fn ask(action: InAction) -> Step {
    Step(A, Request::read(action), Good)
}

fn all_questions() -> Vec<Step> {
    InAction::ALL.iter().copied().map(ask).collect()
}

/// Both register; nobody reserves.
fn both_register() -> Vec<Step> {
    vec![Step(A, Request::register(0, KEY_A), Good), Step(B, Request::register(0, KEY_B), Good)]
}

fn short_allocations() -> Vec<Step> {
    let mut steps = both_register();
    steps.push(Step(A, Request::reserve(KEY_A, ReservationType::WriteExclusive), Good));
    for action in InAction::ALL {
        for length in [8, 9, 12, 16, 23, 24, 40, 255, 4096] {
            steps.push(Step(B, Request::read_up_to(*action, length), Good));
        }
    }
    // SPC lets any length pass; LIO wants at least a header.
    for action in [InAction::ReadKeys, InAction::ReadReservation, InAction::ReadFullStatus] {
        steps.push(Step(B, Request::read_up_to(action, 4), Check(SenseCode::INVALID_FIELD_IN_CDB)));
    }
    steps
}

fn nonsense() -> Vec<Step> {
    let list = Request::register(0, KEY_A).parameters;
    let invalid = Check(SenseCode::INVALID_FIELD_IN_CDB);
    let mut steps = both_register();
    for action in [4, 5, 0x1f] {
        steps.push(Step(A, Request::odd_read(action), invalid));
    }
    for action in [9, 0x1f] {
        steps.push(Step(A, Request::odd_change("an unknown change", action, 0, &list), invalid));
    }
    let half = Request::odd_change("REGISTER with half a list", 0, 0, &list[..16]);
    steps.push(Step(A, half, Check(SenseCode::PARAMETER_LIST_LENGTH)));
    let list = Request::reserve(KEY_A, ReservationType::WriteExclusive).parameters;
    steps.push(Step(A, Request::odd_change("RESERVE of no type", 1, 0x0f, &list), invalid));
    // INVALID FIELD IN CDB is due; LIO complains of the list.
    let scope = Request::odd_change("RESERVE of another scope", 1, 0x21, &list);
    steps.push(Step(A, scope, Check(SenseCode::INVALID_FIELD_IN_PARAMETER_LIST)));
    steps.extend(all_questions());
    steps
}

fn register() -> Vec<Step> {
    let mut steps = both_register();
    steps.extend(all_questions());
    steps.extend([
        Step(A, Request::register(KEY_B, KEY_B), Conflict),
        Step(A, Request::register(KEY_A, KEY_A + 1), Good),
        Step(B, Request::register_anyhow(KEY_B + 1), Good),
        ask(InAction::ReadKeys),
        Step(A, Request::register(KEY_A, 0), Conflict),
        Step(A, Request::register(KEY_A + 1, 0), Good),
        Step(B, Request::register_anyhow(0), Good),
    ]);
    steps.extend(all_questions());
    steps
}

fn unregistered() -> Vec<Step> {
    let kind = ReservationType::WriteExclusive;
    vec![
        Step(A, Request::register(KEY_A, KEY_A), Conflict),
        // RESERVATION CONFLICT is due for the next two.
        Step(A, Request::reserve(KEY_A, kind), Check(NOT_READY)),
        Step(A, Request::clear(KEY_A), Check(NOT_READY)),
        Step(B, Request::register(0, KEY_B), Good),
        Step(B, Request::reserve(KEY_B, kind), Good),
        Step(A, Request::reserve(KEY_A, kind), Conflict),
        Step(A, Request::release(KEY_A, kind), Conflict),
        Step(A, Request::clear(KEY_A), Conflict),
        Step(A, Request::preempt(KEY_A, KEY_B, kind), Conflict),
        ask(InAction::ReadReservation),
    ]
}

fn reserve(kind: ReservationType) -> Vec<Step> {
    let other = if kind == ReservationType::WriteExclusive {
        ReservationType::ExclusiveAccess
    } else {
        ReservationType::WriteExclusive
    };
    let mut steps = both_register();
    steps.extend([
        Step(A, Request::reserve(KEY_A, kind), Good),
        Step(A, Request::reserve(KEY_A, kind), Good),
        Step(A, Request::reserve(KEY_A, other), Conflict),
        Step(A, Request::reserve(KEY_B, kind), Conflict),
        // Where all registrants hold the reservation, B has it already.
        Step(B, Request::reserve(KEY_B, kind), if kind.is_all_registrants() { Good } else { Conflict }),
    ]);
    steps.extend(all_questions());
    // INVALID RELEASE is due; LIO says conflict.
    steps.push(Step(A, Request::release(KEY_A, other), Conflict));
    if !kind.is_all_registrants() {
        steps.push(Step(B, Request::release(KEY_B, kind), Good));
    }
    steps.extend([ask(InAction::ReadReservation), Step(A, Request::release(KEY_A, kind), Good)]);
    if kind.admits_registrants() {
        let told = Check(SenseCode::RESERVATIONS_RELEASED);
        steps.push(Step(B, Request::read(InAction::ReadReservation), told));
    }
    steps.push(Step(B, Request::read(InAction::ReadReservation), Good));
    steps
}

fn preempt_holder() -> Vec<Step> {
    let mut steps = both_register();
    steps.extend([
        Step(A, Request::reserve(KEY_A, ReservationType::WriteExclusive), Good),
        Step(B, Request::preempt(KEY_B, KEY_A + 9, ReservationType::ExclusiveAccess), Conflict),
        Step(B, Request::preempt(KEY_B, KEY_A, ReservationType::ExclusiveAccess), Good),
        Step(A, Request::read(InAction::ReadKeys), Check(SenseCode::REGISTRATIONS_PREEMPTED)),
    ]);
    steps.extend(all_questions());
    steps.push(Step(A, Request::release(KEY_A, ReservationType::ExclusiveAccess), Conflict));
    steps
}

fn preempt_registrant() -> Vec<Step> {
    let mut steps = both_register();
    steps.extend([
        Step(A, Request::reserve(KEY_A, ReservationType::WriteExclusiveRegistrantsOnly), Good),
        Step(A, Request::preempt(KEY_A, KEY_B, ReservationType::WriteExclusiveRegistrantsOnly), Good),
        Step(B, Request::read(InAction::ReadFullStatus), Check(SenseCode::REGISTRATIONS_PREEMPTED)),
    ]);
    steps.extend(all_questions());
    steps
}

fn clear() -> Vec<Step> {
    let mut steps = both_register();
    steps.extend([
        Step(A, Request::reserve(KEY_A, ReservationType::ExclusiveAccessRegistrantsOnly), Good),
        Step(B, Request::clear(KEY_A), Conflict),
        Step(B, Request::clear(KEY_B), Good),
        Step(A, Request::read(InAction::ReadKeys), Check(SenseCode::RESERVATIONS_PREEMPTED)),
    ]);
    steps.extend(all_questions());
    steps
}

fn persist() -> Vec<Step> {
    let mut steps = vec![Step(A, Request::register_for_good(0, KEY_A), Good)];
    steps.extend(all_questions());
    steps.push(Step(A, Request::register(KEY_A, KEY_A), Good));
    steps.extend(all_questions());
    steps
}
