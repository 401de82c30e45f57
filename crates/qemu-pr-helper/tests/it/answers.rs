//! What a client is told: W7, W8, and the `SG_IO` fields.

use std::os::fd::AsFd;

use pr_lab::prelude::*;
use rustix::fs::{Mode, OFlags, open};

use crate::better::better;

/// Sense key, additional sense code and qualifier.
type Sense = (u8, u8, u8);

/// Host bytes of which the original knows nothing, and what they mean: a sense, or BUSY.
const HOST_BYTES: [(u16, Option<Sense>); 14] = [
    (0x06, Some((0xb, 0x47, 0x00))),
    (0x07, Some((0xb, 0x08, 0x00))),
    (0x09, Some((0xb, 0x08, 0x00))),
    (0x0a, Some((0xb, 0x08, 0x00))),
    (0x0b, None),
    (0x0c, None),
    (0x0d, None),
    (0x0f, Some((0xb, 0x29, 0x07))),
    (0x14, Some((0xb, 0x29, 0x07))),
    (0x15, Some((0xb, 0x08, 0x00))),
    (0x16, Some((0xb, 0x08, 0x00))),
    (0x20, Some((0xb, 0x08, 0x00))),
    (0x80, Some((0xb, 0x08, 0x00))),
    (0xff, Some((0xb, 0x08, 0x00))),
];

#[test]
fn w7_a_transport_failure_is_never_reported_as_success() {
    for (host, meaning) in HOST_BYTES {
        better("reported as GOOD", |bed| {
            let helper = bed.launch().device(move |_| Answer::host(host, 0).into()).start();
            let client = helper.connect();
            for reply in [client.pr_in(null(), 0, 8), client.pr_out(null(), 0, &[0; 24])] {
                assert_ne!(reply.status, 0, "host byte {host:#x} is reported as GOOD");
                match meaning {
                    Some((key, code, qualifier)) => reply.expect_check(key, code, qualifier),
                    None => reply.expect_bare(8),
                }
            }
        });
    }
}

#[test]
fn w7_a_reservation_conflict_is_one_whatever_the_host_byte_says() {
    for host in 0x01..=0x16 {
        // The original makes this one a conflict for another reason.
        if host == 0x11 {
            continue;
        }
        better("", |bed| {
            let helper = bed.launch().device(move |_| Answer::host(host, 0x18).into()).start();
            let client = helper.connect();
            client.pr_out(null(), 0, &[0; 24]).expect_bare(0x18);
            client.pr_in(null(), 0, 8).expect_bare(0x18);
        });
    }
}

#[test]
fn w7_an_adapters_error_with_a_status_keeps_the_status() {
    better("reported as GOOD", |bed| {
        let sense = Answer::check_fixed(6, 0x2a, 3);
        let helper = bed.launch().device(move |_| Answer { host_status: 7, ..sense.clone() }.into()).start();
        let reply = helper.connect().pr_out(null(), 0, &[0; 24]);
        assert_ne!(reply.status, 0, "reported as GOOD");
        reply.expect_check(6, 0x2a, 3);
        helper.device().behave(|_| Answer::host(7, 0x28).into());
        helper.connect().pr_out(null(), 0, &[0; 24]).expect_bare(0x28);
    });
}

#[test]
fn w7_an_unknown_driver_byte_is_not_success() {
    better("left: (0, 0", |bed| {
        let answer = Answer { driver_status: 1, ..Answer::default() };
        let helper = bed.launch().device(move |_| answer.clone().into()).start();
        helper.connect().pr_out(null(), 0, &[0; 24]).expect_bare(8);
    });
}

/// A device whose sense fills all 96 bytes.
fn talkative() -> Outcome {
    let mut sense = vec![0xaa; 96];
    sense[0] = 0x70;
    Answer::check(&sense).into()
}

#[test]
fn w8_sense_that_the_helper_makes_holds_nothing_of_an_earlier_command() {
    better("fixed format sense", |bed| {
        let helper = bed.launch().device(|_| talkative()).start();
        let client = helper.connect();
        let read_only = open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        for _ in 0..8 {
            client.pr_in(null(), 0, 8);
            client.pr_out(&read_only, 0, &[0; 24]).expect_check(5, 0x20, 0);
        }
    });
}

