//! What is wrong with a command before the state has a say, in the order in which it is found.

use scsi_persistent_reservations::{InAction, PersistentReserveIn, PersistentReserveOut};

use crate::bench::*;
use crate::register::specify;

fn out(service_action: u8, scope_type: u8, parameter_list_length: u32) -> [u8; 16] {
    *PersistentReserveOut { service_action, scope_type, parameter_list_length }.cdb().as_bytes()
}

#[test]
fn a_list_shorter_than_24_bytes_is_a_length_error_whatever_else_is_wrong() {
    let mut unit = Bench::new();
    for service_action in 0..32 {
        for length in [0, 1, 23] {
            assert_eq!(unit.raw(A, out(service_action, 0xff, length), &[0xff; 23][..length as usize]), LIST_LENGTH);
        }
    }
}

#[test]
fn a_list_shorter_than_the_cdb_says_is_a_length_error() {
    let mut unit = Bench::new();
    assert_eq!(unit.raw(A, out(0, 0, 24), &[0; 23]), LIST_LENGTH);
    assert_eq!(unit.raw(A, out(0, 0, 0x1_0018), &[0; 24]), LIST_LENGTH);
    assert_eq!(unit.raw(A, out(0, 0, u32::MAX), &[0; 24]), LIST_LENGTH);
}

#[test]
fn bytes_beyond_the_length_of_the_cdb_are_not_looked_at() {
    let mut unit = Bench::new();
    let mut list = keys(0, KA).to_bytes().to_vec();
    list.extend([0xff; 100]);
    assert_eq!(unit.raw(A, out(0, 0, 24), &list), Answer::GOOD);
}

#[test]
fn a_service_action_that_spc_does_not_name_is_an_invalid_field() {
    let mut unit = Bench::new();
    for service_action in 9..32 {
        assert_eq!(unit.raw(A, out(service_action, 0, 24), &[0xff; 24]), INVALID_CDB);
        assert_eq!(unit.raw(A, out(service_action, 0, 30), &[0; 30]), INVALID_CDB);
    }
    for service_action in 4..32 {
        let cdb = PersistentReserveIn { service_action, allocation_length: 24 }.cdb();
        assert_eq!(unit.raw(A, *cdb.as_bytes(), &[]), INVALID_CDB);
    }
}

#[test]
fn a_list_longer_than_24_bytes_is_a_length_error_without_initiator_ports() {
    for action in [Register, Reserve, Release, Clear, Preempt, PreemptAndAbort, RegisterAndIgnoreExistingKey] {
        let mut unit = Bench::registered(&[(A, KA)]);
        let mut list = keys(KA, KB).to_bytes().to_vec();
        list.extend([0; 4]);
        // Scope and type are wrong, too: the length comes first.
        assert_eq!(unit.raw(A, out(action.code(), 0xff, 28), &list), LIST_LENGTH, "{action}");
    }
}

#[test]
fn only_register_can_specify_initiator_ports() {
    for action in
        [Reserve, Release, Clear, Preempt, PreemptAndAbort, RegisterAndIgnoreExistingKey, ReplaceLostReservation]
    {
        let mut unit = Bench::registered(&[(A, KA)]);
        let ports = listed(&[B]);
        unit.refuses(&INVALID_LIST, A, action, Some(WriteExclusive), specify(&ports, keys(KA, KB)));
        // So too where the list itself is wrong.
        let mut list = keys(KA, KB).to_bytes();
        list[20] = 0x08; // SPEC_I_PT
        assert_eq!(unit.list(A, action, None, &list), INVALID_LIST, "{action}");
    }
}

