//! The reservation commands that cluster software sends, sequence by sequence.

use scsi_persistent_reservations::{
    BasicParameters, InAction, OutAction, PrOut, ReservationKey, ReservationType, SenseCode,
};

use crate::{
    Command, Expect,
    Initiator::{self, One, Two},
    Step,
};

/// The allocation length of QEMU 11 after a guest's PREEMPT.
const RESERVATION_LENGTH: u16 = 24;
const ANY_LENGTH: u16 = 8192;
const WERO: ReservationType = ReservationType::WriteExclusiveRegistrantsOnly;
const WEAR: ReservationType = ReservationType::WriteExclusiveAllRegistrants;

/// The keys of this run, and whether there are two initiators.
#[derive(Clone, Copy, Debug)]
pub struct Initiators {
    /// The key of the first initiator.
    pub one: ReservationKey,
    /// The key of the second one.
    pub two: ReservationKey,
    /// Whether there are two.
    pub pair: bool,
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

/// Every sequence, in the order in which they run.
pub const ALL: [Sequence; 8] = [
    Sequence { name: "basics", steps: basics },
    Sequence { name: "windows-failover-clustering", steps: windows },
    Sequence { name: "fence_scsi", steps: fence_scsi },
    Sequence { name: "fence_mpath", steps: fence_mpath },
    Sequence { name: "ocf-sg_persist", steps: ocf },
    Sequence { name: "qemu-11-migrate-pr", steps: migrate },
    Sequence { name: "qemu-11-migrate-key", steps: migrate_key },
    Sequence { name: "lvm-persist", steps: lvm },
];

fn step(initiator: Initiator, name: &'static str, command: Command, expect: Expect) -> Step {
    Step { initiator, name, command, expect }
}

const fn register(key: ReservationKey, new_key: ReservationKey) -> Command {
    Command::Change(PrOut::register(key, new_key))
}

const fn ignore(new_key: ReservationKey) -> Command {
    Command::Change(PrOut::register_and_ignore_existing_key(new_key))
}

const fn reserve(key: ReservationKey, kind: ReservationType) -> Command {
    Command::Change(PrOut::reserve(key, kind))
}

const fn release(key: ReservationKey, kind: ReservationType) -> Command {
    Command::Change(PrOut::release(key, kind))
}

const fn clear(key: ReservationKey) -> Command {
    Command::Change(PrOut::clear(key))
}

const fn preempt(key: ReservationKey, victim: ReservationKey, kind: ReservationType) -> Command {
    Command::Change(PrOut::preempt(key, victim, kind))
}

const fn abort(key: ReservationKey, victim: ReservationKey, kind: ReservationType) -> Command {
    Command::Change(PrOut::preempt_and_abort(key, victim, kind))
}

const KEYS: Command = Command::Read(InAction::ReadKeys, ANY_LENGTH);
const RESERVATION: Command = Command::Read(InAction::ReadReservation, ANY_LENGTH);
const NONE: ReservationKey = ReservationKey::ZERO;

fn keys(initiator: Initiator, keys: &[ReservationKey]) -> Step {
    step(initiator, "reads the keys", KEYS, Expect::Keys(keys.to_vec()))
}

fn held(initiator: Initiator, by: ReservationKey, kind: ReservationType) -> Step {
    step(initiator, "reads the reservation", RESERVATION, Expect::Reservation(by, kind))
}

fn free(initiator: Initiator) -> Step {
    step(initiator, "reads the reservation", RESERVATION, Expect::NoReservation)
}

fn unit_attention(initiator: Initiator, code: SenseCode) -> Step {
    step(initiator, "gets a unit attention", KEYS, Expect::UnitAttention(code))
}

/// What all other sequences rely on.
fn basics(Initiators { one, .. }: Initiators) -> Vec<Step> {
    vec![
        keys(One, &[]),
        free(One),
        step(
            One,
            "asks what is supported",
            Command::Read(InAction::ReportCapabilities, ANY_LENGTH),
            Expect::GoodIfSupported,
        ),
        step(One, "registers", register(NONE, one), Expect::Good),
        keys(One, &[one]),
        step(One, "reads the head of the keys", Command::Read(InAction::ReadKeys, 8), Expect::KeysHeader),
        step(
            One,
            "reads the full status",
            Command::Read(InAction::ReadFullStatus, ANY_LENGTH),
            Expect::Registrations(vec![one]),
        ),
        step(One, "unregisters", register(one, NONE), Expect::Good),
        keys(One, &[]),
    ]
}

/// Failover Clustering's validation of shared storage.
fn windows(Initiators { one, two, pair, .. }: Initiators) -> Vec<Step> {
    let mut steps = vec![keys(One, &[]), free(One), step(One, "registers", register(NONE, one), Expect::Good)];
    if pair {
        steps.push(step(Two, "registers", register(NONE, two), Expect::Good));
    }
    steps.extend([
        step(One, "reserves", reserve(one, WERO), Expect::Good),
        step(One, "reserves again", reserve(one, WERO), Expect::Good),
        held(One, one, WERO),
    ]);
    if pair {
        steps.extend([
            held(Two, one, WERO),
            step(Two, "cannot reserve", reserve(two, WERO), Expect::Conflict),
            step(Two, "preempts node 1", preempt(two, one, WERO), Expect::Good),
            unit_attention(One, SenseCode::REGISTRATIONS_PREEMPTED),
            keys(Two, &[two]),
            held(Two, two, WERO),
            step(One, "cannot reserve any more", reserve(one, WERO), Expect::Conflict),
            step(One, "registers again", register(NONE, one), Expect::Good),
            step(One, "unregisters", register(one, NONE), Expect::Good),
            held(Two, two, WERO),
            step(One, "registers once more", register(NONE, one), Expect::Good),
            step(Two, "clears", clear(two), Expect::Good),
            unit_attention(One, SenseCode::RESERVATIONS_PREEMPTED),
        ]);
    } else {
        steps.push(step(One, "clears", clear(one), Expect::Good));
    }
    steps.extend([keys(One, &[]), free(One)]);
    steps
}

fn fence_scsi(Initiators { one, two, pair, .. }: Initiators) -> Vec<Step> {
    let mut steps = vec![
        step(One, "unfences itself", ignore(one), Expect::Good),
        keys(One, &[one]),
        free(One),
        step(One, "reserves", reserve(one, WERO), Expect::Good),
        held(One, one, WERO),
    ];
    if pair {
        steps.extend([
            step(Two, "unfences itself", ignore(two), Expect::Good),
            keys(Two, &[one, two]),
            held(Two, one, WERO),
            step(Two, "fences node 1", abort(two, one, WERO), Expect::Good),
            unit_attention(One, SenseCode::REGISTRATIONS_PREEMPTED),
            keys(Two, &[two]),
            held(Two, two, WERO),
            step(One, "unfences itself again", ignore(one), Expect::Good),
            step(Two, "preempts itself", preempt(two, two, WERO), Expect::Good),
            keys(Two, &[one, two]),
            held(Two, two, WERO),
        ]);
    } else {
        steps.extend([
            step(One, "preempts itself", preempt(one, one, WERO), Expect::Good),
            keys(One, &[one]),
            held(One, one, WERO),
        ]);
    }
    steps
}

fn fence_mpath(Initiators { one, two, pair, .. }: Initiators) -> Vec<Step> {
    let mut steps = vec![
        step(One, "registers", register(NONE, one), Expect::Good),
        step(One, "cannot register twice", register(NONE, one), Expect::Conflict),
        step(One, "reserves", reserve(one, WERO), Expect::Good),
        keys(One, &[one]),
        held(One, one, WERO),
    ];
    let (last, key) = if pair { (Two, two) } else { (One, one) };
    if pair {
        steps.extend([
            step(Two, "registers", register(NONE, two), Expect::Good),
            step(Two, "fences node 1", abort(two, one, WERO), Expect::Good),
            unit_attention(One, SenseCode::REGISTRATIONS_PREEMPTED),
            keys(Two, &[two]),
            held(Two, two, WERO),
        ]);
    }
    steps.extend([step(last, "unregisters", register(key, NONE), Expect::Good), keys(last, &[]), free(last)]);
    steps
}

/// The resource agent, with its default type.
fn ocf(Initiators { one, two, pair, .. }: Initiators) -> Vec<Step> {
    let kind = ReservationType::WriteExclusive;
    let mut steps = vec![keys(One, &[]), step(One, "starts: registers", register(NONE, one), Expect::Good)];
    if pair {
        steps.extend([
            step(Two, "starts: registers", register(NONE, two), Expect::Good),
            keys(Two, &[one, two]),
            step(One, "is promoted: reserves", reserve(one, kind), Expect::Good),
            held(One, one, kind),
            step(Two, "releases what it does not hold", release(two, kind), Expect::Good),
            held(Two, one, kind),
            step(Two, "is promoted: preempts node 1", preempt(two, one, kind), Expect::Good),
            unit_attention(One, SenseCode::REGISTRATIONS_PREEMPTED),
            held(Two, two, kind),
            keys(Two, &[two]),
            step(Two, "is demoted: releases", release(two, kind), Expect::Good),
            free(Two),
            step(Two, "stops: unregisters", register(two, NONE), Expect::Good),
            keys(Two, &[]),
        ]);
    } else {
        steps.extend([
            step(One, "is promoted: reserves", reserve(one, kind), Expect::Good),
            held(One, one, kind),
            step(One, "is demoted: releases", release(one, kind), Expect::Good),
            free(One),
            step(One, "stops: unregisters", register(one, NONE), Expect::Good),
            keys(One, &[]),
        ]);
    }
    steps
}

/// `migrate-pr`, with a reservation: after a guest's PREEMPT QEMU looks who holds the disk. The destination registers
/// the guest's key and preempts that key with the reservation's type; a source whose migration fails does the same.
fn migrate(Initiators { one: key, pair, .. }: Initiators) -> Vec<Step> {
    let read = Command::Read(InAction::ReadReservation, RESERVATION_LENGTH);
    let take = |initiator, name| step(initiator, name, preempt(key, key, WERO), Expect::Good);
    let mut steps = vec![
        step(One, "registers for the guest", register(NONE, key), Expect::Good),
        step(One, "reserves for the guest", reserve(key, WERO), Expect::Good),
        take(One, "preempts for the guest"),
        step(One, "reads who holds", read, Expect::Reservation(key, WERO)),
    ];
    if pair {
        steps.extend([
            step(Two, "registers the guest's key", register(NONE, key), Expect::Good),
            take(Two, "takes the reservation over"),
            unit_attention(One, SenseCode::REGISTRATIONS_PREEMPTED),
            held(Two, key, WERO),
            keys(Two, &[key]),
            step(One, "registers the guest's key", register(NONE, key), Expect::Good),
            take(One, "takes the reservation back"),
            unit_attention(Two, SenseCode::REGISTRATIONS_PREEMPTED),
        ]);
    } else {
        steps.push(take(One, "takes the reservation over"));
    }
    steps.extend([held(One, key, WERO), keys(One, &[key])]);
    steps
}

/// `migrate-pr` of a guest that is registered and holds nothing: the PREEMPT has no type. SPC has the disk ignore the type
/// where a PREEMPT only removes registrations, and Linux's target does since 7.2; older ones and other disks refuse it, and
/// QEMU warns and goes on. A disk that carries it out may end the destination's registration too.
fn migrate_key(Initiators { one: key, pair, .. }: Initiators) -> Vec<Step> {
    let mut steps = vec![step(One, "registers for the guest", register(NONE, key), Expect::Good), keys(One, &[key])];
    let to = if pair { Two } else { One };
    if pair {
        steps.push(step(Two, "registers the guest's key", register(NONE, key), Expect::Good));
    }
    let untyped = Command::Change(PrOut::new(OutAction::Preempt, 0, BasicParameters::keys(key, key)));
    steps.extend([
        step(to, "preempts without a type", untyped, Expect::GoodOrIllegalRequest),
        step(to, "reads the keys that are left", KEYS, Expect::KeysIfKept(vec![key])),
        free(to),
    ]);
    steps
}

/// `vgchange --persist`: each of the types, and what all of a volume group's hosts hold.
fn lvm(Initiators { one, two, pair, .. }: Initiators) -> Vec<Step> {
    let mut steps = vec![step(One, "starts: registers", register(NONE, one), Expect::Good)];
    for kind in ReservationType::ALL {
        let holder = if kind.is_all_registrants() { NONE } else { one };
        steps.extend([
            step(One, "reserves", reserve(one, kind), Expect::Good),
            held(One, holder, kind),
            step(One, "releases", release(one, kind), Expect::Good),
            free(One),
        ]);
    }
    steps.push(step(One, "reserves for all", reserve(one, WEAR), Expect::Good));
    if pair {
        steps.extend([
            step(Two, "starts: registers", register(NONE, two), Expect::Good),
            step(Two, "reserves for all", reserve(two, WEAR), Expect::Good),
            held(Two, NONE, WEAR),
            step(Two, "removes node 1", abort(two, one, WEAR), Expect::Good),
            unit_attention(One, SenseCode::REGISTRATIONS_PREEMPTED),
            keys(Two, &[two]),
            held(Two, NONE, WEAR),
            step(Two, "clears", clear(two), Expect::Good),
        ]);
    } else {
        steps.push(step(One, "clears", clear(one), Expect::Good));
    }
    steps.extend([keys(One, &[]), free(One)]);
    steps
}
