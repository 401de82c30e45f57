//! The client's half without I/O.

use std::rc::Rc;

use qemu_pr_protocol::{
    ClientConnection, ClientStep, Decoder, Descriptors, GREETING, HEADER_LENGTH, MAX_DATA, Reply, ReplyError,
    RequestError, Step,
};
use scsi_persistent_reservations::{Cdb, Sense, SenseCode, Status};

use crate::{
    script::{Token, list, long_list, negotiated, read_keys, register},
    server::{good, header},
};

/// Bytes that were to be sent, with the descriptor of their first one.
type Sent = (Vec<u8>, Option<Token>);

/// Takes all that is to be sent, in pieces of this size.
fn sent(connection: &mut ClientConnection<Token>, size: usize) -> Vec<Sent> {
    let mut sent = Vec::new();
    while let Some(next) = connection.next_write() {
        let piece = &next.bytes[..next.bytes.len().min(size)];
        sent.push((piece.to_vec(), next.descriptor.copied()));
        let length = piece.len();
        connection.written(length);
    }
    sent
}

/// Feeds bytes in pieces of at most this size, none of them larger than what is needed.
fn fed(connection: &mut ClientConnection<Token>, mut bytes: &[u8], size: usize) -> Result<Vec<ClientStep>, ReplyError> {
    let mut steps = Vec::new();
    while !bytes.is_empty() {
        let (now, later) = bytes.split_at(connection.needs().min(size).min(bytes.len()));
        bytes = later;
        match connection.feed(now)? {
            ClientStep::Incomplete => {}
            step => steps.push(step),
        }
    }
    Ok(steps)
}

/// The replies among the steps.
fn replies(steps: Vec<ClientStep>) -> Vec<Reply> {
    let reply = |step| if let ClientStep::Reply(reply) = step { Some(reply) } else { None };
    steps.into_iter().filter_map(reply).collect()
}

/// A connection that has negotiated, and has sent these commands.
fn connected(commands: &[(Cdb, &[u8])]) -> ClientConnection<Token> {
    let mut connection = ClientConnection::new();
    fed(&mut connection, &GREETING, 4).expect("features");
    for (number, (cdb, parameters)) in (1..).zip(commands) {
        connection.request(number, cdb, parameters).expect("a proper request");
    }
    sent(&mut connection, usize::MAX);
    connection
}

