//! What cluster software sends, sequence by sequence, as far as reservations go.
//!
//! Where only one initiator is there, its half is left.

use scsi_pr::{InAction, OutAction, ReservationKey, ReservationType, SenseCode};

use super::step::{
    Due, Step, What,
    Who::{self, One, Two},
};
use crate::request::Request;

/// What QEMU 11 asks for after a guest's PREEMPT.
const RESERVATION_LENGTH: u16 = 24;
const ANY_LENGTH: u16 = 8192;
const WERO: ReservationType = ReservationType::WriteExclusiveRegistrantsOnly;
const WEAR: ReservationType = ReservationType::WriteExclusiveAllRegistrants;

/// The keys of this run, and whether there are two initiators.
#[derive(Clone, Copy, Debug)]
pub struct Cast {
    pub one: ReservationKey,
    pub two: ReservationKey,
    /// For cleaning up.
    pub third: ReservationKey,
    pub pair: bool,
}

/// A sequence by its name.
pub struct Sequence {
    pub name: &'static str,
    pub steps: fn(Cast) -> Vec<Step>,
}

/// Every sequence, in the order of their playing.
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

fn step(who: Who, name: &'static str, what: What, due: Due) -> Step {
    Step { who, name, what, due }
}

fn order(action: OutAction, kind: Option<ReservationType>, key: ReservationKey, other: ReservationKey) -> What {
    What::Order(Request::new(action, kind, key, other))
}

fn register(key: ReservationKey, new_key: ReservationKey) -> What {
    order(OutAction::Register, None, key, new_key)
}

fn ignore(new_key: ReservationKey) -> What {
    order(OutAction::RegisterAndIgnoreExistingKey, None, ReservationKey::ZERO, new_key)
}

fn reserve(key: ReservationKey, kind: ReservationType) -> What {
    order(OutAction::Reserve, Some(kind), key, ReservationKey::ZERO)
}

fn release(key: ReservationKey, kind: ReservationType) -> What {
    order(OutAction::Release, Some(kind), key, ReservationKey::ZERO)
}

fn clear(key: ReservationKey) -> What {
    order(OutAction::Clear, None, key, ReservationKey::ZERO)
}

fn preempt(key: ReservationKey, victim: ReservationKey, kind: ReservationType) -> What {
    order(OutAction::Preempt, Some(kind), key, victim)
}

fn abort(key: ReservationKey, victim: ReservationKey, kind: ReservationType) -> What {
    order(OutAction::PreemptAndAbort, Some(kind), key, victim)
}

const KEYS: What = What::Ask(InAction::ReadKeys, ANY_LENGTH);
const RESERVATION: What = What::Ask(InAction::ReadReservation, ANY_LENGTH);
const NONE: ReservationKey = ReservationKey::ZERO;

fn keys(who: Who, keys: &[ReservationKey]) -> Step {
    step(who, "reads the keys", KEYS, Due::Keys(keys.to_vec()))
}

fn held(who: Who, by: ReservationKey, kind: ReservationType) -> Step {
    step(who, "reads the reservation", RESERVATION, Due::Held(by, kind))
}

fn free(who: Who) -> Step {
    step(who, "reads the reservation", RESERVATION, Due::Free)
}

fn told(who: Who, code: SenseCode) -> Step {
    step(who, "gets a unit attention", KEYS, Due::Told(code))
}

/// What all of them rely on.
fn basics(Cast { one, .. }: Cast) -> Vec<Step> {
    vec![
        keys(One, &[]),
        free(One),
        step(One, "asks what is supported", What::Ask(InAction::ReportCapabilities, ANY_LENGTH), Due::Offered),
        step(One, "registers", register(NONE, one), Due::Good),
        keys(One, &[one]),
        step(One, "reads the head of the keys", What::Ask(InAction::ReadKeys, 8), Due::Head),
        step(
            One,
            "reads the full status",
            What::Ask(InAction::ReadFullStatus, ANY_LENGTH),
            Due::Registrations(vec![one]),
        ),
        step(One, "unregisters", register(one, NONE), Due::Good),
        keys(One, &[]),
    ]
}

