//! The conversation, kept and broken: the behaviour that both helpers share.
//!
//! "Closed" is the end of the stream without a reply byte, with other clients served on and no descriptor kept.

use std::os::fd::AsFd;
use std::time::Duration;

use pr_lab::prelude::*;

use crate::OURS;

/// Long enough for a helper that is wrong to answer.

#[test]
fn the_helper_speaks_first() {
    both(OURS, |bed| {
        let helper = bed.start();
        assert_eq!(Raw::connect(helper.socket()).read(4), [0; 4]);
    });
}

#[test]
fn a_client_may_send_everything_before_it_reads_the_greeting() {
    both(OURS, |bed| {
        let helper = bed.start();
        let client = Raw::connect(helper.socket());
        client.send(&[0; 4]);
        client.send_with(&Raw::cdb_in(0, 8), &[null().as_fd()]);
        assert_eq!(client.read(4), [0; 4]);
        client.reply().expect_check(0xb, 0, 6);
    });
}

#[test]
fn feature_bits_are_refused() {
    both(OURS, |bed| {
        for features in [[0, 0, 0, 1], [1, 0, 0, 0], [0x80, 0, 0, 0], [0xff; 4]] {
            bed.closed(|client| {
                client.read(4);
                client.send(&features);
            });
        }
    });
}

#[test]
fn the_end_of_the_stream_inside_the_features_closes() {
    both(OURS, |bed| {
        for count in 0..4 {
            bed.closed(|client| {
                client.read(4);
                client.send(&[0; 4][..count]);
                client.half_close();
            });
        }
    });
}

#[test]
fn a_cdb_may_come_a_byte_at_a_time() {
    both(OURS, |bed| {
        let helper = bed.start();
        let client = helper.connect();
        let device = null();
        for at in [0, 1, 8, 15] {
            client.send_bytewise(&Raw::cdb_in(0, 8), &[device.as_fd()], at);
            client.reply().expect_check(0xb, 0, 6);
        }
    });
}

#[test]
fn a_parameter_list_may_come_a_byte_at_a_time() {
    both(OURS, |bed| {
        let helper = bed.launch().device(|_| Answer::good(&[]).into()).start();
        let client = helper.connect();
        let parameters: Vec<u8> = (0..24).collect();
        client.send_with(&Raw::cdb_out(0, 24), &[null().as_fd()]);
        client.send_bytewise(&parameters, &[], usize::MAX);
        client.reply().expect_bare(0);
        assert_eq!(helper.device().last().data_out, parameters);
    });
}

#[test]
fn features_cdb_and_parameter_list_may_come_in_one_stream() {
    both(OURS, |bed| {
        let helper = bed.launch().device(|_| Answer::good(&[]).into()).start();
        let client = Raw::connect(helper.socket());
        client.send(&[0; 4]);
        let mut message = Raw::cdb_out(6, 24).to_vec();
        message.extend([0xee; 24]);
        client.send_with(&message, &[null().as_fd()]);
        client.read(4);
        client.reply().expect_bare(0);
        assert_eq!(helper.device().last().data_out, [0xee; 24]);
    });
}

#[test]
fn pipelined_requests_are_answered_in_order_one_at_a_time() {
    both(OURS, |bed| {
        let helper = bed.launch().device(|_| Outcome::Hang).start();
        let client = helper.connect();
        let device = null();
        for action in 0..8 {
            client.send_with(&Raw::cdb_in(action, 8), &[device.as_fd()]);
        }
        for action in 0..8 {
            helper.device().await_count(usize::from(action) + 1);
            client.expect_silence(Duration::from_millis(20));
            assert_eq!(helper.device().count(), usize::from(action) + 1, "one at a time");
            assert_eq!(helper.device().last().cdb[1], action, "in order");
            helper.device().release(Answer::good(&[action; 8]));
            assert_eq!(client.reply().payload, [action; 8]);
        }
    });
}

#[test]
fn every_other_opcode_closes_and_says_so() {
    both(OURS, |bed| {
        let helper = bed.start();
        let idle = helper.settled_descriptors();
        let device = null();
        for opcode in (0..=0xff).filter(|opcode| ![PR_IN, PR_OUT].contains(opcode)) {
            let client = helper.connect();
            let mut cdb = Raw::cdb_in(0, 8);
            cdb[0] = opcode;
            client.send_with(&cdb, &[device.as_fd()]);
            client.expect_closed();
        }
        helper.await_stderr("qemu-pr-helper: ");
        helper.await_descriptors(idle);
    });
}

