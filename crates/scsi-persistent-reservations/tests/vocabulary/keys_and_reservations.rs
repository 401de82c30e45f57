use scsi_persistent_reservations::{
    DataIn, ParseError, ReadKeys, ReadReservation, Reservation, ReservationKey, ReservationType,
};

use crate::values::{keys_bytes, reservation_bytes};

#[rustfmt::skip]
const KEYS: [u8; 24] = [
    0x00, 0x00, 0x00, 0x07, // PRGENERATION
    0x00, 0x00, 0x00, 0x10, // ADDITIONAL LENGTH
    0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
    0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18,
];
const KEY: ReservationKey = ReservationKey(0x0102_0304_0506_0708);
const OTHER_KEY: ReservationKey = ReservationKey(0x1112_1314_1516_1718);

#[rustfmt::skip]
const RESERVED: [u8; 24] = [
    0xff, 0xff, 0xff, 0xff,                         // PRGENERATION
    0x00, 0x00, 0x00, 0x10,                         // ADDITIONAL LENGTH
    0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, // RESERVATION KEY
    0x00, 0x00, 0x00, 0x00,                         // obsolete
    0x00,
    0x05,                                           // SCOPE and TYPE
    0x00, 0x00,                                     // obsolete
];

#[test]
fn read_keys_both_ways() {
    let read = ReadKeys::parse(&KEYS).expect("a header");
    assert_eq!((read.generation, read.additional_length, read.is_truncated()), (7, 16, false));
    assert_eq!(read.keys().collect::<Vec<_>>(), [KEY, OTHER_KEY]);
    assert_eq!(read.keys().len(), 2);
    assert_eq!(keys_bytes(7, &[KEY, OTHER_KEY]), KEYS);
}

#[test]
fn read_keys_without_keys() {
    let read = ReadKeys::parse(&[0; 8]).expect("a header");
    assert_eq!((read.generation, read.keys().len(), read.is_truncated()), (0, 0, false));
    assert_eq!(keys_bytes(0, &[]), [0; 8]);
}

#[test]
fn read_keys_that_are_cut_off_are_not_invented() {
    for length in 0..8 {
        assert_eq!(ReadKeys::parse(&KEYS[..length]), Err(ParseError::TooShort));
    }
    for length in 8..24 {
        let read = ReadKeys::parse(&KEYS[..length]).expect("a header");
        let expected: &[ReservationKey] = if length < 16 { &[] } else { &[KEY] };
        assert_eq!(read.keys().collect::<Vec<_>>(), expected);
        assert!(read.is_truncated());
        assert_eq!(read.additional_length, 16);
    }
}

#[test]
fn bytes_behind_the_keys_are_no_keys() {
    let read = [&KEYS[..], &[0xee; 16]].concat();
    let read = ReadKeys::parse(&read).expect("a header");
    assert_eq!((read.keys().len(), read.is_truncated()), (2, false));
}

#[test]
fn a_length_beyond_all_memory_is_no_trouble() {
    let mut data = KEYS;
    data[4..8].copy_from_slice(&[0xff; 4]);
    let read = ReadKeys::parse(&data).expect("a header");
    assert_eq!((read.keys().len(), read.is_truncated()), (2, true));
}

#[test]
fn read_reservation_both_ways() {
    let reservation = Reservation::new(KEY, ReservationType::WriteExclusiveRegistrantsOnly);
    let value = ReadReservation { generation: u32::MAX, additional_length: 16, reservation: Some(reservation) };
    assert_eq!(ReadReservation::parse(&RESERVED), Ok(value));
    assert_eq!(reservation_bytes(u32::MAX, Some(reservation)), RESERVED);
    assert_eq!(reservation.reservation_type(), Some(ReservationType::WriteExclusiveRegistrantsOnly));
    assert!(reservation.scope().is_logical_unit());
}

#[test]
fn read_reservation_without_a_reservation() {
    let value = ReadReservation { generation: 3, additional_length: 0, reservation: None };
    assert_eq!(ReadReservation::parse(&[0, 0, 0, 3, 0, 0, 0, 0]), Ok(value));
    assert_eq!(reservation_bytes(3, None), [0, 0, 0, 3, 0, 0, 0, 0]);
    // What lies behind is left over in the buffer, not a reservation.
    assert_eq!(ReadReservation::parse(&[&[0, 0, 0, 3, 0, 0, 0, 0][..], &RESERVED[8..]].concat()), Ok(value));
}

#[test]
fn a_reservation_that_is_cut_off_is_not_there() {
    for length in 0..8 {
        assert_eq!(ReadReservation::parse(&RESERVED[..length]), Err(ParseError::TooShort));
    }
    for length in 8..22 {
        let read = ReadReservation::parse(&RESERVED[..length]).expect("a header");
        assert_eq!((read.additional_length, read.reservation), (16, None));
    }
    // Scope and type are the last that matters.
    assert!(ReadReservation::parse(&RESERVED[..22]).expect("a header").reservation.is_some());
}

#[test]
fn a_reservation_of_an_obsolete_scope_or_type_is_told_as_it_came() {
    let mut data = RESERVED;
    data[21] = 0x24;
    let reservation = ReadReservation::parse(&data).expect("a header").reservation.expect("a reservation");
    assert_eq!((reservation.scope().code(), reservation.reservation_type()), (2, None));
    assert_eq!(reservation_bytes(u32::MAX, Some(reservation)), data);
}

#[test]
fn what_does_not_fit_is_counted_and_dropped() {
    let mut buffer = [0xee; 4];
    let mut out = DataIn::new(&mut buffer[..3]);
    out.put(&[1, 2]);
    assert_eq!(out.length(), 2);
    out.put(&[3, 4]);
    out.put(&[5]);
    assert_eq!(out.length(), 5);
    assert_eq!(out.finish(), [1, 2, 3]);
    assert_eq!(buffer, [1, 2, 3, 0xee]);
}
