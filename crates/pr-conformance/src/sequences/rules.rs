//! What SPC says of registrations and reservations and all cluster software takes for granted.

use scsi_persistent_reservations::ReservationType;

use super::{NONE, WEAR, WERO, free, held, keys, preempt, register, release, reserve, step, unit_attention};
use crate::{
    Expect,
    Initiator::{One, Two},
    Initiators, Step,
};
use scsi_persistent_reservations::SenseCode;

/// A type that is not held.
const OTHER: ReservationType = ReservationType::ExclusiveAccessRegistrantsOnly;

/// One initiator's rules, and then those for two.
pub fn rules(initiators: Initiators) -> Vec<Step> {
    let Initiators { one, two: unknown, pair, .. } = initiators;
    let mut steps = vec![
        // Linux's target has another refusal for an initiator that is not registered.
        step(One, "cannot reserve, not registered", reserve(one, WERO), Expect::Refusal),
        step(One, "registers", register(NONE, one), Expect::Good),
        step(One, "cannot reserve, wrong key", reserve(unknown, WERO), Expect::Conflict),
        free(One),
        step(One, "reserves", reserve(one, WERO), Expect::Good),
        step(One, "cannot reserve another type", reserve(one, OTHER), Expect::Conflict),
        held(One, one, WERO),
        step(One, "cannot release, wrong key", release(unknown, WERO), Expect::Conflict),
        // Linux's target answers with a conflict, and SPC says INVALID RELEASE OF PERSISTENT RESERVATION.
        step(One, "cannot release another type", release(one, OTHER), Expect::Refusal),
        held(One, one, WERO),
        step(One, "cannot preempt an unknown key", preempt(one, unknown, WERO), Expect::Conflict),
        step(One, "changes its key", register(one, unknown), Expect::Good),
        held(One, unknown, WERO),
        step(One, "changes it back", register(unknown, one), Expect::Good),
        step(One, "preempts itself", preempt(one, one, WERO), Expect::Good),
        keys(One, &[one]),
        held(One, one, WERO),
        step(One, "releases", release(one, WERO), Expect::Good),
        free(One),
        step(One, "releases nothing", release(one, WERO), Expect::Good),
        step(One, "reserves for all", reserve(one, WEAR), Expect::Good),
        held(One, NONE, WEAR),
        step(One, "unregisters as the last one", register(one, NONE), Expect::Good),
        keys(One, &[]),
        free(One),
        step(One, "registers again", register(NONE, one), Expect::Good),
        step(One, "reserves again", reserve(one, WERO), Expect::Good),
        step(One, "unregisters as the holder", register(one, NONE), Expect::Good),
        free(One),
    ];
    if pair {
        steps.extend(rules_for_two(initiators));
    }
    steps
}

fn rules_for_two(Initiators { one, two, .. }: Initiators) -> Vec<Step> {
    vec![
        step(One, "registers once more", register(NONE, one), Expect::Good),
        step(Two, "registers", register(NONE, two), Expect::Good),
        step(One, "reserves once more", reserve(one, WERO), Expect::Good),
        step(Two, "releases what it does not hold", release(two, WERO), Expect::Good),
        held(Two, one, WERO),
        step(One, "preempts node 2", preempt(one, two, OTHER), Expect::Good),
        unit_attention(Two, SenseCode::REGISTRATIONS_PREEMPTED),
        keys(One, &[one]),
        held(One, one, WERO),
        step(Two, "cannot unregister any more", register(two, NONE), Expect::Conflict),
        step(Two, "registers node 1's key", register(NONE, one), Expect::Good),
        step(Two, "is not the holder for all that", reserve(one, WERO), Expect::Conflict),
        step(Two, "unregisters", register(one, NONE), Expect::Good),
        keys(One, &[one]),
        held(One, one, WERO),
        step(One, "releases once more", release(one, WERO), Expect::Good),
        step(One, "reserves for all again", reserve(one, WEAR), Expect::Good),
        step(Two, "registers again", register(NONE, two), Expect::Good),
        step(Two, "reserves for all", reserve(two, WEAR), Expect::Good),
        step(One, "unregisters, node 2 stays", register(one, NONE), Expect::Good),
        held(Two, NONE, WEAR),
        step(Two, "unregisters as the last one", register(two, NONE), Expect::Good),
        keys(Two, &[]),
        free(Two),
    ]
}