#[test]
fn pr_in_takes_its_length_from_bytes_7_and_8_alone() {
    both(OURS, |bed| {
        let helper = bed.launch().device(|_| Answer::good(&[1; 64]).into()).start();
        let mut cdb = Raw::cdb_in(0, 16);
        (cdb[5], cdb[6]) = (0xff, 0xff);
        let client = helper.connect();
        client.send_with(&cdb, &[null().as_fd()]);
        assert_eq!(client.reply().payload, [1; 16]);
    });
}

#[test]
fn lengths_above_8192_close() {
    both(OURS, |bed| {
        for length in [8193_u16, 0x4000, 0xffff] {
            bed.closed(|client| {
                client.hello();
                client.send_with(&Raw::cdb_in(0, length), &[null().as_fd()]);
            });
            bed.closed(|client| {
                client.hello();
                client.send_with(&Raw::cdb_out(0, length.into()), &[null().as_fd()]);
            });
        }
    });
}

#[test]
fn the_end_of_the_stream_inside_a_cdb_closes() {
    both(OURS, |bed| {
        for count in [1, 8, 15] {
            bed.closed(|client| {
                client.hello();
                client.send_with(&Raw::cdb_in(0, 8)[..count], &[null().as_fd()]);
                client.half_close();
            });
        }
    });
}

#[test]
fn the_end_of_the_stream_inside_a_parameter_list_closes_and_says_so() {
    both(OURS, |bed| {
        let helper = bed.closed(|client| {
            client.hello();
            client.send_with(&Raw::cdb_out(0, 24), &[null().as_fd()]);
            client.send(&[0; 23]);
            client.half_close();
        });
        helper.await_stderr("qemu-pr-helper: ");
    });
}

#[test]
fn a_half_closed_client_gets_all_its_answers_and_then_the_end() {
    both(OURS, |bed| {
        let helper = bed.launch().device(|command| Answer::good(&[command.cdb[1]; 8]).into()).start();
        let client = helper.connect();
        let device = null();
        for action in 0..4 {
            client.send_with(&Raw::cdb_in(action, 8), &[device.as_fd()]);
        }
        client.half_close();
        for action in 0..4 {
            assert_eq!(client.reply().payload, [action; 8]);
        }
        client.expect_closed();
    });
}

#[test]
fn a_client_that_leaves_while_its_command_runs_harms_nobody() {
    both(OURS, |bed| {
        let helper = bed.launch().device(|_| Outcome::Hang).start();
        let other = helper.connect();
        let idle = helper.settled_descriptors();
        for count in 1..=3 {
            let client = helper.connect();
            client.send_with(&Raw::cdb_in(0, 8), &[null().as_fd()]);
            helper.device().await_count(count);
            drop(client);
            helper.device().release(Answer::good(&[0; 8]));
        }
        helper.await_descriptors(idle);
        helper.device().behave(|_| Answer::good(&[1; 8]).into());
        other.expect_served();
    });
}

#[test]
fn a_client_that_never_reads_holds_up_only_itself() {
    both(OURS, |bed| {
        let helper = bed.launch().device(|_| Answer::good(&[1; 8192]).into()).start();
        let greedy = crate::client_that_never_reads(&helper);
        assert!(helper.device().count() < 60, "replies are not stored without bound");
        helper.connect().expect_served();
        for _ in 0..60 {
            assert_eq!(greedy.reply().payload, [1; 8192]);
        }
    });
}

#[test]
fn a_connection_serves_many_requests_of_both_kinds() {
    both(OURS, |bed| {
        let helper = bed.launch().device(|_| Answer::good(&[2; 8]).into()).start();
        let client = helper.connect();
        for round in 0..200_u8 {
            assert_eq!(client.pr_in(null(), 0, 8).payload, [2; 8]);
            client.pr_out(null(), 0, &[round; 24]).expect_bare(0);
        }
        assert_eq!(helper.device().count(), 400);
    });
}

#[test]
fn garbage_closes_only_the_connection_it_came_on() {
    both(OURS, |bed| {
        let helper = bed.start();
        let idle = helper.settled_descriptors();
        let other = helper.connect();
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..100 {
            let bytes: Vec<u8> = std::iter::repeat_with(|| {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                seed.to_le_bytes()[4]
            })
            .take(64)
            .collect();
            let client = helper.connect();
            client.send_with(&bytes, &[null().as_fd()]);
            client.half_close();
            client.expect_closed();
        }
        other.expect_served();
        drop(other);
        helper.await_descriptors(idle);
    });
}
