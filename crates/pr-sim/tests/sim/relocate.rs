use scsi_persistent_reservations::{MoveParameters, ReservationKey, TransportId};

use crate::bench::*;

fn to(nexus: pr_sim::Nexus, key: u64, service_action_key: u64) -> MoveParameters<'static> {
    MoveParameters {
        key: ReservationKey(key),
        service_action_key: ReservationKey(service_action_key),
        unregister: false,
        activate_persist: false,
        relative_target_port: nexus.target_port,
        transport_id: nexus.initiator.sas(),
    }
}

#[track_caller]
fn refuses(unit: &mut Bench, answer: &Answer, nexus: pr_sim::Nexus, parameters: MoveParameters<'_>) {
    let before = unit.0.clone();
    assert_eq!(unit.move_to(nexus, parameters), *answer);
    assert_eq!(unit.0, before, "a command that fails changes nothing");
}

#[test]
fn an_unregistered_nexus_conflicts_with_a_reservation_and_has_none_to_move_without() {
    refuses(&mut Bench::new(), &INVALID_CDB, A, to(B, 0, KB));
    refuses(&mut Bench::registered(&[(B, KB)]), &INVALID_CDB, A, to(B, KA, KB));
    refuses(&mut Bench::reserved(WriteExclusive), &Answer::CONFLICT, A2, to(B, 0, KB));
}

#[test]
fn a_wrong_key_conflicts() {
    refuses(&mut Bench::registered(&[(A, KA)]), &Answer::CONFLICT, A, to(B, KB, KB));
    refuses(&mut Bench::reserved(WriteExclusive), &Answer::CONFLICT, A, to(B, KB, KB));
}

#[test]
fn a_registrant_has_nothing_to_move_without_a_reservation() {
    refuses(&mut Bench::registered(&[(A, KA)]), &INVALID_CDB, A, to(B, KA, KB));
}

#[test]
fn only_the_one_holder_can_move_the_reservation() {
    for kind in HOLDER_ONLY.into_iter().chain(REGISTRANTS_ONLY) {
        refuses(&mut Bench::reserved(kind), &Answer::CONFLICT, B, to(C, KB, KC));
    }
    for kind in ALL_REGISTRANTS {
        refuses(&mut Bench::reserved(kind), &Answer::CONFLICT, A, to(B, KA, KB));
    }
}

#[test]
fn the_destination_has_to_be_another_nexus_that_can_be_there() {
    let mut unit = Bench::reserved(WriteExclusive);
    refuses(&mut unit, &INVALID_LIST, A, to(B, KA, 0));
    refuses(&mut unit, &INVALID_LIST, A, to(A, KA, KB));
    for relative_target_port in [0, 3] {
        refuses(&mut unit, &INVALID_LIST, A, MoveParameters { relative_target_port, ..to(B, KA, KB) });
    }
    // Too short, of an unknown protocol, longer than its protocol has it.
    for bytes in [&[][..], &[0x06; 8], &[0x0f; 24], &[0x06; 28]] {
        refuses(
            &mut unit,
            &INVALID_LIST,
            A,
            MoveParameters { transport_id: TransportId::Other(bytes), ..to(B, KA, KB) },
        );
    }
}

#[test]
fn a_transport_id_length_that_disagrees_with_the_list_is_an_invalid_field() {
    let mut unit = Bench::reserved(WriteExclusive);
    let list: Vec<u8> = [
        &KA.to_be_bytes()[..], // RESERVATION KEY
        &KB.to_be_bytes(),     // SERVICE ACTION RESERVATION KEY
        &[0, 0, 0, 1],         // reserved, UNREG and APTPL, RELATIVE TARGET PORT IDENTIFIER
        &[0, 0, 0, 28],        // TRANSPORTID LENGTH: it is 24
        &listed(&[B]),
    ]
    .concat();
    assert_eq!(unit.list(A, RegisterAndMove, None, &list), INVALID_LIST);
    assert_eq!(unit.list(A, RegisterAndMove, None, &list[..24]), INVALID_LIST);
    assert_eq!(unit.list(A, RegisterAndMove, None, &list[..23]), LIST_LENGTH);
}

#[test]
fn an_unregistered_destination_is_registered_and_holds_the_reservation_of_the_same_type() {
    for kind in HOLDER_ONLY.into_iter().chain(REGISTRANTS_ONLY) {
        let mut unit = Bench::registered(&[(A, KA), (C, KC)]);
        unit.good(A, Reserve, Some(kind), keys(KA, 0));
        assert_eq!(unit.move_to(A, to(B, KA, KB)), Answer::GOOD);
        assert_eq!(unit.registrants(), [(A, KA), (B, KB), (C, KC)]);
        assert_eq!(unit.held(), Some((kind, Some(B))));
        assert_eq!(unit.generation(), 3);
        assert_eq!(unit.told(), NOBODY);
    }
}

#[test]
fn a_registered_destination_gets_the_new_key() {
    let mut unit = Bench::reserved(WriteExclusive);
    assert_eq!(unit.move_to(A, to(B, KA, 0x77)), Answer::GOOD);
    assert_eq!(unit.registrants(), [(A, KA), (B, 0x77), (C, KC)]);
    assert_eq!(unit.held(), Some((WriteExclusive, Some(B))));
}

#[test]
fn a_registered_destination_stays_registered_on_all_target_ports() {
    let mut unit = Bench::registered(&[(A, KA)]);
    let everywhere = scsi_persistent_reservations::BasicParameters { all_target_ports: true, ..keys(0, KB) };
    unit.good(B, Register, None, everywhere);
    unit.good(A, Reserve, Some(WriteExclusive), keys(KA, 0));
    assert_eq!(unit.move_to(A, to(B, KA, 0x77)), Answer::GOOD);
    let all: Vec<_> = unit.registrations().map(|(nexus, r)| (nexus, r.all_target_ports)).collect();
    assert_eq!(all[..2], [(A, false), (B, true)]);
}

#[test]
fn the_sender_that_asks_for_it_is_unregistered() {
    let mut unit = Bench::reserved(WriteExclusiveRegistrantsOnly);
    assert_eq!(unit.move_to(A, MoveParameters { unregister: true, ..to(B, KA, KB) }), Answer::GOOD);
    assert_eq!(unit.registrants(), [(B, KB), (C, KC)]);
    assert_eq!(unit.held(), Some((WriteExclusiveRegistrantsOnly, Some(B))));
    assert_eq!(unit.told(), NOBODY);
}

#[test]
fn the_reservation_can_move_to_another_target_port_of_the_same_initiator() {
    let mut unit = Bench::reserved(WriteExclusive);
    assert_eq!(unit.move_to(A, to(A2, KA, KA)), Answer::GOOD);
    assert_eq!(unit.held(), Some((WriteExclusive, Some(A2))));
}

#[test]
fn a_move_wants_room_for_its_destination_unless_the_sender_makes_it() {
    let mut unit = Bench::with(pr_sim::LogicalUnit::new(1).with_max_registrations(1));
    unit.good(A, Register, None, keys(0, KA));
    unit.good(A, Reserve, Some(WriteExclusive), keys(KA, 0));
    refuses(&mut unit, &NO_ROOM, A, to(B, KA, KB));
    assert_eq!(unit.move_to(A, MoveParameters { unregister: true, ..to(B, KA, KB) }), Answer::GOOD);
    assert_eq!(unit.registrants(), [(B, KB)]);
}
