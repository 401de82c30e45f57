//! Whatever a client sends, no descriptor stays behind.

use std::{
    io::{Read, Write},
    net::Shutdown,
    os::{fd::OwnedFd, unix::net::UnixStream},
};

use qemu_pr_protocol::{Decoder, Descriptors, GREETING, Step, Violation, channel};
use rustix::io::Errno;

use crate::{
    probe::{MOST, Probe, send},
    script::{list, read_keys, register},
};

const COUNTS: [usize; 6] = [0, 1, 2, 3, 17, MOST];

/// A helper that reads what is there, in the way the daemon does, and answers nothing.
struct Helper {
    socket: UnixStream,
    decoder: Decoder<OwnedFd>,
}

/// What a helper made of what was there.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// So many requests, and then nothing more for now.
    Requests(usize),
    /// The client has hung up.
    Ended,
    /// The client broke the protocol.
    Broke(Violation),
}

impl Helper {
    /// A client and a helper; the client has said hello unless it is to do that itself.
    fn new(greeted: bool) -> (UnixStream, Self) {
        let (mut client, socket) = UnixStream::pair().expect("two sockets");
        if greeted {
            client.write_all(&GREETING).expect("a living helper");
        }
        (client, Self { socket, decoder: Decoder::new() })
    }

    fn read(&mut self) -> Found {
        let mut buffer = vec![0; qemu_pr_protocol::MAX_DATA];
        let mut requests = 0;
        loop {
            let room = &mut buffer[..self.decoder.needs()];
            let received = if self.decoder.takes_descriptor() {
                channel::receive_with_descriptors(&self.socket, room)
            } else {
                channel::receive(&self.socket, room).map(|length| (length, Descriptors::None))
            };
            match received {
                Ok((0, _)) => return self.decoder.end().map_or_else(Found::Broke, |()| Found::Ended),
                Ok((length, descriptors)) => match self.decoder.feed(&buffer[..length], descriptors) {
                    Ok(Step::Request(_)) => requests += 1,
                    Ok(_) => {}
                    Err(violation) => return Found::Broke(violation),
                },
                Err(error) => {
                    assert_eq!(error, Errno::AGAIN);
                    return Found::Requests(requests);
                }
            }
        }
    }
}

#[test]
fn descriptors_on_the_hello_never_arrive() {
    for count in COUNTS {
        let (client, mut helper) = Helper::new(false);
        let probe = Probe::default();
        send(&client, &GREETING, &probe, count);
        assert_eq!(helper.read(), Found::Requests(0));
        assert_eq!(probe.copies(), 0, "{count} descriptors");
    }
}

#[test]
fn descriptors_on_a_hello_with_a_request_behind_it_never_arrive() {
    for count in COUNTS {
        let (client, mut helper) = Helper::new(false);
        let probe = Probe::default();
        send(&client, &[&GREETING[..], read_keys(8).as_bytes()].concat(), &probe, count);
        assert_eq!(helper.read(), Found::Broke(Violation::NoDescriptor));
        assert_eq!(probe.copies(), 0, "{count} descriptors");
    }
}

#[test]
fn the_descriptors_of_a_request_are_closed_whether_it_is_proper_or_not() {
    for count in COUNTS {
        let (client, mut helper) = Helper::new(true);
        let probe = Probe::default();
        send(&client, read_keys(8).as_bytes(), &probe, count);
        let expected = match count {
            0 => Found::Broke(Violation::NoDescriptor),
            1 => Found::Requests(1),
            _ => Found::Broke(Violation::TooManyDescriptors),
        };
        assert_eq!(helper.read(), expected);
        assert_eq!(probe.copies(), 0, "{count} descriptors");
    }
}

#[test]
fn descriptors_on_a_parameter_list_never_arrive() {
    for count in COUNTS {
        let (client, mut helper) = Helper::new(true);
        let probe = Probe::default();
        send(&client, register(24).as_bytes(), &probe, 1);
        send(&client, &list()[..5], &probe, count);
        assert_eq!(helper.read(), Found::Requests(0));
        assert_eq!(probe.copies(), 1, "that of the request alone");
        send(&client, &list()[5..], &probe, count);
        assert_eq!(helper.read(), Found::Requests(1));
        assert_eq!(probe.copies(), 0, "{count} descriptors");
    }
}

#[test]
fn a_second_chunk_with_descriptors_closes_the_first_ones_too() {
    for count in [1, 2, MOST] {
        let (client, mut helper) = Helper::new(true);
        let probe = Probe::default();
        send(&client, &[0x5e; 8], &probe, 1);
        assert_eq!(helper.read(), Found::Requests(0));
        assert_eq!(probe.copies(), 1);
        send(&client, &[0; 8], &probe, count);
        assert_eq!(helper.read(), Found::Broke(Violation::TooManyDescriptors));
        // Whoever drops the decoder closes what it holds, when that suits him.
        drop(helper);
        assert_eq!(probe.copies(), 0, "{count} descriptors");
    }
}

#[test]
fn a_client_that_leaves_half_way_leaves_nothing() {
    let change = [&register(24).as_bytes()[..], &list()].concat();
    for sent in 1..change.len() {
        let (client, mut helper) = Helper::new(true);
        let probe = Probe::default();
        send(&client, &change[..sent], &probe, 1);
        client.shutdown(Shutdown::Write).expect("a connected socket");
        assert_eq!(helper.read(), Found::Broke(Violation::Truncated), "after {sent} bytes");
        drop(helper);
        assert_eq!(probe.copies(), 0, "after {sent} bytes");
    }
}

#[test]
fn requests_that_nobody_reads_leave_nothing() {
    let (client, mut helper) = Helper::new(true);
    let probe = Probe::default();
    send(&client, &[0x12; 16], &probe, 1);
    for _ in 0..20 {
        send(&client, read_keys(8).as_bytes(), &probe, 1);
    }
    assert_eq!(helper.read(), Found::Broke(Violation::NotPersistentReserve(0x12)));
    drop(helper);
    assert_eq!(probe.copies(), 0);
    assert!(matches!((&client).read(&mut [0]), Ok(0) | Err(_)), "the client learns that it was hung up on");
}

#[test]
fn a_thousand_requests_hold_one_descriptor_at_a_time() {
    let (client, mut helper) = Helper::new(true);
    let probe = Probe::default();
    for _ in 0..1000 {
        send(&client, read_keys(8).as_bytes(), &probe, 1);
        assert_eq!(helper.read(), Found::Requests(1));
    }
    assert_eq!(probe.copies(), 0);
    drop(client);
    assert_eq!(helper.read(), Found::Ended);
}
