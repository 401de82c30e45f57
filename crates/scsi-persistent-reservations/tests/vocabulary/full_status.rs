use scsi_persistent_reservations::{
    FullStatus, FullStatusDescriptor, ParseError, Reservation, ReservationKey, ReservationType, TransportId,
};

use crate::values::status_bytes;

#[rustfmt::skip]
const STATUS: [u8; 108] = [
    0x00, 0x00, 0x00, 0x02,                         // PRGENERATION
    0x00, 0x00, 0x00, 0x64,                         // ADDITIONAL LENGTH

    0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, // RESERVATION KEY
    0x00, 0x00, 0x00, 0x00,
    0x01,                                           // R_HOLDER
    0x06,                                           // SCOPE and TYPE
    0x00, 0x00, 0x00, 0x00,
    0x12, 0x34,                                     // RELATIVE TARGET PORT IDENTIFIER
    0x00, 0x00, 0x00, 0x18,                         // ADDITIONAL DESCRIPTOR LENGTH
    0x06, 0x00, 0x00, 0x00,                         // SAS
    0x50, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0a,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,

    0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, // RESERVATION KEY
    0x00, 0x00, 0x00, 0x00,
    0x02,                                           // ALL_TG_PT
    0x00,
    0x00, 0x00, 0x00, 0x00,
    0x00, 0x00,                                     // RELATIVE TARGET PORT IDENTIFIER
    0x00, 0x00, 0x00, 0x1c,                         // ADDITIONAL DESCRIPTOR LENGTH
    0x05, 0x00, 0x00, 0x18,                         // iSCSI, 24 bytes of name
    b'i', b'q', b'n', b'.', b'2', b'0', b'2', b'6', b'-', b'0', b'1', b'.',
    b'e', b'x', b'a', b'm', b'p', b'l', b'e', b':', b'a', 0x00, 0x00, 0x00,
];

const HOLDER: FullStatusDescriptor<'_> = FullStatusDescriptor {
    key: ReservationKey(0x0102_0304_0506_0708),
    all_target_ports: false,
    holds: Some(0x06),
    relative_target_port: 0x1234,
    transport_id: TransportId::Sas { address: [0x50, 0, 0, 0, 0, 0, 0, 0x0a] },
};

const REGISTRANT: FullStatusDescriptor<'_> = FullStatusDescriptor {
    key: ReservationKey(0x1112_1314_1516_1718),
    all_target_ports: true,
    holds: None,
    relative_target_port: 0,
    transport_id: TransportId::Iscsi { name: b"iqn.2026-01.example:a", session: None },
};

#[test]
fn read_full_status_both_ways() {
    let read = FullStatus::parse(&STATUS).expect("a header");
    assert_eq!((read.generation, read.additional_length, read.is_truncated()), (2, 100, false));
    assert_eq!(read.descriptors().collect::<Vec<_>>(), [HOLDER, REGISTRANT]);
    assert_eq!(status_bytes(2, &[HOLDER, REGISTRANT]), STATUS);
}

#[test]
fn only_a_holder_has_a_reservation() {
    let reservation = Reservation::new(HOLDER.key, ReservationType::ExclusiveAccessRegistrantsOnly);
    assert_eq!([HOLDER, REGISTRANT].map(|d| d.reservation()), [Some(reservation), None]);
    // Scope and type of others are noise.
    let mut data = STATUS;
    data[8 + 48 + 13] = 0x06;
    let read = FullStatus::parse(&data).expect("a header");
    assert_eq!(read.descriptors().nth(1), Some(REGISTRANT));
}

#[test]
fn read_full_status_without_registrations() {
    let read = FullStatus::parse(&[0; 8]).expect("a header");
    assert_eq!((read.descriptors().count(), read.is_truncated()), (0, false));
    assert_eq!(status_bytes(0, &[]), [0; 8]);
}

#[test]
fn descriptors_that_are_cut_off_are_not_invented() {
    for length in 0..8 {
        assert_eq!(FullStatus::parse(&STATUS[..length]), Err(ParseError::TooShort));
    }
    for length in 8..STATUS.len() {
        let read = FullStatus::parse(&STATUS[..length]).expect("a header");
        let expected: &[_] = if length < 8 + 48 { &[] } else { &[HOLDER] };
        assert_eq!(read.descriptors().collect::<Vec<_>>(), expected, "{length}");
        assert!(read.is_truncated());
    }
}

#[test]
fn bytes_behind_the_descriptors_are_no_descriptors() {
    let data = [&STATUS[..], &STATUS[8..]].concat();
    let read = FullStatus::parse(&data).expect("a header");
    assert_eq!(read.descriptors().collect::<Vec<_>>(), [HOLDER, REGISTRANT]);
    assert!(!read.is_truncated());
}

#[test]
fn a_descriptor_that_is_longer_than_the_data_ends_the_list() {
    for length in [[0x00, 0x00, 0x00, 0x1d], [0x00, 0x01, 0x00, 0x18], [0xff, 0xff, 0xff, 0xff]] {
        let mut data = STATUS;
        data[8 + 48 + 20..8 + 48 + 24].copy_from_slice(&length);
        let read = FullStatus::parse(&data).expect("a header");
        assert_eq!(read.descriptors().collect::<Vec<_>>(), [HOLDER], "{length:?}");
    }
}

#[test]
fn a_transport_id_that_cannot_be_read_is_told_raw() {
    let mut data = STATUS;
    data[8 + 24] = 0x0f;
    let read = FullStatus::parse(&data).expect("a header");
    let first = read.descriptors().next().expect("a descriptor");
    assert_eq!(first.transport_id, TransportId::Other(&data[32..56]));
    assert_eq!(read.descriptors().nth(1), Some(REGISTRANT));
}

#[test]
fn a_descriptor_without_a_transport_id_is_one_all_the_same() {
    let bare = FullStatusDescriptor { transport_id: TransportId::Other(&[]), ..HOLDER };
    let data = status_bytes(2, &[bare, HOLDER]);
    let read = FullStatus::parse(&data).expect("a header");
    assert_eq!(read.descriptors().collect::<Vec<_>>(), [bare, HOLDER]);
}