#[test]
fn the_helper_speaks_first_and_is_asked_for_no_features() {
    for offered in [0_u32, 5, u32::MAX] {
        let mut connection = ClientConnection::<Token>::new();
        for (needed, byte) in (1..=4).rev().zip(offered.to_be_bytes()) {
            assert!(connection.next_write().is_none());
            assert_eq!(connection.needs(), needed);
            match (needed, connection.feed(&[byte]).expect("a feature word")) {
                (1, ClientStep::Negotiated { features }) => assert_eq!(features, offered),
                (2..=4, ClientStep::Incomplete) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(sent(&mut connection, usize::MAX), [(vec![0; 4], None)]);
        assert_eq!(connection.needs(), HEADER_LENGTH);
    }
}

#[test]
fn commands_that_come_before_the_features_are_sent_behind_them() {
    let mut connection = ClientConnection::new();
    connection.request(7, &read_keys(8), &[]).expect("a proper request");
    connection.request(8, &register(24), &list()).expect("a proper request");
    assert!(connection.next_write().is_none());
    fed(&mut connection, &GREETING, 4).expect("features");
    let change = [&register(24).as_bytes()[..], &list()].concat();
    let expected = [(vec![0; 4], None), (read_keys(8).as_bytes().to_vec(), Some(7)), (change, Some(8))];
    assert_eq!(sent(&mut connection, usize::MAX), expected);
}

#[test]
fn a_descriptor_goes_with_the_first_byte_of_its_request_and_is_dropped_then() {
    let disk = Rc::new(());
    let mut connection = ClientConnection::new();
    connection.feed(&GREETING).expect("features");
    connection.written(4);
    connection.request(Rc::clone(&disk), &register(24), &list()).expect("a proper request");
    // A socket without room takes nothing, and the descriptor is still to be sent.
    connection.written(0);
    assert!(connection.next_write().is_some_and(|next| next.bytes.len() == 40 && next.descriptor.is_some()));
    assert_eq!(Rc::strong_count(&disk), 2);
    connection.written(1);
    assert!(connection.next_write().is_some_and(|next| next.bytes.len() == 39 && next.descriptor.is_none()));
    assert_eq!(Rc::strong_count(&disk), 1);
}

#[test]
fn a_helper_understands_what_is_sent_in_any_pieces() {
    for size in 1..=41 {
        let mut connection = ClientConnection::new();
        fed(&mut connection, &GREETING, 4).expect("features");
        connection.request(7, &register(24), &list()).expect("a proper request");
        connection.request(8, &read_keys(8), &[]).expect("a proper request");
        let mut pieces = sent(&mut connection, size).into_iter();
        let features: Vec<u8> = pieces.by_ref().take(4_usize.div_ceil(size)).flat_map(|piece| piece.0).collect();
        assert_eq!(features, [0; 4]);
        let mut decoder: Decoder<Token> = negotiated();
        let mut requests = Vec::new();
        for (bytes, mut token) in pieces {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (now, later) = rest.split_at(decoder.needs().min(rest.len()));
                rest = later;
                let descriptors = token.take().map_or(Descriptors::None, Descriptors::One);
                if let Step::Request(found) = decoder.feed(now, descriptors).expect("a proper request") {
                    requests.push((found.cdb, found.device, found.parameters.into_owned()));
                }
            }
        }
        assert_eq!(requests, [(register(24), 7, list().to_vec()), (read_keys(8), 8, vec![])], "{size} bytes at a time");
    }
}

#[test]
fn what_a_helper_would_close_the_connection_for_is_not_sent() {
    let wrong = |announced, given| RequestError::ListLength { announced, given };
    let long = long_list(MAX_DATA);
    let cases = [
        (register(24), &long[..23], wrong(24, 23)),
        (register(24), &long[..25], wrong(24, 25)),
        (register(24), &[], wrong(24, 0)),
        (register(0), &long[..1], wrong(0, 1)),
        (read_keys(8), &long[..8], wrong(0, 8)),
        (register(8193), &long, RequestError::TooLong),
        (register(0x1_0018), &long[..24], RequestError::TooLong),
        (read_keys(8193), &[], RequestError::TooLong),
    ];
    let mut connection = connected(&[]);
    for (cdb, parameters, error) in cases {
        assert_eq!(connection.request(7, &cdb, parameters), Err(error));
        assert!(connection.next_write().is_none());
    }
    assert_eq!(connection.request(7, &register(8192), &long), Ok(()));
    assert_eq!(connection.request(7, &read_keys(8192), &[]), Ok(()));
}

#[test]
fn replies_may_come_in_any_pieces() {
    let commands = [(read_keys(64), &[][..]), (register(24), &list()), (read_keys(8192), &[])];
    let sense = Sense::fixed(SenseCode::IO_PROCESS_TERMINATED);
    let refusal = qemu_pr_protocol::ReplyHeader { status: Status::CHECK_CONDITION, size: 0, sense: sense.clone() };
    let bytes = [good(&[1, 2, 3]), refusal.to_bytes().to_vec(), good(&long_list(MAX_DATA))].concat();
    let reply = |data| Reply { status: Status::GOOD, sense: Sense::NONE, data };
    let refused = Reply { status: Status::CHECK_CONDITION, sense, data: Vec::new() };
    let expected = [reply(vec![1, 2, 3]), refused, reply(long_list(MAX_DATA))];
    for size in (1..=120).chain([MAX_DATA - 1, MAX_DATA]) {
        let mut connection = connected(&commands);
        let steps = fed(&mut connection, &bytes, size).expect("proper replies");
        assert_eq!(replies(steps), expected, "{size} bytes at a time");
        assert_eq!(connection.end(), Ok(()));
    }
}

#[test]
fn replies_may_be_cut_at_any_place() {
    let bytes = [good(&[1, 2, 3]), good(&[4])].concat();
    for cut in 0..=bytes.len() {
        let mut connection = connected(&[(read_keys(8), &[]), (read_keys(8), &[])]);
        let mut found = replies(fed(&mut connection, &bytes[..cut], usize::MAX).expect("proper replies"));
        assert_eq!(connection.end().is_ok(), cut == bytes.len(), "{cut} bytes");
        found.extend(replies(fed(&mut connection, &bytes[cut..], usize::MAX).expect("proper replies")));
        let data: Vec<_> = found.into_iter().map(|reply| reply.data).collect();
        assert_eq!(data, [vec![1, 2, 3], vec![4]], "{cut} bytes");
    }
}

/// What a connection makes of bytes that are no reply.
#[track_caller]
fn assert_breaks(mut connection: ClientConnection<Token>, bytes: &[u8], error: ReplyError) {
    connection.request(1000, &read_keys(8), &[]).expect("a proper request");
    assert_eq!(fed(&mut connection, bytes, usize::MAX).err(), Some(error));
    assert_broken(connection, error);
}

/// Asserts that a connection is of no use after this error.
#[track_caller]
fn assert_broken(mut connection: ClientConnection<Token>, error: ReplyError) {
    for again in [&[][..], &[0], &good(&[])] {
        assert_eq!(connection.feed(again).err(), Some(error), "it is of use again");
    }
    assert!(connection.next_write().is_none(), "it still sends");
    assert_eq!(connection.request(1001, &read_keys(8), &[]), Err(RequestError::Broken(error)));
    assert_eq!(connection.end(), Err(error));
}

#[test]
fn bytes_that_are_no_reply_break_the_connection_for_good() {
    for word in [0x100_u32, 0x0200_0000, u32::MAX] {
        let mut bytes = header(Status::GOOD, 0);
        bytes[..4].copy_from_slice(&word.to_be_bytes());
        assert_breaks(connected(&[(read_keys(8), &[])]), &bytes, ReplyError::InvalidStatus);
    }
    for size in [8193, 0x7fff_ffff, u32::MAX] {
        assert_breaks(connected(&[(read_keys(8192), &[])]), &header(Status::GOOD, size), ReplyError::TooLong);
    }
    for (asked, came) in [(0, 1), (8, 9), (8191, 8192)] {
        assert_breaks(connected(&[(read_keys(asked), &[])]), &good(&long_list(came)), ReplyError::ExcessData);
    }
    assert_breaks(connected(&[(register(24), &list())]), &good(&[1]), ReplyError::UnwantedData);
}

#[test]
fn each_command_has_its_own_limit() {
    let mut connection = connected(&[(read_keys(8), &[]), (read_keys(2), &[])]);
    fed(&mut connection, &good(&[0; 8]), usize::MAX).expect("a proper reply");
    assert_eq!(fed(&mut connection, &good(&[0; 3]), usize::MAX).err(), Some(ReplyError::ExcessData));
}

#[test]
fn a_reply_without_a_request_breaks_the_connection_with_its_first_byte() {
    assert_breaks(connected(&[]), &[0], ReplyError::Unexpected);
    let mut answered = connected(&[(read_keys(8), &[])]);
    fed(&mut answered, &good(&[0; 8]), usize::MAX).expect("a proper reply");
    assert_breaks(answered, &[0], ReplyError::Unexpected);
    // A request that has not been sent completely has no reply either.
    let mut unsent = connected(&[]);
    unsent.request(7, &register(24), &list()).expect("a proper request");
    unsent.written(39);
    assert_breaks(unsent, &[0], ReplyError::Unexpected);
}

#[test]
fn surplus_bytes_are_refused() {
    let mut header_only = connected(&[(read_keys(8), &[])]);
    fed(&mut header_only, &good(&[0; 8])[..HEADER_LENGTH], usize::MAX).expect("the header of a reply");
    let cases = [(ClientConnection::new(), 4), (connected(&[(read_keys(8), &[])]), HEADER_LENGTH), (header_only, 8)];
    for (mut connection, needed) in cases {
        assert_eq!(connection.needs(), needed);
        assert_eq!(connection.feed(&vec![0; needed + 1]).err(), Some(ReplyError::Surplus));
        assert_broken(connection, ReplyError::Surplus);
    }
}

#[test]
fn after_an_error_no_descriptor_is_held() {
    let disk = Rc::new(());
    let mut connection = ClientConnection::new();
    connection.feed(&GREETING).expect("features");
    connection.request(Rc::clone(&disk), &read_keys(8), &[]).expect("a proper request");
    assert_eq!(connection.feed(&[0]).err(), Some(ReplyError::Unexpected));
    assert_eq!(Rc::strong_count(&disk), 1);
}

#[test]
fn a_helper_may_close_a_connection_on_which_it_owes_nothing() {
    let mut connection = ClientConnection::<Token>::new();
    for byte in GREETING {
        assert_eq!(connection.end(), Err(ReplyError::Truncated));
        connection.feed(&[byte]).expect("features");
    }
    assert_eq!(connection.end(), Ok(()));
    connection.written(4);
    connection.request(7, &read_keys(8), &[]).expect("a proper request");
    assert_eq!(connection.end(), Ok(()), "nothing is sent yet");
    connection.written(16);
    for byte in good(&[1; 8]) {
        assert_eq!(connection.end(), Err(ReplyError::Truncated));
        connection.feed(&[byte]).expect("a proper reply");
    }
    assert_eq!(connection.end(), Ok(()));
}
