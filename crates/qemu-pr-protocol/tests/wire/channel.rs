//! Bytes and descriptors over a Unix socket.

use std::{
    io::{Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
};

use qemu_pr_protocol::{Descriptors, channel};
use rustix::io::{Errno, FdFlags, fcntl_getfd};

use std::os::fd::AsFd as _;

use crate::probe::{MOST, Probe, send};

fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().expect("two sockets")
}

#[test]
fn one_descriptor_is_received_close_on_exec() {
    let (client, helper) = pair();
    let probe = Probe::default();
    send(&client, b"request", &probe, 1);
    let mut buffer = [0; 16];
    let (length, descriptors) = channel::receive_with_descriptors(&helper, &mut buffer).expect("a message");
    assert_eq!(&buffer[..length], b"request");
    let Descriptors::One(device) = descriptors else { panic!("not one descriptor: {descriptors:?}") };
    assert!(probe.is(&device));
    assert!(fcntl_getfd(&device).expect("its flags").contains(FdFlags::CLOEXEC));
    assert_eq!(probe.copies(), 1);
    drop(device);
    assert_eq!(probe.copies(), 0);
}

#[test]
fn none_and_one_and_many_descriptors_are_told_apart() {
    for count in [0, 1, 2, 3, 16, 17, MOST] {
        let (client, helper) = pair();
        let probe = Probe::default();
        send(&client, b"request", &probe, count);
        let (length, descriptors) = channel::receive_with_descriptors(&helper, &mut [0; 16]).expect("a message");
        let told = match descriptors {
            Descriptors::None => 0,
            Descriptors::One(_) => 1,
            Descriptors::Many => 2,
        };
        assert_eq!((length, told), (7, count.min(2)), "{count} descriptors");
    }
}

#[test]
fn a_descriptor_comes_with_the_first_read_of_its_message() {
    let (client, helper) = pair();
    let probe = Probe::default();
    send(&client, b"request", &probe, 1);
    for (size, expected) in [(3, true), (4, false)] {
        let (length, descriptors) = channel::receive_with_descriptors(&helper, &mut [0; 4][..size]).expect("a part");
        assert_eq!((length, matches!(descriptors, Descriptors::One(_))), (size, expected));
    }
}

#[test]
fn reading_no_further_than_a_message_leaves_the_next_ones_descriptor_where_it_is() {
    let (client, helper) = pair();
    let probes = [Probe::default(), Probe::default()];
    for probe in &probes {
        send(&client, b"request", probe, 1);
    }
    for probe in &probes {
        let (_, descriptors) = channel::receive_with_descriptors(&helper, &mut [0; 7]).expect("a message");
        let Descriptors::One(device) = descriptors else { panic!("not one descriptor: {descriptors:?}") };
        assert!(probe.is(device));
    }
}

#[test]
fn a_socket_without_input_is_not_waited_for_and_its_end_is_zero_bytes() {
    let (mut client, helper) = pair();
    let receive_with = || channel::receive_with_descriptors(&helper, &mut [0; 16]).map(|(length, _)| length);
    assert_eq!(channel::receive(&helper, &mut [0; 16]), Err(Errno::AGAIN));
    assert_eq!(receive_with(), Err(Errno::AGAIN));
    client.write_all(b"last words").expect("a living helper");
    drop(client);
    assert_eq!(channel::receive(&helper, &mut [0; 4]), Ok(4));
    assert_eq!(receive_with(), Ok(6));
    assert_eq!(receive_with(), Ok(0));
    assert_eq!(channel::receive(&helper, &mut [0; 16]), Ok(0));
}

#[test]
fn both_parts_are_sent_one_behind_the_other() {
    for (head, tail) in [(&b"head"[..], &b"tail"[..]), (b"head", b""), (b"", b"tail")] {
        let (mut client, helper) = pair();
        assert_eq!(channel::send(&helper, head, tail), Ok(head.len() + tail.len()));
        drop(helper);
        let mut received = Vec::new();
        client.read_to_end(&mut received).expect("the rest");
        assert_eq!(received, [head, tail].concat());
    }
}

#[test]
fn a_client_that_does_not_read_is_not_waited_for() {
    let (mut client, helper) = pair();
    let mut sent = 0;
    loop {
        match channel::send(&helper, &[1; 104], &[2; 8192]) {
            Ok(more) => sent += more,
            Err(error) => break assert_eq!(error, Errno::AGAIN),
        }
    }
    drop(helper);
    let mut received = Vec::new();
    client.read_to_end(&mut received).expect("all of it");
    assert_eq!(received.len(), sent, "not one byte more or less than was said");
}

#[test]
fn a_client_that_is_gone_is_an_error_and_no_signal() {
    let (client, helper) = pair();
    drop(client);
    assert_eq!(channel::send(&helper, b"head", b"tail"), Err(Errno::PIPE));
    let (client, helper) = pair();
    client.shutdown(Shutdown::Read).expect("a connected socket");
    assert_eq!(channel::send(&helper, b"head", b""), Err(Errno::PIPE));
}

#[test]
fn a_request_is_sent_with_its_descriptor() {
    for list in [&b""[..], b"list"] {
        let (client, helper) = pair();
        let probe = Probe::default();
        let sent = channel::send_with_descriptor(&client, b"request", list, probe.as_fd());
        assert_eq!(sent, Ok(7 + list.len()));
        let (length, descriptors) = channel::receive_with_descriptors(&helper, &mut [0; 7]).expect("a message");
        assert_eq!(length, 7);
        assert!(matches!(descriptors, Descriptors::One(device) if probe.is(&device)));
        let mut rest = [0; 8];
        match channel::receive(&helper, &mut rest) {
            Ok(length) => assert_eq!(&rest[..length], list),
            Err(error) => assert_eq!((error, list), (Errno::AGAIN, &b""[..])),
        }
    }
}
