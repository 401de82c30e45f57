use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use qemu_pr_protocol::{GREETING, Violation};
use rustix::net::sockopt::set_socket_send_buffer_size;
use scsi_persistent_reservations::Status;

use super::*;
use crate::{
    log::for_tests::Captured,
    server::for_tests::{Served, TIMEOUT, read_keys, register},
};

/// Whether the socket's next input is waited for.
fn waits(next: &Next) -> bool {
    matches!(next, Next::Wait(EventFlags::IN))
}

#[test]
fn the_server_speaks_first() {
    let mut served = Served::new(true);
    handshake(served.connection.socket()).unwrap();
    let mut word = [1; 4];
    served.client.read_exact(&mut word).unwrap();
    assert_eq!(word, GREETING);
}

#[test]
fn a_request_is_answered_when_its_last_byte_has_come_and_not_before() {
    let mut served = Served::negotiated(true);
    let (cdb, list) = register(0, 0xabc);
    served.send(&cdb, &list, 7);
    assert!(waits(&served.handle()) && !served.has_answer());
    let all = [cdb.as_bytes().as_slice(), &list].concat();
    served.client.write_all(&all[7..30]).unwrap();
    assert!(waits(&served.handle()) && !served.has_answer());
    assert!(served.status.snapshot().unwrap().under_way.is_none(), "nothing has been sent to the disk");
    served.client.write_all(&all[30..]).unwrap();
    assert!(waits(&served.handle()));
    assert_eq!(served.receive(), Status::GOOD);
    assert_eq!(served.status.snapshot().unwrap().requests, 1);
    assert_eq!(served.shared.in_flight(), 0);
    // The disk has carried it out: of another key it knows nothing.
    let (cdb, list) = register(0xdef, 0);
    served.send_all(&cdb, &list);
    assert!(waits(&served.handle()));
    assert_eq!(served.receive(), Status::RESERVATION_CONFLICT);
}

#[test]
fn half_a_request_has_a_deadline_and_a_whole_one_has_none() {
    let mut served = Served::negotiated(true);
    let now = Instant::now();
    assert!(!served.connection.expire(now + 2 * TIMEOUT), "between requests a client may take its time");
    assert!(!served.shared.is_timer_armed());
    served.send(&read_keys(), &[], 10);
    assert!(waits(&served.handle()));
    assert!(served.shared.is_timer_armed(), "the main thread has to look at the clock");
    assert!(served.connection.expire(now));
    // The rest in time: no deadline is left.
    served.client.write_all(&read_keys().as_bytes()[10..]).unwrap();
    assert!(waits(&served.handle()));
    assert_eq!(served.receive(), Status::GOOD);
    assert!(!served.connection.expire(now + 2 * TIMEOUT));
    // The rest too late: the socket reports that like anything else, and the connection ends.
    served.send(&read_keys(), &[], 10);
    assert!(waits(&served.handle()));
    assert!(served.connection.expire(Instant::now() + TIMEOUT + Duration::from_millis(1)));
    assert!(matches!(served.handle(), Next::Close(Reason::Overdue)));
}

#[test]
fn a_client_that_leaves_ends_its_connection_and_one_that_leaves_in_a_request_breaks_the_protocol() {
    let mut served = Served::negotiated(true);
    served.client.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(matches!(served.handle(), Next::Close(Reason::Finished)));

    let mut served = Served::negotiated(true);
    served.send(&read_keys(), &[], 10);
    served.client.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(matches!(served.handle(), Next::Close(Reason::Violation(Violation::Truncated))));
}

#[test]
fn a_client_that_wants_unknown_features_breaks_the_protocol() {
    let mut served = Served::new(true);
    served.client.write_all(&[0, 0, 0, 1]).unwrap();
    assert!(matches!(served.handle(), Next::Close(Reason::Violation(Violation::UnknownFeatures(1)))));
}

#[test]
fn an_answer_that_is_not_read_is_kept_and_nothing_is_read_before_it_has_gone() {
    let mut served = Served::negotiated(true);
    set_socket_send_buffer_size(served.connection.socket(), 4096).unwrap();
    let mut asked = 0;
    loop {
        served.send_all(&read_keys(), &[]);
        asked += 1;
        match served.handle() {
            Next::Wait(EventFlags::OUT) => break,
            next => assert!(waits(&next) && asked < 1000),
        }
    }
    assert!(served.connection.expire(Instant::now()), "the client has to read it in time");
    // One more is not read, however often there is an event.
    served.send_all(&read_keys(), &[]);
    assert!(matches!(served.handle(), Next::Wait(EventFlags::OUT)));
    assert_eq!(served.status.snapshot().unwrap().requests, asked);
    for answer in 0..asked {
        // Room for the rest is an event.
        if answer + 1 == asked {
            assert!(waits(&served.handle()));
        }
        assert_eq!(served.receive(), Status::GOOD);
    }
    assert!(!served.connection.expire(Instant::now()));
    assert!(waits(&served.handle()));
    assert_eq!(served.receive(), Status::GOOD);
}

