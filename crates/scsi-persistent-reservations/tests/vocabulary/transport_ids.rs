use scsi_persistent_reservations::{ParseError, TransportId};

use crate::values::id_bytes;

const PORT: [u8; 8] = [0x50, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07];

#[rustfmt::skip]
const FIXED: [(TransportId<'_>, [u8; 24], &str); 6] = [
    (TransportId::FibreChannel { n_port_name: PORT }, [
        0x00,                                           // Fibre Channel
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x50, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, // N_PORT NAME
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ], "fc:0x5001020304050607"),
    (TransportId::ParallelScsi { address: 7, relative_target_port: 0x0102 }, [
        0x01,                                           // parallel SCSI
        0x00,
        0x00, 0x07,                                     // SCSI ADDRESS
        0x00, 0x00,
        0x01, 0x02,                                     // RELATIVE TARGET PORT IDENTIFIER
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ], "spi:7,258"),
    (TransportId::Sbp { eui64: PORT }, [
        0x03,                                           // IEEE 1394
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x50, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, // EUI-64 NAME
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ], "sbp:0x5001020304050607"),
    (TransportId::Srp { initiator_port: [0xab; 16] }, [
        0x04,                                           // SRP
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0xab, 0xab, 0xab, 0xab, 0xab, 0xab, 0xab, 0xab, // INITIATOR PORT IDENTIFIER
        0xab, 0xab, 0xab, 0xab, 0xab, 0xab, 0xab, 0xab,
    ], "srp:0xabababababababababababababababab"),
    (TransportId::Sas { address: PORT }, [
        0x06,                                           // SAS
        0x00, 0x00, 0x00,
        0x50, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, // SAS ADDRESS
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ], "sas:0x5001020304050607"),
    (TransportId::Sop { routing_id: 0x0102 }, [
        0x0a,                                           // SOP
        0x00,
        0x01, 0x02,                                     // ROUTING ID
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ], "sop:0x0102"),
];

#[test]
fn every_protocol_of_24_bytes_both_ways() {
    for (id, bytes, text) in FIXED {
        assert_eq!(TransportId::parse(&bytes), Ok((id, &[][..])));
        assert_eq!(TransportId::from_field(&bytes), id);
        assert_eq!((id_bytes(&id), id.length()), (bytes.to_vec(), 24), "{text}");
        assert_eq!(id.to_string(), text);
    }
}

#[test]
fn what_follows_a_transport_id_is_left() {
    for (id, bytes, _) in FIXED {
        let data = [&bytes[..], &[1, 2, 3]].concat();
        assert_eq!(TransportId::parse(&data), Ok((id, &[1, 2, 3][..])));
        // A field is one TransportID to its end, or it is none.
        assert_eq!(TransportId::from_field(&data), TransportId::Other(&data));
    }
}

#[test]
fn a_transport_id_that_ends_early_is_too_short() {
    for (_, bytes, text) in FIXED {
        for length in 0..24 {
            assert_eq!(TransportId::parse(&bytes[..length]), Err(ParseError::TooShort), "{text}");
            assert_eq!(TransportId::from_field(&bytes[..length]), TransportId::Other(&bytes[..length]));
        }
    }
}

#[test]
fn reserved_bits_of_the_first_byte_say_nothing() {
    for (id, mut bytes, text) in FIXED {
        bytes[0] |= 0x30;
        assert_eq!(TransportId::parse(&bytes), Ok((id, &[][..])), "{text}");
    }
}

#[test]
fn unknown_protocols_and_formats_are_kept_raw() {
    for first in [0x02, 0x07, 0x08, 0x09, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x40, 0x46, 0x86, 0xc0, 0x85, 0xc5] {
        let mut bytes = [0x11; 24];
        bytes[0] = first;
        let id = TransportId::Other(&bytes);
        assert_eq!(TransportId::parse(&bytes), Ok((id, &[][..])), "{first:#04x}");
        assert_eq!((id_bytes(&id), id.length()), (bytes.to_vec(), 24));
    }
    assert_eq!(TransportId::Other(&[0x0f, 0xa0]).to_string(), "raw:0fa0");
}

/// The shortest there is, one that is padded, one whose terminator alone takes four bytes, and one session.
#[rustfmt::skip]
const ISCSI: [(TransportId<'_>, &[u8], &str); 5] = [
    (
        TransportId::Iscsi { name: b"", session: None },
        b"\x05\0\0\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        "",
    ),
    (
        TransportId::Iscsi { name: b"iqn.2026-01.example", session: None },
        b"\x05\0\0\x14iqn.2026-01.example\0",
        "iqn.2026-01.example",
    ),
    (
        TransportId::Iscsi { name: b"iqn.2026-01.example:", session: None },
        b"\x05\0\0\x18iqn.2026-01.example:\0\0\0\0",
        "iqn.2026-01.example:",
    ),
    (
        TransportId::Iscsi { name: b"iqn.2026-01.example:a", session: Some(b"00023d000001") },
        b"\x45\0\0\x28iqn.2026-01.example:a,i,0x00023d000001\0\0",
        "iqn.2026-01.example:a,i,0x00023d000001",
    ),
    // Only the last separator separates.
    (
        TransportId::Iscsi { name: b"eui.02004567a425678d,i,0x1", session: Some(b"2") },
        b"\x45\0\0\x20eui.02004567a425678d,i,0x1,i,0x2",
        "eui.02004567a425678d,i,0x1,i,0x2",
    ),
];

#[test]
fn iscsi_names_both_ways() {
    for (id, bytes, text) in &ISCSI[..4] {
        assert_eq!(TransportId::parse(bytes), Ok((*id, &[][..])), "{text}");
        assert_eq!((id_bytes(id), id.length()), (bytes.to_vec(), bytes.len()));
        assert_eq!(id.to_string(), *text);
    }
}

#[test]
fn only_the_last_separator_of_an_iscsi_name_separates() {
    let (id, bytes, text) = ISCSI[4];
    let mut terminated = bytes.to_vec();
    terminated[3] += 4;
    terminated.extend([0; 4]);
    assert_eq!(TransportId::parse(&terminated), Ok((id, &[][..])));
    assert_eq!(id_bytes(&id), terminated);
    assert_eq!(id.to_string(), text);
}

#[test]
fn iscsi_names_are_shown_without_control_characters() {
    let id = TransportId::Iscsi { name: b"iqn\x1b[2J\xff", session: Some(b"\n") };
    assert_eq!(id.to_string(), "iqn\\x1b[2J\\xff,i,0x\\n");
}

#[test]
fn more_padding_than_an_iscsi_name_needs_is_no_error() {
    let bytes = b"\x05\0\0\x1ciqn.2026-01.example\0\0\0\0\0\0\0\0\0";
    assert_eq!(TransportId::parse(bytes).map(|(id, _)| id), Ok(ISCSI[1].0));
}

#[test]
fn malformed_iscsi_names_are_refused() {
    use ParseError::{IscsiLength, IscsiName, TooShort};
    for (why, bytes, error) in [
        ("fewer than four bytes", &b"\x05\0\0"[..], TooShort),
        ("nothing after the length", b"\x05\0\0\x14", TooShort),
        ("shorter than its length", b"\x05\0\0\x18iqn.2026-01.example\0", TooShort),
        ("a length of zero", b"\x05\0\0\0", IscsiLength),
        ("a length under 20", b"\x05\0\0\x10iqn.2026-01.exa\0", IscsiLength),
        ("a length that is no multiple of four", b"\x05\0\0\x15iqn.2026-01.example\0\0", IscsiLength),
        ("no terminator", b"\x05\0\0\x14iqn.2026-01.example:", IscsiName),
        ("a session without terminator", b"\x45\0\0\x18iqn.2026-01.exampl,i,0x1", IscsiName),
        ("a session without separator", b"\x45\0\0\x14iqn.2026-01.example\0", IscsiName),
        ("half a separator", b"\x45\0\0\x18iqn.2026-01.example,i,0\0", IscsiName),
        ("nothing after the separator", b"\x45\0\0\x18iqn.2026-01.examp,i,0x\0\0", IscsiName),
        ("a separator behind the terminator", b"\x45\0\0\x18iqn.2026-01.exa\0,i,0x1\0\0", IscsiName),
    ] {
        assert_eq!(TransportId::parse(bytes), Err(error), "{why}");
        assert_eq!(TransportId::from_field(bytes), TransportId::Other(bytes), "{why}");
    }
}

#[test]
fn errors_say_what_is_wrong() {
    for (error, text) in [
        (ParseError::IscsiLength, "the length of the iSCSI name is under 20 or no multiple of four"),
        (ParseError::IscsiName, "the iSCSI name has no terminator or no session identifier where its format wants one"),
    ] {
        assert_eq!(error.to_string(), text);
    }
}
