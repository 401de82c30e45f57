//! The end of the program, as QEMU sees it: a command that could be sent is answered. One that could not is sent anew,
//! over a new connection, and no guest ever knows.

use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use pr_lab::prelude::*;
use rustix::process::Signal;

use crate::OURS;

#[test]
fn of_clients_that_never_pause_none_loses_a_command_that_it_has_sent() {
    pr_lab::ours(OURS, |bed| {
        for _ in 0..20 {
            let helper = bed.launch().device(|_| Answer::good(&[7; 8]).into()).start();
            let clients: Vec<Raw> = (0..8).map(|_| helper.connect()).collect();
            let answered = AtomicUsize::new(0);
            thread::scope(|scope| {
                for client in &clients {
                    scope.spawn(|| {
                        let device = null();
                        while client.try_send_with(&Raw::cdb_in(0, 8), &[device.as_fd()]).is_ok() {
                            assert_eq!(client.reply().payload, [7; 8]);
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
                eventually("all are busy", || answered.load(Ordering::Relaxed) > 100);
                helper.end(Signal::TERM).expect_silent_success();
            });
        }
    });
}

#[test]
fn a_request_that_is_on_its_way_when_the_end_begins_is_waited_for_and_answered() {
    pr_lab::ours(OURS, |bed| {
        let helper = bed.launch().device(|_| Answer::good(&[]).into()).start();
        let client = helper.connect();
        client.send_with(&Raw::cdb_out(0, 24), &[null().as_fd()]);
        // So that the helper has taken the CDB.
        helper.connect().pr_in(null(), 0, 0).expect_bare(0);
        helper.signal(Signal::TERM);
        eventually("the end has begun", || !bed.socket().exists());
        client.send(&[0; 24]);
        client.reply().expect_bare(0);
        client.expect_closed();
        helper.finish().expect_silent_success();
    });
}

#[test]
fn behind_systemds_socket_a_restart_loses_no_command_and_turns_nobody_away() {
    pr_lab::ours(OURS, |bed| {
        let listener = UnixListener::bind(bed.socket()).unwrap();
        let launch = || {
            let launch = bed.launch().bare().activated("1", ListenPid::Own).fd(listener.try_clone().unwrap(), 3);
            launch.device(|_| Answer::good(&[7; 8]).into()).spawn()
        };
        let first = launch();
        let client = Raw::greeted(&bed.socket());
        assert_eq!(client.pr_in(null(), 0, 8).payload, [7; 8]);
        first.end(Signal::TERM).expect_silent_success();
        // QEMU learns of it before any of its next command is sent, and connects again: to nobody yet.
        let sent = client.try_send_with(&Raw::cdb_in(0, 8), &[null().as_fd()]);
        assert_eq!(sent.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
        let again = Raw::connect(&bed.socket());
        let second = launch();
        again.hello();
        assert_eq!(again.pr_in(null(), 0, 8).payload, [7; 8]);
        second.end(Signal::TERM).expect_silent_success();
        assert!(bed.socket().exists(), "it is systemd's");
    });
}
