use scsi_persistent_reservations::{BasicParameters, MoveParameters, ReservationKey, SenseCode};

use crate::bench::*;

fn persistent(parameters: BasicParameters<'_>) -> BasicParameters<'_> {
    BasicParameters { activate_persist: true, ..parameters }
}

#[test]
fn registrations_and_reservations_survive_a_reset() {
    let mut unit = Bench::reserved(WriteExclusive);
    unit.reset();
    assert_eq!(unit.registrants().len(), 3);
    assert_eq!(unit.held(), Some((WriteExclusive, Some(A))));
    assert_eq!(unit.generation(), 3);
}

#[test]
fn everyone_is_told_of_a_reset_and_of_nothing_before_it() {
    let mut unit = Bench::reserved(WriteExclusiveRegistrantsOnly);
    unit.good(A, Release, Some(WriteExclusiveRegistrantsOnly), keys(KA, 0));
    unit.reset();
    unit.reset();
    assert_eq!(unit.told(), [vec![0], vec![0], vec![0]]);
    assert_eq!(unit.out(B, Register, None, keys(KB, KB)), Answer::check(SenseCode::RESET_OCCURRED));
    unit.good(B, Register, None, keys(KB, KB));
}

#[test]
fn a_power_cycle_ends_registrations_that_do_not_persist() {
    let mut unit = Bench::reserved(WriteExclusive);
    unit.power_cycle();
    assert_eq!((unit.registrants(), unit.held(), unit.generation()), (vec![], None, 0));
    assert_eq!(unit.told(), [vec![0], vec![0], vec![0]]);
}

#[test]
fn a_power_cycle_leaves_registrations_that_persist_and_starts_the_counter_anew() {
    let mut unit = Bench::reserved(WriteExclusive);
    unit.good(B, Register, None, persistent(keys(KB, KB)));
    unit.power_cycle();
    assert_eq!(unit.registrants(), [(A, KA), (B, KB), (C, KC)]);
    assert_eq!((unit.held(), unit.generation()), (Some((WriteExclusive, Some(A))), 0));
    assert!(unit.persists_through_power_loss());
}

#[test]
fn the_most_recent_registration_decides_about_persistence() {
    for action in [Register, RegisterAndIgnoreExistingKey] {
        let mut unit = Bench::new();
        unit.good(A, action, None, persistent(keys(0, KA)));
        assert!(unit.persists_through_power_loss());
        unit.good(B, action, None, keys(0, KB));
        assert!(!unit.persists_through_power_loss());
        unit.good(B, action, None, persistent(keys(KB, 0)));
        assert!(unit.persists_through_power_loss());
        unit.refuses(&Answer::CONFLICT, A, Reserve, Some(WriteExclusive), keys(KB, 0));
        assert!(unit.persists_through_power_loss());
    }
}

#[test]
fn a_move_decides_about_persistence_too() {
    let mut unit = Bench::reserved(WriteExclusive);
    for (from, to, activate_persist) in [(A, B, true), (B, A, false)] {
        let key = |nexus| ReservationKey(if nexus == A { KA } else { KB });
        let parameters = MoveParameters {
            key: key(from),
            service_action_key: key(to),
            unregister: false,
            activate_persist,
            relative_target_port: to.target_port,
            transport_id: to.initiator.sas(),
        };
        assert_eq!(unit.move_to(from, parameters), Answer::GOOD);
        assert_eq!(unit.persists_through_power_loss(), activate_persist);
    }
}

#[test]
fn other_actions_do_not_decide_about_persistence() {
    let mut unit = Bench::registered(&[(A, KA)]);
    unit.good(A, Reserve, Some(WriteExclusive), persistent(keys(KA, 0)));
    unit.good(A, Preempt, Some(WriteExclusive), persistent(keys(KA, KA)));
    unit.good(A, Release, Some(WriteExclusive), persistent(keys(KA, 0)));
    unit.good(A, Clear, None, persistent(keys(KA, 0)));
    assert!(!unit.persists_through_power_loss());
}
