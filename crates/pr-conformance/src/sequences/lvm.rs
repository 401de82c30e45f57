//! LVM: `vgchange --persist`.

use scsi_persistent_reservations::{InAction, ReservationType, SenseCode};

use super::{
    ANY_LENGTH, NONE, WEAR, abort, clear, free, held, ignore, keys, register, release, reserve, step, unit_attention,
};
use crate::{
    Command, Expect,
    Initiator::{One, Two},
    Initiators, Step,
};

/// `vgchange --persist`: each of the types, and what all of a volume group's hosts hold.
pub fn types(Initiators { one, two, pair, .. }: Initiators) -> Vec<Step> {
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

/// The same since 2.03.36: a volume group that several hosts use, one host that goes, one that dies and is removed by the
/// next one, and a volume group that one host uses and another takes over.
pub fn persist(Initiators { one, two, pair, .. }: Initiators) -> Vec<Step> {
    let types = Command::Read(InAction::ReportCapabilities, ANY_LENGTH);
    let mut steps = vec![
        step(One, "asks for the types", types, Expect::GoodIfSupported),
        step(One, "starts: registers", ignore(one), Expect::Good),
        free(One),
        step(One, "starts: reserves for all", reserve(one, WEAR), Expect::Good),
        held(One, NONE, WEAR),
        keys(One, &[one]),
        // After a reboot its key is still there.
        step(One, "starts again: registers", ignore(one), Expect::Good),
        held(One, NONE, WEAR),
    ];
    if pair {
        steps.extend([
            step(Two, "starts: registers", ignore(two), Expect::Good),
            held(Two, NONE, WEAR),
            step(Two, "removes node 1", abort(two, one, WEAR), Expect::Good),
            unit_attention(One, SenseCode::REGISTRATIONS_PREEMPTED),
            keys(Two, &[two]),
            held(Two, NONE, WEAR),
            step(One, "starts again: registers", ignore(one), Expect::Good),
            step(Two, "stops: unregisters", register(two, NONE), Expect::Good),
            keys(One, &[one]),
            held(One, NONE, WEAR),
        ]);
    }
    steps.extend([
        step(One, "stops: unregisters", register(one, NONE), Expect::Good),
        keys(One, &[]),
        // What LVM counts on: the last key takes the reservation with it.
        free(One),
    ]);
    let alone = ReservationType::WriteExclusive;
    steps.extend([
        step(One, "starts alone: registers", ignore(one), Expect::Good),
        step(One, "starts alone: reserves", reserve(one, alone), Expect::Good),
        held(One, one, alone),
    ]);
    let (last, key) = if pair { (Two, two) } else { (One, one) };
    if pair {
        steps.extend([
            step(Two, "cannot start: registers", ignore(two), Expect::Good),
            step(Two, "cannot start: reserves", reserve(two, alone), Expect::Conflict),
            step(Two, "takes over: removes node 1", abort(two, one, alone), Expect::Good),
            unit_attention(One, SenseCode::REGISTRATIONS_PREEMPTED),
            keys(Two, &[two]),
            held(Two, two, alone),
        ]);
    }
    steps.extend([step(last, "stops: unregisters", register(key, NONE), Expect::Good), keys(last, &[]), free(last)]);
    steps
}
