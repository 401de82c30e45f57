//! The reservation commands that cluster software sends, sequence by sequence.

mod basics;
mod enforcement;
mod lvm;
mod pacemaker;
mod qemu;
mod rules;
mod windows;

use scsi_persistent_reservations::{InAction, PrOut, ReservationKey, ReservationType, SenseCode};

use crate::{Command, Expect, Initiator, Step};

pub const ANY_LENGTH: u16 = 8192;
const WERO: ReservationType = ReservationType::WriteExclusiveRegistrantsOnly;
const WEAR: ReservationType = ReservationType::WriteExclusiveAllRegistrants;

/// The keys of this run, and what can be tried.
#[derive(Clone, Copy, Debug)]
pub struct Initiators {
    /// The key of the first initiator.
    pub one: ReservationKey,
    /// The key of the second one.
    pub two: ReservationKey,
    /// Whether there are two.
    pub pair: bool,
    /// Whether a block may be written, with what it contains.
    pub writes: bool,
    /// Whether the first one has several paths to the disk, and any of them may carry a command.
    pub several_paths: bool,
}

impl Initiators {
    /// Initiators with these keys, one path each, that do not write.
    pub const fn new(one: ReservationKey, two: ReservationKey, pair: bool) -> Self {
        Self { one, two, pair, writes: false, several_paths: false }
    }
}

/// A sequence by its name.
pub struct Sequence {
    /// Its name: of the software, and what it does there.
    pub name: &'static str,
    steps: fn(Initiators) -> Vec<Step>,
}

impl Sequence {
    /// Its steps. With one initiator, those of the other are left out.
    pub fn steps(&self, initiators: Initiators) -> Vec<Step> {
        (self.steps)(initiators)
    }
}

/// What is tried with each type of reservation.
macro_rules! enforcement {
    ($name:literal, $kind:ident) => {
        Sequence { name: $name, steps: |initiators| enforcement::enforcement(initiators, ReservationType::$kind) }
    };
}

/// Every sequence, in the order in which they run.
pub const ALL: [Sequence; 19] = [
    Sequence { name: "basics", steps: basics::basics },
    Sequence { name: "windows-failover-clustering", steps: windows::validation },
    Sequence { name: "windows-arbitration", steps: windows::arbitration },
    Sequence { name: "fence_scsi", steps: pacemaker::fence_scsi },
    Sequence { name: "fence_scsi-4.16", steps: pacemaker::fence_scsi_again },
    Sequence { name: "fence_mpath", steps: pacemaker::fence_mpath },
    Sequence { name: "ocf-sg_persist", steps: pacemaker::ocf },
    Sequence { name: "qemu-11-migrate-pr", steps: qemu::migrate },
    Sequence { name: "qemu-11-migrate-key", steps: qemu::migrate_key },
    Sequence { name: "qemu-11.1-migrate-key", steps: qemu::migrate_key_typed },
    Sequence { name: "lvm-persist", steps: lvm::types },
    Sequence { name: "lvm-persist-2.03.36", steps: lvm::persist },
    Sequence { name: "rules", steps: rules::rules },
    enforcement!("enforcement-type-1", WriteExclusive),
    enforcement!("enforcement-type-3", ExclusiveAccess),
    enforcement!("enforcement-type-5", WriteExclusiveRegistrantsOnly),
    enforcement!("enforcement-type-6", ExclusiveAccessRegistrantsOnly),
    enforcement!("enforcement-type-7", WriteExclusiveAllRegistrants),
    enforcement!("enforcement-type-8", ExclusiveAccessAllRegistrants),
];

pub fn step(initiator: Initiator, name: &'static str, command: Command, expect: Expect) -> Step {
    Step { initiator, name, command, expect }
}

pub const fn register(key: ReservationKey, new_key: ReservationKey) -> Command {
    Command::Change(PrOut::register(key, new_key))
}

pub const fn ignore(new_key: ReservationKey) -> Command {
    Command::Change(PrOut::register_and_ignore_existing_key(new_key))
}

pub const fn reserve(key: ReservationKey, kind: ReservationType) -> Command {
    Command::Change(PrOut::reserve(key, kind))
}

pub const fn release(key: ReservationKey, kind: ReservationType) -> Command {
    Command::Change(PrOut::release(key, kind))
}

pub const fn clear(key: ReservationKey) -> Command {
    Command::Change(PrOut::clear(key))
}

pub const fn preempt(key: ReservationKey, victim: ReservationKey, kind: ReservationType) -> Command {
    Command::Change(PrOut::preempt(key, victim, kind))
}

pub const fn abort(key: ReservationKey, victim: ReservationKey, kind: ReservationType) -> Command {
    Command::Change(PrOut::preempt_and_abort(key, victim, kind))
}

const KEYS: Command = Command::Read(InAction::ReadKeys, ANY_LENGTH);
const RESERVATION: Command = Command::Read(InAction::ReadReservation, ANY_LENGTH);
pub const NONE: ReservationKey = ReservationKey::ZERO;

pub fn keys(initiator: Initiator, keys: &[ReservationKey]) -> Step {
    step(initiator, "reads the keys", KEYS, Expect::Keys(keys.to_vec()))
}

pub fn held(initiator: Initiator, by: ReservationKey, kind: ReservationType) -> Step {
    step(initiator, "reads the reservation", RESERVATION, Expect::Reservation(by, kind))
}

pub fn free(initiator: Initiator) -> Step {
    step(initiator, "reads the reservation", RESERVATION, Expect::NoReservation)
}

fn unit_attention(initiator: Initiator, code: SenseCode) -> Step {
    step(initiator, "gets a unit attention", KEYS, Expect::UnitAttention(code))
}
