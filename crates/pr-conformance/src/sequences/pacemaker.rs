//! Pacemaker: the fence agents and the resource agent.

use scsi_persistent_reservations::{ReservationType, SenseCode};

use super::{NONE, WERO, abort, free, held, ignore, keys, preempt, register, release, reserve, step, unit_attention};
use crate::{
    Expect,
    Initiator::{One, Two},
    Initiators, Step,
};

/// The agent as it was for long.
pub fn fence_scsi(Initiators { one, two, pair, .. }: Initiators) -> Vec<Step> {
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

/// The agent since 4.16: a node that finds its key on the disk may have been another initiator port then (an iSCSI session
/// that came back as another one). It takes the key from there, by a PREEMPT of it, and registers again.
pub fn fence_scsi_again(Initiators { one, two, pair, .. }: Initiators) -> Vec<Step> {
    let mut steps = vec![
        keys(One, &[]),
        step(One, "unfences itself", ignore(one), Expect::Good),
        free(One),
        step(One, "reserves", reserve(one, WERO), Expect::Good),
        keys(One, &[one]),
        step(One, "unfences itself again", ignore(one), Expect::Good),
        step(One, "preempts its own key", preempt(one, one, WERO), Expect::Good),
        held(One, one, WERO),
        step(One, "registers after that", ignore(one), Expect::Good),
        keys(One, &[one]),
    ];
    if pair {
        steps.extend([
            step(Two, "unfences itself", ignore(two), Expect::Good),
            held(Two, one, WERO),
            keys(Two, &[one, two]),
            step(Two, "unfences itself again", ignore(two), Expect::Good),
            // It holds nothing, so this ends its registration.
            step(Two, "preempts its own key", preempt(two, two, WERO), Expect::Good),
            held(Two, one, WERO),
            step(Two, "registers after that", ignore(two), Expect::Good),
            keys(Two, &[one, two]),
            step(Two, "fences node 1", abort(two, one, WERO), Expect::Good),
            unit_attention(One, SenseCode::REGISTRATIONS_PREEMPTED),
            keys(Two, &[two]),
            held(Two, two, WERO),
        ]);
    }
    steps
}

/// The agent for multipath maps.
pub fn fence_mpath(Initiators { one, two, pair, .. }: Initiators) -> Vec<Step> {
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
pub fn ocf(Initiators { one, two, pair, .. }: Initiators) -> Vec<Step> {
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