#[test]
fn w8_sense_of_a_transport_failure_holds_nothing_of_an_earlier_command() {
    better("fixed format sense", |bed| {
        let helper = bed.launch().device(|_| talkative()).start();
        let client = helper.connect();
        for _ in 0..8 {
            helper.device().behave(|_| Answer { sense: vec![0xaa; 96], ..Answer::host(1, 2) }.into());
            client.pr_out(null(), 0, &[0; 24]).expect_check(0xb, 5, 0);
            helper.device().behave(|_| Answer::host(1, 0).into());
            client.pr_out(null(), 0, &[0; 24]).expect_check(0xb, 5, 0);
        }
    });
}

#[test]
fn w8_only_the_sense_bytes_that_the_kernel_calls_valid_are_passed_on() {
    better("bytes beyond the valid sense", |bed| {
        let helper = bed.launch().device(|_| talkative()).start();
        let client = helper.connect();
        let mut short = Answer::check(&[0xaa; 96]);
        short.sense[0] = 0x70;
        short.sense_len = Some(18);
        helper.device().behave(move |_| short.clone().into());
        let reply = client.pr_in(null(), 0, 8);
        assert_eq!(reply.sense[1..18], [0xaa; 17]);
        assert_eq!(reply.sense[18..], [0; 78], "bytes beyond the valid sense");
    });
}

#[test]
fn w8_a_payload_that_the_device_did_not_write_is_zero() {
    better("somebody else's bytes", |bed| {
        let helper = bed.launch().device(|_| Answer { resid: Some(0), ..Answer::default() }.into()).start();
        for _ in 0..8 {
            let secretive = helper.connect();
            secretive.pr_out(null(), 0, &[0x5e; 8192]);
            drop(secretive);
            let reply = helper.connect().pr_in(null(), 0, 8192);
            assert!(!reply.payload.contains(&0x5e), "somebody else's bytes");
            assert!(reply.payload.iter().all(|byte| *byte == 0));
        }
    });
}

#[test]
fn a_command_gets_the_time_it_needs() {
    better("milliseconds", |bed| {
        let helper = bed.launch().device(|_| Answer::good(&[]).into()).start();
        let client = helper.connect();
        client.pr_in(null(), 0, 8);
        client.pr_out(null(), 0, &[0; 24]);
        client.pr_out(null(), 5, &[0; 24]);
        let times: Vec<_> = helper.device().seen().iter().map(|command| command.timeout_ms).collect();
        assert_eq!(times, [30_000, 30_000, 60_000], "milliseconds for PR IN, REGISTER, PREEMPT AND ABORT");
    });
}

#[test]
fn a_command_has_the_length_of_its_group_and_asks_for_no_more_than_the_client_did() {
    better("as the client asked", |bed| {
        let helper = bed.launch().device(|_| Answer::good(&[]).into()).start();
        let client = helper.connect();
        client.pr_in(null(), 0, 8);
        client.pr_in(null(), 0, 0);
        client.pr_out(null(), 0, &[]);
        client.pr_out(null(), 0, &[0; 24]);
        let seen = helper.device().seen();
        let fields = seen.iter().map(|command| (command.cdb.len(), command.direction, command.dxfer_len));
        let expected = [
            (10, Direction::FromDevice, 8),
            (10, Direction::None, 0),
            (10, Direction::None, 0),
            (10, Direction::ToDevice, 24),
        ];
        assert_eq!(fields.collect::<Vec<_>>(), expected, "as the client asked");
    });
}

#[test]
fn pr_out_with_a_length_beyond_bytes_7_and_8_is_refused() {
    better("answered instead of hanging up", |bed| {
        let helper = bed.launch().device(|_| Answer::good(&[]).into()).start();
        for bytes in [[0, 1], [1, 0], [0xff, 0xff]] {
            let client = helper.connect();
            let mut cdb = Raw::cdb_out(0, 24);
            (cdb[5], cdb[6]) = (bytes[0], bytes[1]);
            client.send_with(&cdb, &[null().as_fd()]);
            _ = client.try_send_with(&[0; 24], &[]);
            client.expect_closed();
        }
        assert_eq!(helper.device().count(), 0);
    });
}

#[test]
fn the_flags_of_the_clients_open_file_stay_as_they_are() {
    better("O_NONBLOCK is gone", |bed| {
        let helper = bed.start();
        let device = open("/dev/null", OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).unwrap();
        helper.connect().pr_in(&device, 0, 8);
        let flags = rustix::fs::fcntl_getfl(&device).unwrap();
        assert!(flags.contains(OFlags::NONBLOCK), "O_NONBLOCK is gone from the guest's own open file");
    });
}