#[test]
fn during_the_shutdown_an_idle_client_is_closed_and_one_in_a_request_is_answered_first() {
    let mut idle = Served::negotiated(true);
    idle.shared.drain();
    assert!(idle.connection.close_if_idle());
    assert!(matches!(idle.handle(), Next::Close(Reason::Draining)));

    let mut busy = Served::negotiated(true);
    busy.send(&read_keys(), &[], 10);
    assert!(waits(&busy.handle()));
    busy.shared.drain();
    assert!(!busy.connection.close_if_idle(), "the rest may be on its way");
    assert!(waits(&busy.handle()));
    busy.client.write_all(&read_keys().as_bytes()[10..]).unwrap();
    assert!(matches!(busy.handle(), Next::Close(Reason::Draining)));
    assert_eq!(busy.receive(), Status::GOOD);
}

#[test]
fn after_the_end_of_the_shutdown_no_request_begins() {
    let mut served = Served::negotiated(true);
    served.shared.drain();
    served.shared.refuse_requests();
    served.send_all(&read_keys(), &[]);
    assert!(matches!(served.handle(), Next::Close(Reason::Draining)));
    assert!(!served.has_answer());
    assert_eq!(served.status.snapshot().unwrap().requests, 0);
    assert_eq!(served.shared.in_flight(), 0);
    assert!(!served.connection.closes_at_once(), "what it sent is closed by another thread");
}

#[test]
fn what_may_take_long_to_close_is_handed_out_and_the_client_is_not_read_until_it_is_closed() {
    // Without simulated disks a file is nothing that this program would open.
    let mut served = Served::negotiated(false);
    served.send_all(&read_keys(), &[]);
    assert!(waits(&served.handle()));
    assert_ne!(served.receive(), Status::GOOD);
    assert!(!served.connection.closes_at_once());
    assert!(served.connection.take_device().is_some());
    assert!(served.connection.awaits().is_empty(), "of the client nothing is waited for but its end");
    assert!(served.connection.take_device().is_none());

    let mut served = Served::negotiated(false);
    served.send_all(&read_keys(), &[]);
    assert!(waits(&served.handle()));
    drop(served.connection.take_device());
    assert_eq!(served.connection.device_closed(), EventFlags::IN);
    assert!(served.connection.closes_at_once());
}

#[test]
fn an_event_while_that_is_being_closed_is_the_end_of_the_connection() {
    let mut served = Served::negotiated(false);
    served.send_all(&read_keys(), &[]);
    assert!(waits(&served.handle()));
    let _device = served.connection.take_device();
    assert!(matches!(served.handle(), Next::Close(Reason::Finished)));
}

#[test]
fn a_socket_with_something_in_it_does_not_close_at_once() {
    let served = Served::negotiated(true);
    assert!(served.connection.closes_at_once());
    let served = Served::negotiated(true);
    served.send_all(&read_keys(), &[]);
    assert!(!served.connection.closes_at_once());
}

#[test]
fn two_servers_in_a_process_count_what_is_their_own() {
    let (mut one, other) = (Served::negotiated(true), Served::negotiated(true));
    one.send_all(&read_keys(), &[]);
    assert!(waits(&one.handle()));
    one.client.write_all(&[0; 7]).unwrap();
    assert!(waits(&one.handle()));
    one.client.shutdown(std::net::Shutdown::Write).unwrap();
    let Next::Close(reason) = one.handle() else { panic!("it is in the middle of a request") };
    one.connection.log_close(&one.shared, &reason);
    let counted = |served: &Served| {
        let metrics = &served.shared.metrics;
        let requests: u64 = metrics.requests().iter().map(pr_control::Requests::count).sum();
        (requests, metrics.violations().iter().map(|rule| rule.count).sum::<u64>())
    };
    assert_eq!((counted(&one), counted(&other)), ((1, 1), (0, 0)));
}

#[test]
fn two_servers_in_a_process_limit_their_messages_each_for_itself() {
    let log = Captured::new();
    let [mut one, mut other] = [(); 2].map(|()| Served::negotiated(true));
    for served in [&mut one, &mut other] {
        served.shared.quiet = false;
    }
    let close = |served: &Served| {
        log.during(|| served.connection.log_close(&served.shared, &Reason::Overdue));
        log.count("closing the connection of client 1 of user 107")
    };
    let said = (0..100).map(|_| close(&one)).last();
    assert!(said.is_some_and(|said| said < 100), "{said:?}");
    assert_eq!(Some(close(&other)), said.map(|said| said + 1));
}
