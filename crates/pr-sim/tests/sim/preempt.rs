use scsi_persistent_reservations::{OutAction, ReservationType};

use crate::bench::*;

const BOTH: [OutAction; 2] = [Preempt, PreemptAndAbort];

#[test]
fn to_preempt_takes_a_registration_and_its_key() {
    for action in BOTH {
        let mut unit = Bench::registered(&[(A, KA)]);
        unit.refuses(&Answer::CONFLICT, A, action, Some(WriteExclusive), keys(KB, KA));
        unit.refuses(&Answer::CONFLICT, B, action, Some(WriteExclusive), keys(0, KA));
        let mut unit = Bench::reserved(WriteExclusive);
        unit.refuses(&Answer::CONFLICT, A2, action, Some(WriteExclusive), keys(0, KA));
    }
}

#[test]
fn key_zero_names_nobody_unless_all_registrants_hold_the_reservation() {
    for action in BOTH {
        Bench::registered(&[(A, KA)]).refuses(&INVALID_LIST, A, action, Some(WriteExclusive), keys(KA, 0));
        for kind in HOLDER_ONLY.into_iter().chain(REGISTRANTS_ONLY) {
            Bench::reserved(kind).refuses(&INVALID_LIST, B, action, Some(kind), keys(KB, 0));
        }
    }
}

#[test]
fn a_key_that_nobody_has_conflicts() {
    for action in BOTH {
        Bench::registered(&[(A, KA)]).refuses(&Answer::CONFLICT, A, action, Some(WriteExclusive), keys(KA, KB));
        for kind in ReservationType::ALL {
            Bench::reserved(kind).refuses(&Answer::CONFLICT, B, action, Some(kind), keys(KB, 0x99));
        }
    }
}

#[test]
fn who_preempts_the_holder_takes_over_with_the_type_of_the_command() {
    for action in BOTH {
        for held in HOLDER_ONLY.into_iter().chain(REGISTRANTS_ONLY) {
            for wanted in ReservationType::ALL {
                let mut unit = Bench::reserved(held);
                unit.good(B, action, Some(wanted), keys(KB, KA));
                assert_eq!(unit.registrants(), [(B, KB), (C, KC)]);
                assert_eq!(unit.held(), Some((wanted, (!wanted.is_all_registrants()).then_some(B))));
                assert_eq!(unit.generation(), 4);
                // C stays; it is told only if its access may be another now.
                let told_to_c = if wanted == held { vec![] } else { vec![4] };
                assert_eq!(unit.told(), [vec![5], vec![], told_to_c], "{held} to {wanted}");
            }
        }
    }
}

#[test]
fn everyone_with_the_holders_key_is_preempted_but_the_sender() {
    let mut unit = Bench::registered(&[(A, KA), (B, KA), (C, KA)]);
    unit.good(A, Reserve, Some(WriteExclusive), keys(KA, 0));
    unit.good(B, Preempt, Some(WriteExclusive), keys(KA, KA));
    assert_eq!(unit.registrants(), [(B, KA)]);
    assert_eq!(unit.held(), Some((WriteExclusive, Some(B))));
    assert_eq!(unit.told(), [vec![5], vec![], vec![5]]);
}

#[test]
fn preempting_another_key_leaves_the_reservation() {
    for action in BOTH {
        for held in HOLDER_ONLY.into_iter().chain(REGISTRANTS_ONLY) {
            let mut unit = Bench::reserved(held);
            unit.good(B, action, Some(ExclusiveAccess), keys(KB, KC));
            assert_eq!(unit.registrants(), [(A, KA), (B, KB)]);
            assert_eq!(unit.held(), Some((held, Some(A))));
            assert_eq!(unit.told(), [vec![], vec![], vec![5]]);
        }
    }
}

#[test]
fn without_a_reservation_preempting_only_ends_registrations() {
    let mut unit = Bench::registered(&[(A, KA), (B, KB), (C, KB)]);
    unit.good(A, Preempt, Some(WriteExclusive), keys(KA, KB));
    assert_eq!((unit.registrants(), unit.held()), (vec![(A, KA)], None));
    assert_eq!(unit.told(), [vec![], vec![5], vec![5]]);
}

