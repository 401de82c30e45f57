use scsi_persistent_reservations::{ReservationType, SenseCode};

use crate::bench::*;

const INVALID_RELEASE: Answer = Answer::check(SenseCode::INVALID_RELEASE);

#[test]
fn to_reserve_takes_a_registration_and_its_key() {
    let mut unit = Bench::registered(&[(B, KB)]);
    unit.refuses(&Answer::CONFLICT, A, Reserve, Some(WriteExclusive), keys(0, 0));
    unit.refuses(&Answer::CONFLICT, A, Reserve, Some(WriteExclusive), keys(KB, 0));
    unit.refuses(&Answer::CONFLICT, B, Reserve, Some(WriteExclusive), keys(KA, 0));
}

#[test]
fn to_reserve_makes_the_sender_the_holder_and_does_not_count() {
    for kind in ReservationType::ALL {
        let mut unit = Bench::registered(&[(A, KA), (B, KB)]);
        // The service action reservation key means nothing here.
        unit.good(A, Reserve, Some(kind), keys(KA, 0x99));
        assert_eq!(unit.held(), Some((kind, (!kind.is_all_registrants()).then_some(A))));
        assert_eq!(unit.generation(), 2);
        assert_eq!(unit.told(), NOBODY);
    }
}

#[test]
fn to_reserve_the_same_again_is_good() {
    for kind in ReservationType::ALL {
        let mut unit = Bench::reserved(kind);
        let before = unit.0.clone();
        unit.good(A, Reserve, Some(kind), keys(KA, 0));
        assert_eq!(unit.0, before);
    }
}

#[test]
fn every_registrant_can_repeat_an_all_registrants_reservation() {
    for kind in ALL_REGISTRANTS {
        let mut unit = Bench::reserved(kind);
        unit.good(B, Reserve, Some(kind), keys(KB, 0));
        assert_eq!(unit.held(), Some((kind, None)));
    }
}

#[test]
fn the_holder_cannot_reserve_another_type() {
    for held in ReservationType::ALL {
        for wanted in ReservationType::ALL.into_iter().filter(|wanted| *wanted != held) {
            Bench::reserved(held).refuses(&Answer::CONFLICT, A, Reserve, Some(wanted), keys(KA, 0));
        }
    }
}

#[test]
fn nobody_else_can_reserve() {
    for held in HOLDER_ONLY.into_iter().chain(REGISTRANTS_ONLY) {
        for wanted in ReservationType::ALL {
            Bench::reserved(held).refuses(&Answer::CONFLICT, B, Reserve, Some(wanted), keys(KB, 0));
        }
    }
}

#[test]
fn to_release_takes_a_registration_and_its_key() {
    let mut unit = Bench::reserved(WriteExclusive);
    unit.refuses(&Answer::CONFLICT, A, Release, Some(WriteExclusive), keys(KB, 0));
    unit.refuses(&Answer::CONFLICT, A2, Release, Some(WriteExclusive), keys(0, 0));
    unit.refuses(&Answer::CONFLICT, B, Release, Some(WriteExclusive), keys(KA, 0));
    let mut unit = Bench::new();
    unit.refuses(&Answer::CONFLICT, A, Release, Some(WriteExclusive), keys(0, 0));
}

#[test]
fn to_release_what_is_not_held_is_good() {
    for kind in HOLDER_ONLY.into_iter().chain(REGISTRANTS_ONLY) {
        let mut unit = Bench::reserved(kind);
        let before = unit.0.clone();
        unit.good(B, Release, Some(kind), keys(KB, 0));
        unit.good(B, Release, Some(WriteExclusive), keys(KB, 0));
        assert_eq!(unit.0, before);
    }
    let mut unit = Bench::registered(&[(A, KA)]);
    let before = unit.0.clone();
    unit.good(A, Release, Some(WriteExclusive), keys(KA, 0));
    assert_eq!(unit.0, before);
}

#[test]
fn the_holder_has_to_name_the_type_it_releases() {
    for held in ReservationType::ALL {
        for named in ReservationType::ALL.into_iter().filter(|named| *named != held) {
            Bench::reserved(held).refuses(&INVALID_RELEASE, A, Release, Some(named), keys(KA, 0));
        }
        // Type 0 is no type at all.
        Bench::reserved(held).refuses(&INVALID_RELEASE, A, Release, None, keys(KA, 0));
    }
}

#[test]
fn the_release_keeps_registrations_and_tells_those_who_lose_access() {
    for kind in ReservationType::ALL {
        let mut unit = Bench::reserved(kind);
        unit.good(A, Release, Some(kind), keys(KA, 0));
        assert_eq!(unit.held(), None);
        assert_eq!(unit.registrants().len(), 3);
        assert_eq!(unit.generation(), 3);
        let expected = if HOLDER_ONLY.contains(&kind) { NOBODY } else { [vec![], vec![4], vec![4]] };
        assert_eq!(unit.told(), expected, "{kind}");
    }
}

#[test]
fn every_registrant_can_release_an_all_registrants_reservation() {
    for kind in ALL_REGISTRANTS {
        let mut unit = Bench::reserved(kind);
        unit.good(B, Release, Some(kind), keys(KB, 0));
        assert_eq!(unit.held(), None);
        assert_eq!(unit.told(), [vec![4], vec![], vec![4]]);
    }
}

#[test]
fn to_clear_takes_a_registration_and_its_key() {
    let mut unit = Bench::registered(&[(A, KA)]);
    unit.refuses(&Answer::CONFLICT, A, Clear, None, keys(KB, 0));
    unit.refuses(&Answer::CONFLICT, B, Clear, None, keys(0, 0));
}

#[test]
fn any_registrant_clears_everything_and_the_others_are_told() {
    for kind in ReservationType::ALL {
        let mut unit = Bench::reserved(kind);
        unit.good(B, Clear, None, keys(KB, 0x99));
        assert_eq!((unit.registrants(), unit.held()), (vec![], None));
        assert_eq!(unit.generation(), 4);
        assert_eq!(unit.told(), [vec![3], vec![], vec![3]]);
    }
}

#[test]
fn there_is_no_lost_reservation_to_replace() {
    let mut unit = Bench::new();
    unit.refuses(&INVALID_CDB, A, ReplaceLostReservation, Some(WriteExclusive), keys(0, KA));
    let mut unit = Bench::reserved(WriteExclusive);
    for nexus in [A, B] {
        unit.refuses(&INVALID_CDB, nexus, ReplaceLostReservation, Some(WriteExclusive), keys(0, KA));
    }
    unit.refuses(&Answer::CONFLICT, A2, ReplaceLostReservation, Some(WriteExclusive), keys(0, KA));
}
