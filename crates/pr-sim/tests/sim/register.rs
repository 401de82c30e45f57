use scsi_persistent_reservations::{BasicParameters, TransportIds};

use crate::bench::*;

const BOTH: [scsi_persistent_reservations::OutAction; 2] = [Register, RegisterAndIgnoreExistingKey];

#[test]
fn an_unregistered_nexus_registers_with_reservation_key_zero() {
    for action in BOTH {
        let mut unit = Bench::new();
        unit.good(A, action, None, keys(0, KA));
        assert_eq!(unit.registrants(), [(A, KA)]);
        assert_eq!(unit.generation(), 1);
    }
}

#[test]
fn an_unregistered_nexus_that_claims_a_key_conflicts() {
    let mut unit = Bench::registered(&[(B, KB)]);
    unit.refuses(&Answer::CONFLICT, A, Register, None, keys(KB, KA));
    unit.refuses(&Answer::CONFLICT, A, Register, None, keys(KA, 0));
}

#[test]
fn registering_nothing_while_unregistered_is_good_and_only_counts() {
    for action in BOTH {
        let mut unit = Bench::new();
        unit.good(A, action, None, keys(0, 0));
        assert_eq!(unit.registrants(), []);
        assert_eq!(unit.generation(), 1);
        unit.good(A, action, None, BasicParameters { activate_persist: true, ..keys(0, 0) });
        assert!(!unit.persists_through_power_loss());
    }
}

#[test]
fn a_registrant_with_a_wrong_key_conflicts() {
    let mut unit = Bench::registered(&[(A, KA)]);
    unit.refuses(&Answer::CONFLICT, A, Register, None, keys(0, KB));
    unit.refuses(&Answer::CONFLICT, A, Register, None, keys(KB, KB));
    unit.refuses(&Answer::CONFLICT, A, Register, None, keys(KB, 0));
}

#[test]
fn ignoring_the_existing_key_never_looks_at_it() {
    let mut unit = Bench::registered(&[(A, KA)]);
    unit.good(A, RegisterAndIgnoreExistingKey, None, keys(0xbad, KB));
    assert_eq!(unit.registrants(), [(A, KB)]);
    unit.good(A, RegisterAndIgnoreExistingKey, None, keys(0xbad, 0));
    assert_eq!(unit.registrants(), []);
    unit.good(B, RegisterAndIgnoreExistingKey, None, keys(0xbad, KB));
    assert_eq!(unit.registrants(), [(B, KB)]);
}

#[test]
fn a_holder_that_changes_its_key_keeps_the_reservation() {
    for action in BOTH {
        let mut unit = Bench::reserved(WriteExclusive);
        unit.good(A, action, None, keys(KA, 0x77));
        assert_eq!(unit.registrants(), [(A, 0x77), (B, KB), (C, KC)]);
        assert_eq!(unit.held(), Some((WriteExclusive, Some(A))));
        assert_eq!(unit.told(), NOBODY);
    }
}

#[test]
fn two_nexuses_may_have_one_key() {
    let unit = Bench::registered(&[(A, KA), (B, KA)]);
    assert_eq!(unit.registrants(), [(A, KA), (B, KA)]);
}

#[test]
fn unregistering_the_holder_releases_a_holder_only_reservation_in_silence() {
    for (kind, action) in HOLDER_ONLY.into_iter().zip(BOTH) {
        let mut unit = Bench::reserved(kind);
        unit.good(A, action, None, keys(KA, 0));
        assert_eq!(unit.registrants(), [(B, KB), (C, KC)]);
        assert_eq!(unit.held(), None);
        assert_eq!(unit.told(), NOBODY);
    }
}

#[test]
fn unregistering_the_holder_of_a_registrants_only_reservation_tells_the_other_registrants() {
    for kind in REGISTRANTS_ONLY {
        let mut unit = Bench::reserved(kind);
        unit.good(C, Register, None, keys(KC, 0));
        unit.good(A, Register, None, keys(KA, 0));
        assert_eq!(unit.held(), None);
        assert_eq!(unit.told(), [vec![], vec![4], vec![]]);
    }
}