#[test]
fn who_preempts_its_own_key_without_holding_is_unregistered_and_not_told() {
    let mut unit = Bench::registered(&[(A, KA), (B, KB), (C, KB)]);
    unit.good(A, Reserve, Some(WriteExclusive), keys(KA, 0));
    unit.good(B, Preempt, Some(WriteExclusive), keys(KB, KB));
    assert_eq!(unit.registrants(), [(A, KA)]);
    assert_eq!(unit.told(), [vec![], vec![], vec![5]]);
}

#[test]
fn the_holder_that_preempts_itself_stays_and_may_change_the_type() {
    for action in BOTH {
        let mut unit = Bench::reserved(WriteExclusive);
        unit.good(A, action, Some(ExclusiveAccess), keys(KA, KA));
        assert_eq!(unit.registrants(), [(A, KA), (B, KB), (C, KC)]);
        assert_eq!(unit.held(), Some((ExclusiveAccess, Some(A))));
        assert_eq!(unit.told(), [vec![], vec![4], vec![4]]);
        assert_eq!(unit.aborted(), []);
    }
}

#[test]
fn key_zero_preempts_all_other_registrants_of_an_all_registrants_reservation() {
    for action in BOTH {
        for held in ALL_REGISTRANTS {
            for wanted in ReservationType::ALL {
                let mut unit = Bench::reserved(held);
                unit.good(B, action, Some(wanted), keys(KB, 0));
                assert_eq!(unit.registrants(), [(B, KB)]);
                assert_eq!(unit.held(), Some((wanted, (!wanted.is_all_registrants()).then_some(B))));
                assert_eq!(unit.told(), [vec![5], vec![], vec![5]]);
            }
        }
    }
}

#[test]
fn preempting_one_key_of_an_all_registrants_reservation_leaves_it() {
    for held in ALL_REGISTRANTS {
        let mut unit = Bench::reserved(held);
        unit.good(B, Preempt, Some(WriteExclusive), keys(KB, KA));
        assert_eq!(unit.registrants(), [(B, KB), (C, KC)]);
        assert_eq!(unit.held(), Some((held, None)));
        assert_eq!(unit.told(), [vec![5], vec![], vec![]]);
    }
}

#[test]
fn an_all_registrants_reservation_ends_when_the_last_registrant_preempts_itself() {
    for held in ALL_REGISTRANTS {
        let mut unit = Bench::registered(&[(A, KA), (B, KA)]);
        unit.good(A, Reserve, Some(held), keys(KA, 0));
        unit.good(A, Preempt, Some(held), keys(KA, KA));
        assert_eq!((unit.registrants(), unit.held()), (vec![], None));
        assert_eq!(unit.told(), [vec![], vec![5], vec![]]);
    }
}

#[test]
fn preempt_and_abort_aborts_the_commands_of_those_it_preempts() {
    let mut unit = Bench::registered(&[(A, KA), (B, KB), (C, KB)]);
    unit.good(A, Preempt, Some(WriteExclusive), keys(KA, KB));
    assert_eq!(unit.aborted(), []);

    let mut unit = Bench::registered(&[(A, KA), (B, KB), (C, KB)]);
    unit.good(A, PreemptAndAbort, Some(WriteExclusive), keys(KA, KB));
    assert_eq!(unit.aborted(), [B, C]);
    // It says so of the last command only, whatever that was.
    unit.refuses_to_name_aborted();
}

#[test]
fn who_preempts_its_own_key_aborts_its_own_commands() {
    let mut unit = Bench::registered(&[(A, KA), (B, KA)]);
    unit.good(A, PreemptAndAbort, Some(WriteExclusive), keys(KA, KA));
    assert_eq!(unit.aborted(), [A, B]);
}

impl Bench {
    fn refuses_to_name_aborted(&mut self) {
        assert_eq!(self.out(A, Reserve, None, keys(KA, 0)), INVALID_CDB);
        assert_eq!(self.aborted(), []);
    }
}
