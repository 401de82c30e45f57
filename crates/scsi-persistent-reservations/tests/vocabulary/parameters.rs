use scsi_persistent_reservations::{
    BASIC_LENGTH, BasicParameters, MoveParameters, ParseError, ReservationKey, TransportId, TransportIds,
};

use crate::values::{bytes, move_bytes};

const KEY: ReservationKey = ReservationKey(0x0102_0304_0506_0708);
const NEW_KEY: ReservationKey = ReservationKey(0x1112_1314_1516_1718);

#[rustfmt::skip]
const BASIC: [u8; 24] = [
    0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, // RESERVATION KEY
    0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, // SERVICE ACTION RESERVATION KEY
    0x00, 0x00, 0x00, 0x00,                         // obsolete
    0x00,                                           // SPEC_I_PT, ALL_TG_PT, APTPL
    0x00,
    0x00, 0x00,                                     // obsolete
];

#[rustfmt::skip]
const SAS: [u8; 24] = [
    0x06,                                           // SAS
    0x00, 0x00, 0x00,
    0x50, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0a, // SAS address
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
];
const SAS_ID: TransportId<'_> = TransportId::Sas { address: [0x50, 0, 0, 0, 0, 0, 0, 0x0a] };

fn with_flags(flags: u8) -> [u8; 24] {
    let mut list = BASIC;
    list[20] = flags;
    list
}

#[test]
fn the_flags_of_a_basic_list() {
    for (flags, all_target_ports, activate_persist) in
        [(0x00, false, false), (0x01, false, true), (0x04, true, false), (0x05, true, true)]
    {
        let list = with_flags(flags);
        let value = BasicParameters { all_target_ports, activate_persist, ..BasicParameters::keys(KEY, NEW_KEY) };
        assert_eq!(BasicParameters::parse(&list), Ok(value));
        assert_eq!((value.to_bytes(), value.length()), (list, BASIC_LENGTH));
    }
}

#[test]
fn reserved_bits_of_a_basic_list_say_nothing() {
    let mut list = with_flags(0xf2);
    (list[16], list[21], list[23]) = (0xff, 0xff, 0xff);
    assert_eq!(BasicParameters::parse(&list), Ok(BasicParameters::keys(KEY, NEW_KEY)));
}

#[test]
fn bytes_behind_a_basic_list_say_nothing() {
    let list = [&BASIC[..], &[0xff; 9]].concat();
    assert_eq!(BasicParameters::parse(&list), Ok(BasicParameters::keys(KEY, NEW_KEY)));
}

#[test]
fn a_basic_list_that_ends_early_is_too_short() {
    for length in 0..BASIC_LENGTH {
        assert_eq!(BasicParameters::parse(&BASIC[..length]), Err(ParseError::TooShort));
    }
}

#[test]
fn a_list_with_initiator_ports() {
    let list = [&with_flags(0x0c)[..], &[0, 0, 0, 48], &SAS, &SAS].concat();
    let ports = [SAS, SAS].concat();
    let value = BasicParameters {
        all_target_ports: true,
        initiator_ports: Some(TransportIds::new(&ports)),
        ..BasicParameters::keys(KEY, NEW_KEY)
    };
    assert_eq!(BasicParameters::parse(&list), Ok(value));
    assert_eq!((bytes(|out| value.write(out)), value.length()), (list, 24 + 4 + 48));
    assert_eq!(value.initiator_ports.map(|p| p.iter().collect()), Some(vec![Ok(SAS_ID), Ok(SAS_ID)]));
    // The 24 bytes alone cannot have initiator ports, so they do not say that they have.
    assert_eq!(value.to_bytes(), with_flags(0x04));
}

#[test]
fn a_list_with_no_initiator_ports_in_it() {
    let list = [&with_flags(0x08)[..], &[0, 0, 0, 0]].concat();
    let value =
        BasicParameters { initiator_ports: Some(TransportIds::new(&[])), ..BasicParameters::keys(KEY, NEW_KEY) };
    assert_eq!(BasicParameters::parse(&list), Ok(value));
    assert_eq!(bytes(|out| value.write(out)), list);
}