#[test]
fn unregistering_another_than_the_holder_leaves_the_reservation() {
    for kind in HOLDER_ONLY.into_iter().chain(REGISTRANTS_ONLY) {
        let mut unit = Bench::reserved(kind);
        unit.good(B, Register, None, keys(KB, 0));
        assert_eq!(unit.held(), Some((kind, Some(A))));
        assert_eq!(unit.told(), NOBODY);
    }
}

#[test]
fn an_all_registrants_reservation_lasts_until_the_last_registrant_leaves() {
    for kind in ALL_REGISTRANTS {
        let mut unit = Bench::reserved(kind);
        unit.good(A, Register, None, keys(KA, 0));
        unit.good(C, Register, None, keys(KC, 0));
        assert_eq!(unit.held(), Some((kind, None)));
        unit.good(B, RegisterAndIgnoreExistingKey, None, keys(0, 0));
        assert_eq!(unit.held(), None);
        assert_eq!(unit.told(), NOBODY);
    }
}

#[test]
fn specified_initiator_ports_are_registered_with_the_sender() {
    let mut unit = Bench::new();
    let ports = listed(&[B, C]);
    unit.good(A, Register, None, specify(&ports, keys(0, KA)));
    assert_eq!(unit.registrants(), [(A, KA), (B, KA), (C, KA)]);
    assert_eq!(unit.generation(), 1);
}

#[test]
fn specified_initiator_ports_that_are_registered_keep_their_keys() {
    let mut unit = Bench::registered(&[(B, KB)]);
    let ports = listed(&[B, C, C, A]);
    unit.good(A, Register, None, specify(&ports, keys(0, KA)));
    assert_eq!(unit.registrants(), [(A, KA), (B, KB), (C, KA)]);
}

#[test]
fn an_empty_list_of_initiator_ports_registers_the_sender() {
    let mut unit = Bench::new();
    unit.good(A, Register, None, specify(&[], keys(0, KA)));
    assert_eq!(unit.registrants(), [(A, KA)]);
}

#[test]
fn one_bad_transport_id_keeps_all_from_registering() {
    let mut unit = Bench::new();
    let mut ports = listed(&[B]);
    // TransportID of a protocol that no standard names.
    ports.extend([0x0f; 24]);
    unit.refuses(&INVALID_LIST, A, Register, None, specify(&ports, keys(0, KA)));
    // One that is cut off.
    let ports = listed(&[B, C]);
    unit.refuses(&INVALID_LIST, A, Register, None, specify(&ports[..47], keys(0, KA)));
}

#[test]
fn a_registrant_cannot_specify_initiator_ports() {
    let mut unit = Bench::registered(&[(A, KA)]);
    let ports = listed(&[B]);
    unit.refuses(&INVALID_LIST, A, Register, None, specify(&ports, keys(KA, KB)));
    unit.refuses(&INVALID_LIST, A, Register, None, specify(&ports, keys(KA, 0)));
    unit.refuses(&Answer::CONFLICT, A, Register, None, specify(&ports, keys(KB, KB)));
}

#[test]
fn registrations_beyond_the_room_for_them_are_refused() {
    let mut unit = Bench::with(pr_sim::LogicalUnit::new(1).with_max_registrations(2));
    unit.good(A, Register, None, keys(0, KA));
    let ports = listed(&[C]);
    unit.refuses(&NO_ROOM, B, Register, None, specify(&ports, keys(0, KB)));
    unit.good(B, Register, None, keys(0, KB));
    unit.refuses(&NO_ROOM, C, RegisterAndIgnoreExistingKey, None, keys(0, KC));
    // A list that makes no sense is refused for that.
    let ports = [listed(&[C]), vec![0x0f; 24]].concat();
    unit.refuses(&INVALID_LIST, C, Register, None, specify(&ports, keys(0, KC)));
    // To change a key or to leave takes no room.
    unit.good(B, Register, None, keys(KB, KC));
    unit.good(B, Register, None, keys(KC, 0));
    unit.good(C, Register, None, keys(0, KC));
}

pub fn specify<'list>(ports: &'list [u8], parameters: BasicParameters<'list>) -> BasicParameters<'list> {
    BasicParameters { initiator_ports: Some(TransportIds::new(ports)), ..parameters }
}
