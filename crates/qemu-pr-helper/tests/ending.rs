//! The end of the program, as QEMU sees it: a command that could be sent is answered. One that could not is sent anew,
//! over a new connection, and no guest ever knows.

#![expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use pr_lab::prelude::*;
use rustix::process::Signal;

const OURS: &str = env!("CARGO_BIN_EXE_qemu-pr-helper");

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