#[test]
fn a_list_of_initiator_ports_has_the_length_it_says() {
    let mut list = [&keys(0, KA).to_bytes()[..], &[0, 0, 0, 24], &listed(&[B])].concat();
    list[20] = 0x08; // SPEC_I_PT
    for length in 24..28 {
        assert_eq!(Bench::new().list(A, Register, None, &list[..length]), LIST_LENGTH);
    }
    for length in 28..52 {
        assert_eq!(Bench::new().list(A, Register, None, &list[..length]), INVALID_LIST);
    }
    assert_eq!(Bench::new().list(A, Register, None, &list), Answer::GOOD);
    list[24..28].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(Bench::new().list(A, Register, None, &list), INVALID_LIST);
}

#[test]
fn a_scope_other_than_the_logical_unit_is_an_invalid_field_where_scope_counts() {
    for (action, counts) in [
        (Register, false),
        (Reserve, true),
        (Release, true),
        (Clear, false),
        (Preempt, true),
        (PreemptAndAbort, true),
        (RegisterAndIgnoreExistingKey, false),
    ] {
        for scope in 1..16 {
            let mut unit = Bench::reserved(WriteExclusive);
            let cdb = out(action.code(), scope << 4 | 1, 24);
            let expected = if counts { INVALID_CDB } else { Answer::GOOD };
            assert_eq!(unit.raw(A, cdb, &keys(KA, KA).to_bytes()), expected, "{action}");
        }
    }
}

#[test]
fn a_type_that_spc_does_not_name_is_an_invalid_field_where_a_reservation_is_made() {
    for (action, counts) in [
        (Register, false),
        (Reserve, true),
        (Clear, false),
        (Preempt, true),
        (PreemptAndAbort, true),
        (RegisterAndIgnoreExistingKey, false),
    ] {
        for kind in [0, 2, 4, 9, 10, 11, 12, 13, 14, 15] {
            let mut unit = Bench::registered(&[(A, KA)]);
            let expected = if counts { INVALID_CDB } else { Answer::GOOD };
            assert_eq!(unit.raw(A, out(action.code(), kind, 24), &keys(KA, KA).to_bytes()), expected, "{action}");
        }
    }
}

#[test]
fn the_fields_are_looked_at_before_the_key() {
    let mut unit = Bench::registered(&[(A, KA)]);
    assert_eq!(unit.raw(A, out(1, 0x11, 24), &keys(KB, 0).to_bytes()), INVALID_CDB);
    assert_eq!(unit.raw(A, out(4, 0x02, 24), &keys(KB, 0).to_bytes()), INVALID_CDB);
    assert_eq!(unit.raw(A, out(4, 0x01, 24), &keys(KB, 0).to_bytes()), Answer::CONFLICT);
}

#[test]
fn a_reservation_forbids_a_command_before_its_fields_are_looked_at() {
    let mut unit = Bench::reserved(WriteExclusive);
    for action in [Reserve, Release, Clear, Preempt, PreemptAndAbort, RegisterAndMove, ReplaceLostReservation] {
        assert_eq!(unit.raw(A2, out(action.code(), 0xff, 3), &[0; 3]), Answer::CONFLICT, "{action}");
    }
    assert_eq!(unit.raw(B, out(1, 0xff, 3), &[0; 3]), Answer::CONFLICT);
}

#[test]
fn a_unit_attention_is_reported_before_anything_else() {
    let mut unit = Bench::reserved(WriteExclusiveRegistrantsOnly);
    unit.good(A, Release, Some(WriteExclusiveRegistrantsOnly), keys(KA, 0));
    unit.good(A, Reserve, Some(ExclusiveAccess), keys(KA, 0));
    let told = Answer::check(scsi_persistent_reservations::SenseCode::RESERVATIONS_RELEASED);
    assert_eq!(unit.raw(B, out(1, 0xff, 3), &[0; 3]), told);
    assert_eq!(unit.raw(B, out(1, 0xff, 3), &[0; 3]), Answer::CONFLICT);
    assert_eq!(unit.raw(C, *PersistentReserveIn::new(InAction::ReadKeys, 8).cdb().as_bytes(), &[]), told);
    assert_eq!(unit.ask(C, InAction::ReadKeys, 8).len(), 8);
}
