//! The client against helpers that behave well, badly, or not at all.

use std::{
    fs::File,
    io::{self, ErrorKind, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    thread,
    time::{Duration, Instant},
};

use qemu_pr_protocol::{Client, ClientError, HEADER_LENGTH, MAX_DATA, Reply, ReplyHeader};
use rustix::net::sockopt::set_socket_send_buffer_size;
use scsi_persistent_reservations::{Cdb, Sense, SenseCode, Status};

use crate::{
    probe::Probe,
    script::{list, long_list, read_keys, register},
    server::{PATIENCE, Receiver, good, greeted, header, start},
};

fn null() -> File {
    File::options().read(true).write(true).open("/dev/null").expect("/dev/null")
}

#[test]
fn the_client_wants_no_features_and_says_what_is_offered() {
    let (client, helper) = start(|stream| {
        stream.write_all(&[0, 0, 0, 5]).expect("a living client");
        let mut wanted = [0xff; 4];
        stream.read_exact(&mut wanted).map(|()| wanted).expect("the client's features")
    });
    assert_eq!(client.expect("a greeting").features(), 5);
    assert_eq!(helper.join().expect("a helper"), [0; 4]);
}

#[test]
fn a_command_is_sent_with_its_descriptor_and_its_list_and_answered() {
    let probe = Probe::default();
    let sense = Sense::fixed(SenseCode::IO_PROCESS_TERMINATED);
    let reply = ReplyHeader { status: Status::CHECK_CONDITION, size: 0, sense: sense.clone() };
    let (mut client, helper) = greeted(move |stream| {
        let mut requests = Receiver::default();
        let first = requests.next(stream);
        stream.write_all(&good(b"keys")).expect("a living client");
        let second = requests.next(stream);
        stream.write_all(&reply.to_bytes()).expect("a living client");
        [first, second]
    });
    let answer = client.execute(&probe, &read_keys(8), &[]).expect("an answer");
    assert_eq!(answer, Reply { status: Status::GOOD, sense: Sense::NONE, data: b"keys".to_vec() });
    let answer = client.execute(&probe, &register(24), &list()).expect("an answer");
    assert_eq!(answer, Reply { status: Status::CHECK_CONDITION, sense, data: Vec::new() });

    let [(ask, first, none), (change, second, parameters)] = helper.join().expect("a helper");
    assert_eq!((ask, change), (read_keys(8), register(24)));
    assert_eq!((none.as_slice(), parameters.as_slice()), (&[][..], &list()[..]));
    assert!(probe.is(first) && probe.is(second));
}

#[test]
fn several_commands_may_be_under_way() {
    let (mut client, helper) = greeted(|stream| {
        let mut requests = Receiver::default();
        for number in 1..=3 {
            requests.next(stream);
            stream.write_all(&good(&[number])).expect("a living client");
        }
    });
    for _ in 0..3 {
        client.send(null(), &read_keys(8), &[]).expect("a living helper");
    }
    for number in 1..=3 {
        assert_eq!(client.receive().expect("an answer").data, [number]);
    }
    helper.join().expect("a helper");
}

#[test]
fn the_longest_list_gets_through_a_socket_with_little_room() {
    let (ours, mut theirs) = UnixStream::pair().expect("two sockets");
    set_socket_send_buffer_size(&ours, 1).expect("a small buffer");
    let helper = thread::spawn(move || {
        theirs.write_all(&[0; 4]).expect("a living client");
        theirs.read_exact(&mut [0; 4]).expect("the client's features");
        let (_, _, parameters) = Receiver::default().next(&theirs);
        theirs.write_all(&good(&[])).expect("a living client");
        parameters
    });
    let mut client = Client::over(ours).expect("a greeting");
    let answer = client.execute(null(), &register(8192), &long_list(MAX_DATA)).expect("an answer");
    assert_eq!(answer.status, Status::GOOD);
    assert_eq!(helper.join().expect("a helper"), long_list(MAX_DATA));
}

#[test]
fn an_answer_may_come_byte_by_byte() {
    let (mut client, helper) = greeted(|stream| {
        Receiver::default().next(stream);
        for byte in good(&[1, 2, 3]) {
            stream.write_all(&[byte]).expect("a living client");
        }
    });
    assert_eq!(client.execute(null(), &read_keys(8), &[]).expect("an answer").data, [1, 2, 3]);
    helper.join().expect("a helper");
}

#[test]
fn the_longest_answer_is_read_whole() {
    let (mut client, helper) = greeted(|stream| {
        Receiver::default().next(stream);
        stream.write_all(&good(&long_list(MAX_DATA))).expect("a living client");
    });
    assert_eq!(client.execute(null(), &read_keys(8192), &[]).expect("an answer").data, long_list(MAX_DATA));
    helper.join().expect("a helper");
}

#[test]
fn an_answer_beyond_the_protocols_limit_is_refused_before_it_is_read() {
    for size in [8193, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        let error = answer_to_ask(header(Status::GOOD, size).to_vec());
        assert!(matches!(error, Err(ClientError::Malformed(_))), "{size}: {error:?}");
    }
}

#[test]
fn an_answer_with_more_data_than_was_asked_for_is_refused() {
    for (asked, came) in [(0, 1), (8, 9), (8, 16), (8191, 8192)] {
        let error = answer_to(read_keys(asked), &[], good(&long_list(came)));
        let Err(ClientError::Malformed(what)) = error else { panic!("{came} bytes for {asked}: {error:?}") };
        assert_eq!(what.to_string(), "the reply has more data than requested");
        let answer = answer_to(read_keys(asked), &[], good(&long_list(asked.into())));
        assert_eq!(answer.expect("all that was asked for").data.len(), usize::from(asked));
    }
}

#[test]
fn data_in_answer_to_a_change_are_refused() {
    let error = answer_to(register(24), &list(), good(&[1]));
    let Err(ClientError::Malformed(what)) = error else { panic!("{error:?}") };
    assert_eq!(what.to_string(), "the reply to a PERSISTENT RESERVE OUT has data");
}

#[test]
fn each_of_several_commands_under_way_has_its_own_limit() {
    let (mut client, helper) = greeted(|stream| {
        let mut requests = Receiver::default();
        for data in [&[1; 8][..], &[1; 2], &[1; 8], &[1; 4]] {
            requests.next(stream);
            stream.write_all(&good(data)).expect("a living client");
        }
    });
    for length in [8, 2, 4, 4] {
        client.send(null(), &read_keys(length), &[]).expect("a living helper");
    }
    for length in [8, 2] {
        assert_eq!(client.receive().expect("an answer").data.len(), length);
    }
    let error = client.receive();
    assert!(matches!(error, Err(ClientError::Malformed(_))), "{error:?}");
    assert_eq!(client.receive().expect("the answer behind it").data, [1; 4]);
    helper.join().expect("a helper");
}

#[test]
fn a_status_that_is_none_is_refused() {
    for word in [0x100, 0x0200_0000, u32::MAX] {
        let mut bytes = header(Status::GOOD, 0);
        bytes[..4].copy_from_slice(&u32::to_be_bytes(word));
        let error = answer_to_ask(bytes.to_vec());
        assert!(matches!(error, Err(ClientError::Malformed(_))), "{word:#x}: {error:?}");
    }
}

#[test]
fn a_helper_that_hangs_up_is_told_from_other_failures_whenever_it_does() {
    for greeting in 0..4 {
        let (client, helper) = start(move |stream| stream.write_all(&[0; 4][..greeting]));
        assert!(matches!(client, Err(ClientError::HungUp)), "after {greeting} bytes: {client:?}");
        helper.join().expect("a helper").expect("a living client");
    }
    let answer = good(&[1, 2, 3]);
    for sent in 0..answer.len() {
        let error = answer_to_ask(answer[..sent].to_vec());
        assert!(matches!(error, Err(ClientError::HungUp)), "after {sent} of {HEADER_LENGTH} + 3 bytes: {error:?}");
    }
}

#[test]
fn a_helper_that_hangs_up_without_reading_hung_up_too() {
    // Input that nobody read makes it a reset, or a broken pipe for who still sends.
    let (mut client, helper) = greeted(|stream| {
        stream.read_exact(&mut [0; 1]).expect("a byte of a request");
    });
    let error = client.execute(null(), &read_keys(8), &[]);
    assert!(matches!(error, Err(ClientError::HungUp)), "{error:?}");
    helper.join().expect("a helper");
    let error = client.execute(null(), &read_keys(8), &[]);
    assert!(matches!(error, Err(ClientError::HungUp)), "{error:?}");
}

#[test]
fn a_silent_helper_is_waited_for_as_long_as_the_client_wants() {
    let (mut client, helper) = greeted(|stream| {
        Receiver::default().next(stream);
        stream.write_all(&header(Status::GOOD, 4)[..50]).expect("a living client");
        stream.read(&mut [0; 1]).expect("the client's end")
    });
    let limit = Duration::from_millis(30);
    client.set_timeout(Some(limit)).expect("a timeout");
    let start = Instant::now();
    let error = client.execute(null(), &read_keys(8), &[]);
    assert!(matches!(&error, Err(ClientError::Io(error)) if error.kind() == ErrorKind::WouldBlock), "{error:?}");
    assert!((limit..PATIENCE).contains(&start.elapsed()), "{:?}", start.elapsed());
    drop(client);
    assert_eq!(helper.join().expect("a helper"), 0);
}

#[test]
fn a_helper_that_does_not_take_a_list_is_waited_for_as_long_as_the_client_wants() {
    let (ours, mut theirs) = UnixStream::pair().expect("two sockets");
    theirs.write_all(&[0; 4]).expect("a living client");
    let mut client = Client::over(ours).expect("a greeting");
    client.set_timeout(Some(Duration::from_millis(30))).expect("a timeout");
    let error = (0..10_000).find_map(|_| client.send(null(), &register(8192), &long_list(MAX_DATA)).err());
    assert!(matches!(&error, Some(ClientError::Io(error)) if error.kind() == ErrorKind::WouldBlock), "{error:?}");
}

#[test]
fn a_socket_that_cannot_be_reached_says_why() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("helper.sock");
    let reason = || match Client::connect(&path) {
        Err(ClientError::Connect(error)) => error.kind(),
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(), ErrorKind::NotFound);
    drop(UnixListener::bind(&path).expect("a socket"));
    assert_eq!(reason(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_socket_is_connected_to_by_its_path() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("helper.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let helper = thread::spawn(move || -> io::Result<[u8; 4]> {
        let (mut stream, _) = listener.accept()?;
        stream.write_all(&[0; 4])?;
        let mut wanted = [0xff; 4];
        stream.read_exact(&mut wanted).map(|()| wanted)
    });
    assert_eq!(Client::connect(&path).expect("a helper").features(), 0);
    assert_eq!(helper.join().expect("a helper").expect("a hello"), [0; 4]);
}

/// What a client makes of these bytes as the answer to a request, and of the helper's end behind them.
fn answer_to_ask(bytes: Vec<u8>) -> Result<Reply, ClientError> {
    answer_to(read_keys(8192), &[], bytes)
}

/// The same for any request.
fn answer_to(cdb: Cdb, parameters: &[u8], bytes: Vec<u8>) -> Result<Reply, ClientError> {
    let (mut client, helper) = greeted(move |stream| {
        Receiver::default().next(stream);
        stream.write_all(&bytes).expect("a living client");
    });
    let answer = client.execute(null(), &cdb, parameters);
    helper.join().expect("a helper");
    answer
}
