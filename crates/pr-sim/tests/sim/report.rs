use scsi_persistent_reservations::{BasicParameters, InAction, ReservationType};

use crate::bench::*;

#[test]
fn an_untouched_unit_has_no_keys_and_no_reservation() {
    let mut unit = Bench::new();
    for action in [InAction::ReadKeys, InAction::ReadReservation, InAction::ReadFullStatus] {
        assert_eq!(unit.ask(A, action, 0xffff), [0; 8], "{action}");
    }
}

#[test]
fn read_keys_has_every_registration() {
    let mut unit = Bench::registered(&[(A, KA), (B, KA)]);
    #[rustfmt::skip]
    assert_eq!(
        unit.ask(C, InAction::ReadKeys, 0xffff),
        [
            0, 0, 0, 2,                // PRGENERATION
            0, 0, 0, 16,               // ADDITIONAL LENGTH
            0, 0, 0, 0, 0, 0, 0, 0x0a, // first key
            0, 0, 0, 0, 0, 0, 0, 0x0a, // the same, of the other nexus
        ]
    );
}

#[test]
fn read_reservation_has_the_holders_key_unless_all_registrants_hold_it() {
    for kind in ReservationType::ALL {
        let mut unit = Bench::reserved(kind);
        let key = if kind.is_all_registrants() { 0 } else { 0x0a };
        #[rustfmt::skip]
        assert_eq!(
            unit.ask(A2, InAction::ReadReservation, 0xffff),
            [
                0, 0, 0, 3,               // PRGENERATION
                0, 0, 0, 16,              // ADDITIONAL LENGTH
                0, 0, 0, 0, 0, 0, 0, key, // RESERVATION KEY
                0, 0, 0, 0,               // obsolete
                0,                        // reserved
                kind.code(),              // SCOPE and TYPE
                0, 0,                     // obsolete
            ]
        );
    }
}

#[test]
fn read_full_status_has_nexus_and_holder() {
    let mut unit = Bench::registered(&[(B, KB)]);
    unit.good(A2, Register, None, keys(0, KA));
    unit.good(A2, Reserve, Some(ExclusiveAccessRegistrantsOnly), keys(KA, 0));
    #[rustfmt::skip]
    assert_eq!(
        unit.ask(C, InAction::ReadFullStatus, 0xffff),
        [
            0, 0, 0, 2,                      // PRGENERATION
            0, 0, 0, 96,                     // ADDITIONAL LENGTH

            0, 0, 0, 0, 0, 0, 0, 0x0a,       // RESERVATION KEY
            0, 0, 0, 0,                      // reserved
            0x01,                            // R_HOLDER
            0x06,                            // SCOPE and TYPE
            0, 0, 0, 0,                      // reserved
            0, 2,                            // RELATIVE TARGET PORT IDENTIFIER
            0, 0, 0, 24,                     // length of the TransportID
            0x06, 0, 0, 0,                   // SAS
            0x50, 0, 0, 0, 0, 0, 0, 0x0a,    // SAS address
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,

            0, 0, 0, 0, 0, 0, 0, 0x0b,
            0, 0, 0, 0,
            0x00,                            // no holder, so scope and type say nothing
            0x00,
            0, 0, 0, 0,
            0, 1,
            0, 0, 0, 24,
            0x06, 0, 0, 0,
            0x50, 0, 0, 0, 0, 0, 0, 0x0b,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ]
    );
}

#[test]
fn read_full_status_says_which_registrations_are_on_all_target_ports() {
    let mut unit = Bench::new();
    unit.good(A, Register, None, BasicParameters { all_target_ports: true, ..keys(0, KA) });
    unit.good(A, Reserve, Some(WriteExclusiveAllRegistrants), keys(KA, 0));
    let data = unit.ask(A, InAction::ReadFullStatus, 0xffff);
    // ALL_TG_PT and R_HOLDER, type 7: of both.
    assert_eq!([&data[8 + 12..8 + 14], &data[56 + 12..56 + 14]], [[0x03, 0x07], [0x03, 0x07]]);
}

#[test]
fn the_capabilities_say_whether_registrations_persist() {
    let mut unit = Bench::new();
    #[rustfmt::skip]
    assert_eq!(
        unit.ask(A, InAction::ReportCapabilities, 0xffff),
        [
            0, 8, // LENGTH
            0x1d, // CRH, SIP_C, ATP_C, PTPL_C; not RLR_C
            0x90, // TMV, ALLOW COMMANDS 001b; PTPL_A not set
            0xea, // types 7, 6, 5, 3, 1
            0x01, // type 8
            0, 0,
        ]
    );
    unit.good(A, Register, None, BasicParameters { activate_persist: true, ..keys(0, KA) });
    assert_eq!(unit.ask(A, InAction::ReportCapabilities, 4), [0, 8, 0x1d, 0x91]);
}

#[test]
fn data_is_cut_at_the_allocation_length_and_says_its_whole_length() {
    let mut unit = Bench::reserved(WriteExclusive);
    for action in InAction::ALL {
        let whole = unit.ask(A, *action, 0xffff);
        for length in 0..=whole.len() {
            let cut = unit.ask(A, *action, u16::try_from(length).expect("a short answer"));
            assert_eq!(cut, whole[..length], "{action}");
        }
    }
}

#[test]
fn a_buffer_shorter_than_the_allocation_length_is_no_trouble() {
    let mut unit = Bench::reserved(WriteExclusive);
    for action in InAction::ALL {
        let cdb = scsi_persistent_reservations::PersistentReserveIn::new(*action, 0xffff).cdb();
        let mut buffer = [0xee; 5];
        assert_eq!(unit.execute(A, &cdb, &[], &mut buffer).data.len(), 5);
        assert_eq!(unit.execute(A, &cdb, &[], &mut []).data, []);
    }
}