/// Failover Clustering's validation of shared storage.
fn windows(Cast { one, two, pair, .. }: Cast) -> Vec<Step> {
    let mut steps = vec![keys(One, &[]), free(One), step(One, "registers", register(NONE, one), Due::Good)];
    if pair {
        steps.push(step(Two, "registers", register(NONE, two), Due::Good));
    }
    steps.extend([
        step(One, "reserves", reserve(one, WERO), Due::Good),
        step(One, "reserves again", reserve(one, WERO), Due::Good),
        held(One, one, WERO),
    ]);
    if pair {
        steps.extend([
            held(Two, one, WERO),
            step(Two, "cannot reserve", reserve(two, WERO), Due::Conflict),
            step(Two, "preempts node 1", preempt(two, one, WERO), Due::Good),
            told(One, SenseCode::REGISTRATIONS_PREEMPTED),
            keys(Two, &[two]),
            held(Two, two, WERO),
            step(One, "cannot reserve any more", reserve(one, WERO), Due::Conflict),
            step(One, "registers again", register(NONE, one), Due::Good),
            step(One, "unregisters", register(one, NONE), Due::Good),
            held(Two, two, WERO),
            step(One, "registers once more", register(NONE, one), Due::Good),
            step(Two, "clears", clear(two), Due::Good),
            told(One, SenseCode::RESERVATIONS_PREEMPTED),
        ]);
    } else {
        steps.push(step(One, "clears", clear(one), Due::Good));
    }
    steps.extend([keys(One, &[]), free(One)]);
    steps
}

fn fence_scsi(Cast { one, two, pair, .. }: Cast) -> Vec<Step> {
    let mut steps = vec![
        step(One, "unfences itself", ignore(one), Due::Good),
        keys(One, &[one]),
        free(One),
        step(One, "reserves", reserve(one, WERO), Due::Good),
        held(One, one, WERO),
    ];
    if pair {
        steps.extend([
            step(Two, "unfences itself", ignore(two), Due::Good),
            keys(Two, &[one, two]),
            held(Two, one, WERO),
            step(Two, "fences node 1", abort(two, one, WERO), Due::Good),
            told(One, SenseCode::REGISTRATIONS_PREEMPTED),
            keys(Two, &[two]),
            held(Two, two, WERO),
            step(One, "unfences itself again", ignore(one), Due::Good),
            step(Two, "preempts itself", preempt(two, two, WERO), Due::Good),
            keys(Two, &[one, two]),
            held(Two, two, WERO),
        ]);
    } else {
        steps.extend([
            step(One, "preempts itself", preempt(one, one, WERO), Due::Good),
            keys(One, &[one]),
            held(One, one, WERO),
        ]);
    }
    steps
}

fn fence_mpath(Cast { one, two, pair, .. }: Cast) -> Vec<Step> {
    let mut steps = vec![
        step(One, "registers", register(NONE, one), Due::Good),
        step(One, "cannot register twice", register(NONE, one), Due::Conflict),
        step(One, "reserves", reserve(one, WERO), Due::Good),
        keys(One, &[one]),
        held(One, one, WERO),
    ];
    let (last, key) = if pair { (Two, two) } else { (One, one) };
    if pair {
        steps.extend([
            step(Two, "registers", register(NONE, two), Due::Good),
            step(Two, "fences node 1", abort(two, one, WERO), Due::Good),
            told(One, SenseCode::REGISTRATIONS_PREEMPTED),
            keys(Two, &[two]),
            held(Two, two, WERO),
        ]);
    }
    steps.extend([step(last, "unregisters", register(key, NONE), Due::Good), keys(last, &[]), free(last)]);
    steps
}

