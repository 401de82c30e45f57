use scsi_persistent_reservations::{ReservationKey, ReservationType, Scope};

/// Code, whether all registrants hold it, whether registrants have access, whether strangers may not even read.
const TYPES: [(u8, [bool; 3], &str); 6] = [
    (1, [false, false, false], "Write Exclusive"),
    (3, [false, false, true], "Exclusive Access"),
    (5, [false, true, false], "Write Exclusive, registrants only"),
    (6, [false, true, true], "Exclusive Access, registrants only"),
    (7, [true, true, false], "Write Exclusive, all registrants"),
    (8, [true, true, true], "Exclusive Access, all registrants"),
];

#[test]
fn the_six_types() {
    assert_eq!(TYPES.map(|row| ReservationType::from_code(row.0)), ReservationType::ALL.map(Some));
    for (kind, (code, says, name)) in ReservationType::ALL.into_iter().zip(TYPES) {
        assert_eq!(kind.code(), code);
        assert_eq!([kind.is_all_registrants(), kind.admits_registrants(), kind.excludes_readers()], says, "{name}");
        assert_eq!(kind.to_string(), name);
    }
}

#[test]
fn types_have_a_name_of_one_word_for_command_lines_and_logs() {
    let names = [
        "write-exclusive",
        "exclusive-access",
        "write-exclusive-registrants-only",
        "exclusive-access-registrants-only",
        "write-exclusive-all-registrants",
        "exclusive-access-all-registrants",
    ];
    assert_eq!(ReservationType::ALL.map(ReservationType::name), names);
}

#[test]
fn obsolete_and_reserved_types_are_none() {
    for code in [0, 2, 4, 9, 10, 11, 12, 13, 14, 15] {
        assert_eq!(ReservationType::from_code(code), None);
        assert_eq!(ReservationType::from_scope_type(0xf0 | code), None);
    }
    assert_eq!(ReservationType::from_code(0x11), None);
}

#[test]
fn scope_and_type_share_a_byte() {
    assert_eq!(ReservationType::from_scope_type(0x21), Some(ReservationType::WriteExclusive));
    assert_eq!(Scope::from_scope_type(0x21).code(), 2);
    assert!(!Scope::from_scope_type(0x21).is_logical_unit());
    assert_eq!(Scope::from_scope_type(0x0f), Scope::LOGICAL_UNIT);
    assert_eq!(Scope::from_scope_type(0x08).to_string(), "logical unit");
    assert_eq!(Scope::from_scope_type(0x10).to_string(), "obsolete scope 0x1");
}

#[test]
fn keys_are_big_endian_numbers() {
    let key = ReservationKey::from_bytes([0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
    assert_eq!(key, ReservationKey(0x0123_4567_89ab_cdef));
    assert_eq!(key.to_bytes(), [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
    assert_eq!(key.to_string(), "0x123456789abcdef");
    assert!(ReservationKey::ZERO.is_zero() && !key.is_zero());
}
