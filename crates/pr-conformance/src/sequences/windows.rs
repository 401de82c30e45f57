//! Windows Server Failover Clustering.

use scsi_persistent_reservations::SenseCode;

use super::{NONE, WERO, clear, free, held, ignore, keys, preempt, register, release, reserve, step, unit_attention};
use crate::{
    Expect,
    Initiator::{One, Two},
    Initiators, Step,
};

/// Failover Clustering's validation of shared storage.
pub fn validation(Initiators { one, two, pair, .. }: Initiators) -> Vec<Step> {
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

/// What the nodes of a cluster do with its disk day by day: the one that has it defends it from one that challenges.
pub fn arbitration(Initiators { one, two, pair, .. }: Initiators) -> Vec<Step> {
    let mut steps = vec![
        step(One, "registers", ignore(one), Expect::Good),
        keys(One, &[one]),
        free(One),
        step(One, "reserves", reserve(one, WERO), Expect::Good),
        held(One, one, WERO),
        step(One, "defends: registers again", ignore(one), Expect::Good),
        step(One, "defends: reserves again", reserve(one, WERO), Expect::Good),
        keys(One, &[one]),
        held(One, one, WERO),
    ];
    if pair {
        steps.extend([
            step(Two, "challenges: registers", ignore(two), Expect::Good),
            keys(Two, &[one, two]),
            step(Two, "cannot reserve", reserve(two, WERO), Expect::Conflict),
            step(One, "defends: removes node 2", preempt(one, two, WERO), Expect::Good),
            unit_attention(Two, SenseCode::REGISTRATIONS_PREEMPTED),
            keys(Two, &[one]),
            held(Two, one, WERO),
            step(Two, "cannot preempt node 1", preempt(two, one, WERO), Expect::Conflict),
            step(Two, "comes back: registers", ignore(two), Expect::Good),
            step(Two, "wins: preempts node 1", preempt(two, one, WERO), Expect::Good),
            unit_attention(One, SenseCode::REGISTRATIONS_PREEMPTED),
            held(Two, two, WERO),
            keys(Two, &[two]),
            step(One, "cannot defend any more", reserve(one, WERO), Expect::Conflict),
            step(Two, "goes offline: releases", release(two, WERO), Expect::Good),
            step(Two, "goes offline: leaves", ignore(NONE), Expect::Good),
        ]);
    } else {
        steps.extend([
            step(One, "goes offline: releases", release(one, WERO), Expect::Good),
            step(One, "goes offline: leaves", ignore(NONE), Expect::Good),
        ]);
    }
    steps.extend([keys(One, &[]), free(One)]);
    steps
}