/// The resource agent, with its default type.
fn ocf(Cast { one, two, pair, .. }: Cast) -> Vec<Step> {
    let kind = ReservationType::WriteExclusive;
    let mut steps = vec![keys(One, &[]), step(One, "starts: registers", register(NONE, one), Due::Good)];
    if pair {
        steps.extend([
            step(Two, "starts: registers", register(NONE, two), Due::Good),
            keys(Two, &[one, two]),
            step(One, "is promoted: reserves", reserve(one, kind), Due::Good),
            held(One, one, kind),
            step(Two, "releases what it does not hold", release(two, kind), Due::Good),
            held(Two, one, kind),
            step(Two, "is promoted: preempts node 1", preempt(two, one, kind), Due::Good),
            told(One, SenseCode::REGISTRATIONS_PREEMPTED),
            held(Two, two, kind),
            keys(Two, &[two]),
            step(Two, "is demoted: releases", release(two, kind), Due::Good),
            free(Two),
            step(Two, "stops: unregisters", register(two, NONE), Due::Good),
            keys(Two, &[]),
        ]);
    } else {
        steps.extend([
            step(One, "is promoted: reserves", reserve(one, kind), Due::Good),
            held(One, one, kind),
            step(One, "is demoted: releases", release(one, kind), Due::Good),
            free(One),
            step(One, "stops: unregisters", register(one, NONE), Due::Good),
            keys(One, &[]),
        ]);
    }
    steps
}

/// `migrate-pr`, with a reservation: after a guest's PREEMPT QEMU looks who holds the disk. The destination registers
/// the guest's key and preempts that key with the reservation's type; a source whose migration fails does the same.
fn migrate(Cast { one: key, pair, .. }: Cast) -> Vec<Step> {
    let read = What::Ask(InAction::ReadReservation, RESERVATION_LENGTH);
    let take = |who, name| step(who, name, preempt(key, key, WERO), Due::Good);
    let mut steps = vec![
        step(One, "registers for the guest", register(NONE, key), Due::Good),
        step(One, "reserves for the guest", reserve(key, WERO), Due::Good),
        take(One, "preempts for the guest"),
        step(One, "reads who holds", read, Due::Held(key, WERO)),
    ];
    if pair {
        steps.extend([
            step(Two, "registers the guest's key", register(NONE, key), Due::Good),
            take(Two, "takes the reservation over"),
            told(One, SenseCode::REGISTRATIONS_PREEMPTED),
            held(Two, key, WERO),
            keys(Two, &[key]),
            step(One, "registers the guest's key", register(NONE, key), Due::Good),
            take(One, "takes the reservation back"),
            told(Two, SenseCode::REGISTRATIONS_PREEMPTED),
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
fn migrate_key(Cast { one: key, pair, .. }: Cast) -> Vec<Step> {
    let mut steps = vec![step(One, "registers for the guest", register(NONE, key), Due::Good), keys(One, &[key])];
    let to = if pair { Two } else { One };
    if pair {
        steps.push(step(Two, "registers the guest's key", register(NONE, key), Due::Good));
    }
    let untyped = order(OutAction::Preempt, None, key, key);
    steps.extend([
        step(to, "preempts without a type", untyped, Due::GoodOrRefused),
        step(to, "reads the keys that are left", KEYS, Due::Kept(vec![key])),
        free(to),
    ]);
    steps
}

/// `vgchange --persist`: each of the types, and what all of a volume group's hosts hold.
fn lvm(Cast { one, two, pair, .. }: Cast) -> Vec<Step> {
    let mut steps = vec![step(One, "starts: registers", register(NONE, one), Due::Good)];
    for kind in ReservationType::ALL {
        let holder = if kind.is_all_registrants() { NONE } else { one };
        steps.extend([
            step(One, "reserves", reserve(one, kind), Due::Good),
            held(One, holder, kind),
            step(One, "releases", release(one, kind), Due::Good),
            free(One),
        ]);
    }
    steps.push(step(One, "reserves for all", reserve(one, WEAR), Due::Good));
    if pair {
        steps.extend([
            step(Two, "starts: registers", register(NONE, two), Due::Good),
            step(Two, "reserves for all", reserve(two, WEAR), Due::Good),
            held(Two, NONE, WEAR),
            step(Two, "removes node 1", abort(two, one, WEAR), Due::Good),
            told(One, SenseCode::REGISTRATIONS_PREEMPTED),
            keys(Two, &[two]),
            held(Two, NONE, WEAR),
            step(Two, "clears", clear(two), Due::Good),
        ]);
    } else {
        steps.push(step(One, "clears", clear(one), Due::Good));
    }
    steps.extend([keys(One, &[]), free(One)]);
    steps
}
