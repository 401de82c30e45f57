//! The head of a reply, both ways.

use proptest::prelude::*;
use qemu_pr_protocol::{HEADER_LENGTH, Reply, ReplyHeader};
use scsi_persistent_reservations::{Completion, SENSE_LENGTH, Sense, SenseCode, Status};

/// Headers and what they are on the wire: the words, then the start of the sense data.
fn table() -> Vec<(ReplyHeader, [u8; 8], Vec<u8>)> {
    let aborted = [0x70, 0, 0x0b, 0, 0, 0, 0, 0x0a, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0];
    let refused = [0x70, 0, 5, 0, 0, 0, 0, 0x0a, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0];
    let header = |status, size, sense| ReplyHeader { status, size, sense };
    let check = |code| header(Status::CHECK_CONDITION, 0, Sense::fixed(code));
    vec![
        (header(Status::GOOD, 0, Sense::NONE), [0; 8], vec![]),
        (header(Status::GOOD, 8192, Sense::NONE), [0, 0, 0, 0, 0, 0, 0x20, 0], vec![]),
        (header(Status::RESERVATION_CONFLICT, 0, Sense::NONE), [0, 0, 0, 0x18, 0, 0, 0, 0], vec![]),
        (check(SenseCode::IO_PROCESS_TERMINATED), [0, 0, 0, 2, 0, 0, 0, 0], aborted.to_vec()),
        (check(SenseCode::INVALID_OPERATION_CODE), [0, 0, 0, 2, 0, 0, 0, 0], refused.to_vec()),
        (header(Status(0xff), 1, Sense::from_device(&[7; 96])), [0, 0, 0, 0xff, 0, 0, 0, 1], vec![7; 96]),
    ]
}

#[test]
fn headers_are_written_and_read_as_the_table_says() {
    for (header, words, sense) in table() {
        let mut bytes = [0; HEADER_LENGTH];
        bytes[..8].copy_from_slice(&words);
        bytes[8..8 + sense.len()].copy_from_slice(&sense);
        assert_eq!(header.to_bytes(), bytes, "{header:?}");
        assert_eq!(ReplyHeader::parse(&bytes), Some(header));
    }
}

#[test]
fn a_header_has_104_bytes() {
    assert_eq!((HEADER_LENGTH, SENSE_LENGTH), (104, 96));
}

#[test]
fn a_status_word_that_no_status_byte_can_be_is_refused() {
    for word in [0x100, 0x0200_0000, 0x8000_0002, u32::MAX] {
        let mut bytes = [0; HEADER_LENGTH];
        bytes[..4].copy_from_slice(&u32::to_be_bytes(word));
        assert_eq!(ReplyHeader::parse(&bytes), None, "{word:#x}");
    }
}

#[test]
fn a_completion_becomes_a_header_that_announces_its_data() {
    let good = Completion { status: Status::GOOD, sense: Sense::NONE, data: &[1, 2, 3] };
    assert_eq!(ReplyHeader::new(&good), ReplyHeader { status: Status::GOOD, size: 3, sense: Sense::NONE });
    let busy = Completion::status(Status::BUSY);
    assert_eq!(ReplyHeader::new(&busy), ReplyHeader { status: Status::BUSY, size: 0, sense: Sense::NONE });
    let sense = Sense::fixed(SenseCode::NEXUS_LOSS);
    let check = ReplyHeader::new(&Completion::check_condition(sense.clone()));
    assert_eq!(check, ReplyHeader { status: Status::CHECK_CONDITION, size: 0, sense });
}

#[test]
fn a_reply_is_its_sense_data_in_words_or_its_status() {
    let reply = |status, code| Reply { status, sense: Sense::fixed(code), data: Vec::new() };
    let attention = reply(Status::CHECK_CONDITION, SenseCode::RESERVATIONS_PREEMPTED);
    let refused = reply(Status::CHECK_CONDITION, SenseCode::INVALID_OPERATION_CODE);
    let conflict = reply(Status::RESERVATION_CONFLICT, SenseCode::RESERVATIONS_PREEMPTED);
    let unexplained = Reply { sense: Sense::NONE, ..refused.clone() };
    assert_eq!(
        [&attention, &refused, &conflict, &unexplained].map(|reply| (reply.to_string(), reply.is_unit_attention())),
        [
            (SenseCode::RESERVATIONS_PREEMPTED.to_string(), true),
            (SenseCode::INVALID_OPERATION_CODE.to_string(), false),
            (Status::RESERVATION_CONFLICT.to_string(), false),
            (Status::CHECK_CONDITION.to_string(), false),
        ]
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_of_a_header_come_back_as_they_were(status: u8, size: u32, sense in any::<[[u8; 32]; 3]>()) {
        let bytes = [&[0, 0, 0, status], &size.to_be_bytes()[..], sense.as_flattened()].concat();
        let bytes: [u8; HEADER_LENGTH] = bytes.try_into().expect("104 bytes");
        let header = ReplyHeader::parse(&bytes).expect("a status byte");
        prop_assert_eq!((header.status, header.size), (Status(status), size));
        prop_assert_eq!(header.to_bytes(), bytes);
    }
}
