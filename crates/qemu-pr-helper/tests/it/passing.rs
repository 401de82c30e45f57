//! Which descriptor serves which request: the behaviour that both helpers share.
//!
//! "Closed" is the end of the stream without a reply byte, with other clients served on and no descriptor kept.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use pr_lab::prelude::*;

use crate::OURS;

/// Long enough for a helper that is wrong to answer.
const QUIET: Duration = Duration::from_millis(150);

/// `n` times the same descriptor.
fn times(file: &File, n: usize) -> Vec<BorrowedFd<'_>> {
    vec![file.as_fd(); n]
}

#[test]
fn descriptors_on_the_features_are_dropped_and_do_not_count() {
    both(OURS, |bed| {
        let helper = bed.start();
        let idle = helper.settled_descriptors();
        for count in [1, 2, 16, 253] {
            let client = Raw::connect(helper.socket());
            client.read(4);
            client.send_with(&[0; 4], &times(&null(), count));
            client.expect_served();
            helper.await_descriptors(idle + 1);
            drop(client);
            helper.await_descriptors(idle);
        }
    });
}

#[test]
fn a_descriptor_on_the_features_does_not_serve_the_cdb_in_the_same_message() {
    both(OURS, |bed| {
        bed.closed(|client| {
            client.read(4);
            let mut message = vec![0; 4];
            message.extend(Raw::cdb_in(0, 8));
            client.send_with(&message, &[null().as_fd()]);
        });
    });
}

#[test]
fn a_cdb_without_a_descriptor_closes_after_all_its_bytes_and_says_why() {
    both(OURS, |bed| {
        let helper = bed.closed(|client| {
            client.hello();
            client.send(&Raw::cdb_in(0, 8));
        });
        helper.await_stderr("file descriptor");
        let client = helper.connect();
        client.send(&Raw::cdb_in(0, 8)[..15]);
        client.expect_silence(QUIET);
        client.send(&[0]);
        client.expect_closed();
    });
}

#[test]
fn the_descriptor_may_come_with_any_byte_of_the_cdb() {
    both(OURS, |bed| {
        let helper = bed.start();
        let client = helper.connect();
        let cdb = Raw::cdb_in(0, 8);
        let device = null();
        for at in 0..16 {
            client.send(&cdb[..at]);
            client.send_with(&cdb[at..], &[device.as_fd()]);
            client.reply().expect_check(0xb, 0, 6);
        }
    });
}

#[test]
fn more_than_one_descriptor_on_a_cdb_closes() {
    both(OURS, |bed| {
        for count in [2, 3, 16, 17, 253] {
            bed.closed(|client| {
                client.hello();
                client.send_with(&Raw::cdb_in(0, 8), &times(&null(), count));
            });
        }
    });
}

#[test]
fn a_second_descriptor_in_a_later_part_of_the_cdb_closes() {
    both(OURS, |bed| {
        bed.closed(|client| {
            client.hello();
            let cdb = Raw::cdb_in(0, 8);
            client.send_with(&cdb[..8], &[null().as_fd()]);
            client.send_with(&cdb[8..], &[null().as_fd()]);
        });
    });
}

#[test]
fn a_descriptor_on_the_parameter_list_does_not_serve_its_cdb() {
    both(OURS, |bed| {
        bed.closed(|client| {
            client.hello();
            client.send(&Raw::cdb_out(0, 24));
            // Whether the helper has hung up by now does not matter.
            _ = client.try_send_with(&[0; 24], &[null().as_fd()]);
        });
    });
}

#[test]
fn extra_descriptors_on_a_parameter_list_are_dropped_and_the_conversation_goes_on() {
    both(OURS, |bed| {
        let helper = bed.start();
        let idle = helper.settled_descriptors();
        let client = helper.connect();
        let device = null();
        for count in [1, 2, 16, 253] {
            client.send_with(&Raw::cdb_out(0, 24), &[device.as_fd()]);
            // Apart, so that the second message is not taken together with the first.
            std::thread::sleep(Duration::from_millis(20));
            client.send_with(&[0; 24], &times(&device, count));
            client.reply().expect_check(0xb, 0, 6);
        }
        client.expect_served();
        helper.await_descriptors(idle + 1);
    });
}

#[test]
fn of_two_cdbs_in_a_message_with_one_descriptor_the_first_is_answered_and_the_second_closes() {
    both(OURS, |bed| {
        bed.closed(|client| {
            client.hello();
            client.send_with(&Raw::cdb_in(0, 8).repeat(2), &[null().as_fd()]);
            client.reply().expect_check(0xb, 0, 6);
        });
    });
}

#[test]
fn two_cdbs_in_a_message_with_two_descriptors_close() {
    both(OURS, |bed| {
        bed.closed(|client| {
            client.hello();
            client.send_with(&Raw::cdb_in(0, 8).repeat(2), &times(&null(), 2));
        });
    });
}
