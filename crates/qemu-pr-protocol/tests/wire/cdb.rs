//! Sixteen bytes with one descriptor.

use qemu_pr_protocol::{Descriptors, MAX_DATA, Step, Violation};
use scsi_persistent_reservations::Cdb;

use crate::script::{assert_play, list, negotiated, plain, read_keys, register, request, with};

#[test]
fn one_descriptor_on_any_byte_makes_a_request() {
    let cdb = read_keys(8);
    for at in 0..16 {
        let (before, behind) = cdb.as_bytes().split_at(at);
        assert_play(&[plain(before), with(behind, [7])], &[request(cdb, 7, [])], Ok(()));
    }
}

#[test]
fn a_request_may_come_byte_by_byte_with_its_descriptor_on_any_of_them() {
    let cdb = read_keys(8);
    for at in 0..16 {
        let mut chunks: Vec<_> = cdb.as_bytes().iter().map(|byte| plain([*byte])).collect();
        chunks[at].tokens.push(7);
        assert_play(&chunks, &[request(cdb, 7, [])], Ok(()));
    }
}

#[test]
fn a_request_without_a_descriptor_is_a_violation_once_it_is_whole() {
    let cdb = *read_keys(8).as_bytes();
    assert_play(&[plain(cdb)], &[], Err(Violation::NoDescriptor));
    // As long as a byte is missing, the descriptor may still come.
    assert_play(&[plain(&cdb[..15])], &[], Err(Violation::Truncated));
    assert_play(&[plain(&cdb[..15]), plain(&cdb[15..])], &[], Err(Violation::NoDescriptor));
}

#[test]
fn more_than_one_descriptor_is_a_violation_in_one_chunk_or_in_two() {
    let cdb = *read_keys(8).as_bytes();
    for count in [2, 3, 16, 17, 253] {
        assert_play(&[with(cdb, (0..count).collect::<Vec<_>>())], &[], Err(Violation::TooManyDescriptors));
    }
    for at in 1..16 {
        let (before, behind) = cdb.split_at(at);
        for tokens in [vec![2], vec![2, 3]] {
            assert_play(&[with(before, [1]), with(behind, tokens)], &[], Err(Violation::TooManyDescriptors));
        }
        assert_play(&[plain(before), with(behind, [1, 2])], &[], Err(Violation::TooManyDescriptors));
    }
}

#[test]
fn two_requests_in_one_message_share_no_descriptor() {
    let cdb = read_keys(8);
    let both = [*cdb.as_bytes(), *cdb.as_bytes()].concat();
    // The one descriptor is the first request's.
    assert_play(&[with(both.clone(), [1])], &[request(cdb, 1, [])], Err(Violation::NoDescriptor));
    // Two come with the first request's bytes; nothing says that one is for the second.
    assert_play(&[with(both, [1, 2])], &[], Err(Violation::TooManyDescriptors));
}

#[test]
fn requests_follow_one_another_each_with_its_own_descriptor() {
    let (ask, change) = (read_keys(8), register(24));
    let chunks =
        [with(*ask.as_bytes(), [1]), with([&change.as_bytes()[..], &list()].concat(), [2]), with(*ask.as_bytes(), [3])];
    assert_play(&chunks, &[request(ask, 1, []), request(change, 2, list()), request(ask, 3, [])], Ok(()));
}

#[test]
fn only_the_two_commands_are_let_through() {
    for operation_code in 0..=u8::MAX {
        let mut bytes = [0; 16];
        bytes[0] = operation_code;
        let sent = [with(bytes, [7])];
        match Cdb::new(bytes) {
            Ok(cdb) => {
                assert!(matches!(operation_code, 0x5e | 0x5f));
                assert_play(&sent, &[request(cdb, 7, [])], Ok(()));
            }
            Err(_) => assert_play(&sent, &[], Err(Violation::NotPersistentReserve(operation_code))),
        }
    }
}

#[test]
fn the_bytes_of_a_command_reach_the_device_as_they_came() {
    let mut bytes = [0xff; 16];
    bytes[0] = 0x5e;
    bytes[7..9].copy_from_slice(&[0x20, 0x00]);
    assert_play(&[with(bytes, [7])], &[request(Cdb::new(bytes).expect("a command"), 7, [])], Ok(()));
}

#[test]
fn an_allocation_length_may_be_anything_up_to_the_limit() {
    let limit = u16::try_from(MAX_DATA).expect("a small number");
    for (length, end) in [
        (0, Ok(())),
        (1, Ok(())),
        (limit, Ok(())),
        (limit + 1, Err(Violation::TooLong(8193))),
        (u16::MAX, Err(Violation::TooLong(65535))),
    ] {
        let cdb = read_keys(length);
        let answered = [request(cdb, 7, [])];
        assert_play(&[with(*cdb.as_bytes(), [7])], if end.is_ok() { &answered } else { &[] }, end);
    }
}

#[test]
fn a_request_to_read_ignores_the_bytes_before_its_allocation_length() {
    // In PERSISTENT RESERVE IN they are reserved.
    let mut bytes = *read_keys(8).as_bytes();
    bytes[5..7].copy_from_slice(&[0xff, 0xff]);
    assert_play(&[with(bytes, [7])], &[request(Cdb::new(bytes).expect("a command"), 7, [])], Ok(()));
}

#[test]
fn a_descriptor_has_a_meaning_on_every_byte_of_a_cdb_and_nowhere_else() {
    let mut decoder = negotiated();
    for (at, byte) in register(24).as_bytes().iter().enumerate() {
        assert!(decoder.takes_descriptor(), "byte {at}");
        assert_eq!((decoder.needs(), decoder.is_idle()), (16 - at, at == 0));
        let descriptors = if at == 3 { Descriptors::One(()) } else { Descriptors::None };
        assert!(matches!(decoder.feed(&[*byte], descriptors), Ok(Step::Incomplete)));
    }
    assert_eq!((decoder.needs(), decoder.is_idle(), decoder.takes_descriptor()), (24, false, false));
}
