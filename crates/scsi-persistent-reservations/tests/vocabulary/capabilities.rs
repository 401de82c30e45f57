use scsi_persistent_reservations::{Capabilities, ParseError, ReservationType};

/// Everything that a device can say.
const ALL: [u8; 8] = [
    0x00, 0x08, // LENGTH
    0x9d, // RLR_C, CRH, SIP_C, ATP_C, PTPL_C
    0xf1, // TMV, ALLOW COMMANDS 111b, PTPL_A
    0xea, // WR_EX_AR, EX_AC_RO, WR_EX_RO, EX_AC, WR_EX
    0x01, // EX_AC_AR
    0x00, 0x00,
];

const NOTHING: [u8; 8] = [0x00, 0x08, 0, 0, 0, 0, 0, 0];

#[test]
fn everything_both_ways() {
    let value = Capabilities {
        replace_lost: true,
        compatible_reservation_handling: true,
        specify_initiator_ports: true,
        all_target_ports: true,
        persist_through_power_loss: true,
        persist_through_power_loss_active: true,
        allow_commands: 7,
        types: Some(Capabilities::all_types()),
    };
    assert_eq!(Capabilities::parse(&ALL), Ok(value));
    assert_eq!(value.to_bytes(), ALL);
    assert!(ReservationType::ALL.iter().all(|kind| value.supports(*kind) == Some(true)));
}

#[test]
fn nothing_both_ways() {
    assert_eq!(Capabilities::parse(&NOTHING), Ok(Capabilities::default()));
    assert_eq!(Capabilities::default().to_bytes(), NOTHING);
    assert_eq!(Capabilities::default().supports(ReservationType::WriteExclusive), None);
}

#[test]
fn each_bit_has_its_meaning() {
    let is = |byte: usize, bits: u8, value: Capabilities| {
        let mut bytes = NOTHING;
        bytes[byte] = bits;
        assert_eq!(Capabilities::parse(&bytes), Ok(value), "byte {byte}, {bits:#04x}");
        assert_eq!(value.to_bytes(), bytes);
    };
    let none = Capabilities::default();
    is(2, 0x80, Capabilities { replace_lost: true, ..none });
    is(2, 0x10, Capabilities { compatible_reservation_handling: true, ..none });
    is(2, 0x08, Capabilities { specify_initiator_ports: true, ..none });
    is(2, 0x04, Capabilities { all_target_ports: true, ..none });
    is(2, 0x01, Capabilities { persist_through_power_loss: true, ..none });
    is(3, 0x01, Capabilities { persist_through_power_loss_active: true, ..none });
    is(3, 0x80, Capabilities { types: Some(0), ..none });
    for allow_commands in 0..8 {
        is(3, allow_commands << 4, Capabilities { allow_commands, ..none });
    }
}

#[test]
fn each_type_has_its_bit() {
    for (kind, byte4, byte5) in [
        (ReservationType::WriteExclusive, 0x02, 0x00),
        (ReservationType::ExclusiveAccess, 0x08, 0x00),
        (ReservationType::WriteExclusiveRegistrantsOnly, 0x20, 0x00),
        (ReservationType::ExclusiveAccessRegistrantsOnly, 0x40, 0x00),
        (ReservationType::WriteExclusiveAllRegistrants, 0x80, 0x00),
        (ReservationType::ExclusiveAccessAllRegistrants, 0x00, 0x01),
    ] {
        let bytes = [0x00, 0x08, 0x00, 0x80, byte4, byte5, 0x00, 0x00];
        let value = Capabilities::parse(&bytes).expect("a length");
        let supported: Vec<_> =
            ReservationType::ALL.into_iter().filter(|other| value.supports(*other) == Some(true)).collect();
        assert_eq!(supported, [kind]);
        assert_eq!(value.to_bytes(), bytes);
    }
}

#[test]
fn types_count_only_where_the_mask_is_valid() {
    let bytes = [0x00, 0x08, 0x00, 0x00, 0xea, 0x01, 0x00, 0x00];
    assert_eq!(Capabilities::parse(&bytes).map(|value| value.types), Ok(None));
}

#[test]
fn data_that_ends_early_says_less() {
    assert_eq!(Capabilities::parse(&[]), Err(ParseError::TooShort));
    assert_eq!(Capabilities::parse(&ALL[..1]), Err(ParseError::TooShort));
    for length in 2..8 {
        let mut padded = [0; 8];
        padded[..length].copy_from_slice(&ALL[..length]);
        assert_eq!(Capabilities::parse(&ALL[..length]), Capabilities::parse(&padded), "{length}");
    }
}

#[test]
fn what_lies_behind_the_length_is_left_over_in_the_buffer() {
    for length in 0..8u8 {
        let mut bytes = ALL;
        bytes[1] = length;
        let whole = Capabilities::parse(&bytes);
        assert_eq!(whole, Capabilities::parse(&bytes[..usize::from(length).max(2)]), "{length}");
    }
}
