//! Signals: the behaviour that both helpers share.

use std::os::fd::AsFd;
use std::time::Duration;

use pr_lab::prelude::*;
use rustix::process::Signal;

use crate::OURS;

#[test]
fn an_idle_helper_ends_at_once() {
    both(OURS, |bed| {
        for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
            bed.start().end(signal).expect_silent_success();
        }
    });
}

#[test]
fn clients_that_are_not_being_served_see_the_end_of_the_stream() {
    both(OURS, |bed| {
        let helper = bed.launch().device(|_| Answer::good(&[0; 8192]).into()).start();
        let silent = Raw::connect(helper.socket());
        silent.read(4);
        let idle = helper.connect();
        let served = helper.connect();
        served.expect_served_with(&[0; 8]);
        let half_a_cdb = helper.connect();
        half_a_cdb.send_with(&Raw::cdb_in(0, 8)[..7], &[null().as_fd()]);
        let half_a_list = helper.connect();
        half_a_list.send_with(&Raw::cdb_out(0, 24), &[null().as_fd()]);
        half_a_list.send(&[0; 23]);
        // So that the helper has taken all of it.
        helper.connect().expect_served_with(&[0; 8]);
        helper.end(Signal::TERM).expect_silent_success();
        for client in [silent, idle, served, half_a_cdb, half_a_list] {
            client.expect_closed();
        }
    });
}

#[test]
fn a_client_that_never_reads_does_not_hold_up_the_end() {
    both(OURS, |bed| {
        let helper = bed.launch().device(|_| Answer::good(&[1; 8192]).into()).start();
        let _greedy = crate::client_that_never_reads(&helper);
        assert_eq!(helper.end(Signal::TERM).code(), 0);
        assert!(!bed.socket().exists());
    });
}

#[test]
fn a_running_command_is_finished_and_answered_before_the_end() {
    both(OURS, |bed| {
        let helper = bed.launch().device(|_| Outcome::Hang).start();
        let client = helper.connect();
        client.send_with(&Raw::cdb_out(0, 24), &[null().as_fd()]);
        client.send(&[0; 24]);
        helper.device().await_count(1);
        helper.signal(Signal::TERM);
        eventually("the socket is removed", || !bed.socket().exists());
        assert!(pr_lab::connect_stream(&bed.socket()).is_err());
        helper.signal(Signal::TERM);
        helper.signal(Signal::HUP);
        client.expect_silence(Duration::from_millis(150));
        assert!(helper.process().is_alive(), "the command is waited for");
        helper.device().release(Answer::check_fixed(6, 0x2a, 3));
        client.reply().expect_check(6, 0x2a, 3);
        client.expect_closed();
        helper.finish().expect_silent_success();
    });
}

#[test]
fn requests_behind_the_running_command_are_not_begun_any_more() {
    both(OURS, |bed| {
        let helper = bed.launch().device(|_| Outcome::Hang).start();
        let client = helper.connect();
        let device = null();
        for action in 0..3 {
            client.send_with(&Raw::cdb_in(action, 8), &[device.as_fd()]);
        }
        helper.device().await_count(1);
        helper.signal(Signal::TERM);
        eventually("the socket is removed", || !bed.socket().exists());
        helper.device().release(Answer::good(&[1; 8]));
        assert_eq!(client.reply().payload, [1; 8]);
        client.expect_closed();
        let device = helper.device().clone();
        helper.finish().expect_silent_success();
        assert_eq!(device.count(), 1);
    });
}

#[test]
fn signals_that_mean_nothing_to_it_are_no_reason_to_end() {
    both(OURS, |bed| {
        let helper = bed.start();
        for signal in
            [Signal::PIPE, Signal::PIPE, Signal::USR1, Signal::ALARM, Signal::IO, Signal::CHILD, Signal::WINCH]
        {
            helper.signal(signal);
        }
        helper.connect().expect_served();
        assert!(helper.process().is_alive());
    });
}

#[test]
fn signals_that_ask_for_a_crash_end_it_at_once() {
    both(OURS, |bed| {
        for (signal, code) in [(Signal::USR2, -12), (Signal::QUIT, -3), (Signal::ABORT, -6)] {
            let helper = bed.launch().limit(rustix::process::Resource::Core, 0).start();
            assert_eq!(helper.end(signal).code(), code);
            assert!(bed.socket().exists(), "there was no time to remove it");
        }
    });
}

#[test]
fn a_killed_helper_leaves_no_other_process() {
    both(OURS, |bed| {
        let helper = bed.start();
        helper.connect().expect_served();
        assert_eq!(helper.end(Signal::KILL).code(), -9);
        eventually("every process of the helper ends", || bed.processes().iter().all(|process| !process.is_alive()));
    });
}

#[test]
fn an_ended_helper_leaves_no_other_process() {
    both(OURS, |bed| {
        let helper = bed.start();
        helper.connect().expect_served();
        helper.end(Signal::TERM).expect_silent_success();
        eventually("every process of the helper ends", || bed.processes().iter().all(|process| !process.is_alive()));
    });
}