#[test]
fn the_length_of_the_initiator_ports_has_to_be_true() {
    let list = [&with_flags(0x08)[..], &[0, 0, 0, 24], &SAS].concat();
    for length in 24..28 {
        assert_eq!(BasicParameters::parse(&list[..length]), Err(ParseError::TooShort));
    }
    for length in 28..list.len() {
        assert_eq!(BasicParameters::parse(&list[..length]), Err(ParseError::Length));
    }
    assert_eq!(BasicParameters::parse(&[&list[..], &[0]].concat()), Err(ParseError::Length));
    let huge = [&with_flags(0x08)[..], &[0xff; 4], &SAS].concat();
    assert_eq!(BasicParameters::parse(&huge), Err(ParseError::Length));
}

#[test]
fn a_bad_transport_id_ends_the_list() {
    let ids = [&SAS[..], &SAS[..23]].concat();
    let found: Vec<_> = TransportIds::new(&ids).iter().collect();
    assert_eq!(found, [Ok(SAS_ID), Err(ParseError::TooShort)]);
    assert_eq!(TransportIds::new(&ids).as_bytes(), ids);
    assert_eq!(TransportIds::new(&[]).iter().count(), 0);
}

#[rustfmt::skip]
const MOVE: [u8; 24] = [
    0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, // RESERVATION KEY
    0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, // SERVICE ACTION RESERVATION KEY
    0x00,
    0x00,                                           // UNREG, APTPL
    0x12, 0x34,                                     // RELATIVE TARGET PORT IDENTIFIER
    0x00, 0x00, 0x00, 0x18,                         // TRANSPORTID LENGTH
];

fn move_parameters(transport_id: TransportId<'_>) -> MoveParameters<'_> {
    MoveParameters {
        key: KEY,
        service_action_key: NEW_KEY,
        unregister: false,
        activate_persist: false,
        relative_target_port: 0x1234,
        transport_id,
    }
}

#[test]
fn the_list_of_register_and_move() {
    for (flags, unregister, activate_persist) in
        [(0x00, false, false), (0x01, false, true), (0x02, true, false), (0x03, true, true)]
    {
        let mut list = [MOVE, SAS].concat();
        list[17] = flags;
        let value = MoveParameters { unregister, activate_persist, ..move_parameters(SAS_ID) };
        assert_eq!(MoveParameters::parse(&list), Ok(value));
        assert_eq!((move_bytes(&value), value.length()), (list, 48));
    }
}

#[test]
fn a_move_to_a_transport_id_that_cannot_be_read_keeps_its_bytes() {
    let unknown = [0x0f; 24];
    let list = [&MOVE[..], &unknown].concat();
    let value = move_parameters(TransportId::Other(&unknown));
    assert_eq!(MoveParameters::parse(&list), Ok(value));
    assert_eq!(move_bytes(&value), list);
    // None at all.
    let mut list = MOVE;
    list[23] = 0;
    assert_eq!(MoveParameters::parse(&list), Ok(move_parameters(TransportId::Other(&[]))));
}

#[test]
fn the_length_of_the_moves_transport_id_has_to_be_true() {
    let list = [MOVE, SAS].concat();
    for length in 0..24 {
        assert_eq!(MoveParameters::parse(&list[..length]), Err(ParseError::TooShort));
    }
    for length in 24..48 {
        assert_eq!(MoveParameters::parse(&list[..length]), Err(ParseError::Length));
    }
    assert_eq!(MoveParameters::parse(&[&list[..], &[0]].concat()), Err(ParseError::Length));
}

#[test]
fn errors_say_what_is_wrong() {
    assert_eq!(ParseError::TooShort.to_string(), "the data ends inside its fields");
    assert_eq!(ParseError::Length.to_string(), "a length inside the data disagrees with the length of the data");
}
