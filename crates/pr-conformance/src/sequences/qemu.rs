//! QEMU's live migration of a guest with its registrations.

use scsi_persistent_reservations::{BasicParameters, InAction, OutAction, PrOut, ReservationType, SenseCode};

use super::{KEYS, NONE, WERO, free, held, keys, preempt, register, reserve, step, unit_attention};
use crate::{
    Command, Expect,
    Initiator::{One, Two},
    Initiators, Step,
};

/// The allocation length of QEMU 11 after a guest's PREEMPT.
const RESERVATION_LENGTH: u16 = 24;

/// `migrate-pr`, with a reservation: after a guest's PREEMPT QEMU looks who holds the disk. The destination registers
/// the guest's key and preempts that key with the reservation's type; a source whose migration fails does the same.
pub fn migrate(Initiators { one: key, pair, .. }: Initiators) -> Vec<Step> {
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
pub fn migrate_key(Initiators { one: key, pair, .. }: Initiators) -> Vec<Step> {
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

/// The same since 11.1: the PREEMPT has a type, and the guest is registered again after it, because on a disk it ends every
/// registration with the key if nobody holds a reservation.
pub fn migrate_key_typed(Initiators { one: key, pair, .. }: Initiators) -> Vec<Step> {
    let mut steps = vec![step(One, "registers for the guest", register(NONE, key), Expect::Good), keys(One, &[key])];
    let to = if pair { Two } else { One };
    if pair {
        steps.push(step(Two, "registers the guest's key", register(NONE, key), Expect::Good));
    }
    let kind = ReservationType::WriteExclusive;
    steps.push(step(to, "preempts the guest's key", preempt(key, key, kind), Expect::Good));
    if pair {
        steps.push(unit_attention(One, SenseCode::REGISTRATIONS_PREEMPTED));
    }
    steps.extend([
        step(to, "registers the guest again", register(NONE, key), Expect::Good),
        keys(to, &[key]),
        free(to),
        step(to, "unregisters for the guest", register(key, NONE), Expect::Good),
        keys(to, &[]),
    ]);
    steps
}
