use scsi_persistent_reservations::SenseCode;

use crate::bench::*;

#[test]
fn the_same_condition_is_queued_once() {
    let mut unit = Bench::reserved(WriteExclusiveRegistrantsOnly);
    for _ in 0..3 {
        unit.good(A, Release, Some(WriteExclusiveRegistrantsOnly), keys(KA, 0));
        unit.good(A, Reserve, Some(WriteExclusiveRegistrantsOnly), keys(KA, 0));
    }
    assert_eq!(unit.told(), [vec![], vec![4], vec![4]]);
}

#[test]
fn different_conditions_are_reported_one_by_one_oldest_first() {
    let mut unit = Bench::reserved(WriteExclusiveRegistrantsOnly);
    unit.good(A, Release, Some(WriteExclusiveRegistrantsOnly), keys(KA, 0));
    unit.good(A, Preempt, Some(WriteExclusive), keys(KA, KB));
    unit.good(A, Clear, None, keys(KA, 0));
    assert_eq!(unit.told(), [vec![], vec![4, 5], vec![4, 3]]);
    for (nexus, code) in [
        (B, SenseCode::RESERVATIONS_RELEASED),
        (C, SenseCode::RESERVATIONS_RELEASED),
        (C, SenseCode::RESERVATIONS_PREEMPTED),
        (B, SenseCode::REGISTRATIONS_PREEMPTED),
    ] {
        assert_eq!(unit.out(nexus, Register, None, keys(0, 0)), Answer::check(code));
    }
    unit.good(B, Register, None, keys(0, 0));
    unit.good(C, Register, None, keys(0, 0));
}

#[test]
fn a_condition_concerns_one_nexus_and_not_the_initiators_other_one() {
    let mut unit = Bench::registered(&[(A, KA), (A2, KA), (B, KB)]);
    unit.good(B, Preempt, Some(WriteExclusive), keys(KB, KA));
    assert_eq!(unit.out(A, Register, None, keys(0, 0)), Answer::check(SenseCode::REGISTRATIONS_PREEMPTED));
    unit.good(A, Register, None, keys(0, 0));
    assert_eq!(unit.unit_attentions(A2), [SenseCode::REGISTRATIONS_PREEMPTED]);
}

#[test]
fn nobody_keeps_conditions_for_a_port_that_was_never_there() {
    let mut unit = Bench(pr_sim::LogicalUnit::new(1));
    let ports = listed(&[B]);
    unit.good(A, Register, None, crate::register::specify(&ports, keys(0, KA)));
    unit.good(A, Clear, None, keys(KA, 0));
    assert_eq!(unit.unit_attentions(B), []);
    unit.good(B, Register, None, keys(0, KB));
}

#[test]
fn who_is_forgotten_stays_registered_and_is_told_nothing() {
    let mut unit = Bench::reserved(WriteExclusiveRegistrantsOnly);
    unit.good(A, Release, Some(WriteExclusiveRegistrantsOnly), keys(KA, 0));
    unit.forget(B);
    assert_eq!(unit.told(), [vec![], vec![], vec![4]]);
    assert_eq!(unit.registrants(), [(A, KA), (B, KB), (C, KC)]);
    unit.good(B, Register, None, keys(KB, KB));
}
