//! What others do to the directories, sockets and files of the daemon, and to its start and its end.

use std::{
    fs,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use pr_lab::prelude::*;
use rustix::process::Signal;

const OURS: &str = env!("CARGO_BIN_EXE_qemu-pr-helper");

fn ours(test: impl Fn(&Bed)) {
    pr_lab::ours(OURS, test);
}

/// A helper that reads one request a second of a client.
fn limited(bed: &Bed) -> Launch {
    let path = bed.path("settings.toml");
    fs::write(&path, "[limits]\nrequests-per-second = 1\nburst = 2\n").unwrap();
    bed.launch().arg("--config").arg(path).device(|_| Answer::good(&[7; 8]).into())
}

#[test]
fn what_a_limited_client_has_sent_is_answered_at_the_end() {
    ours(|bed| {
        let helper = limited(bed).start();
        let client = helper.connect();
        // The greeting and this are what may come at once.
        assert_eq!(client.pr_in(null(), 0, 8).payload, [7; 8]);
        for _ in 0..6 {
            client.send_with(&Raw::cdb_in(0, 8), &[null().as_fd()]);
        }
        helper.signal(Signal::TERM);
        for _ in 0..6 {
            assert_eq!(client.reply().payload, [7; 8]);
        }
        client.expect_closed();
        helper.finish().expect_silent_success();
    });
}

#[test]
fn an_idle_client_over_its_rate_is_let_go_of_and_not_left_behind() {
    ours(|bed| {
        let helper = limited(bed).args(["-T", "pr_helper_close"]).start();
        let client = helper.connect();
        assert_eq!(client.pr_in(null(), 0, 8).payload, [7; 8]);
        let others: Vec<_> = (0..8).map(|_| helper.connect()).collect();
        let ended = helper.end(Signal::TERM);
        assert_eq!(ended.code(), 0);
        let closed = ended.stderr.lines().filter(|line| line.contains("pr_helper_close")).count();
        // The first one only looked whether the helper is up.
        assert_eq!(closed, 2 + others.len(), "{}", ended.stderr);
    });
}

#[test]
fn an_end_with_a_failure_has_a_word_about_it() {
    ours(|bed| {
        let helper = bed.launch().args(["--drain-timeout", "0.5", "-T", "pr_helper_policy"]).start();
        let client = helper.connect();
        // It is closed in the helper, and that takes as long as its sender likes.
        let (ours, theirs) = lingering();
        helper.signal(Signal::STOP);
        client.send_with(&Raw::cdb_in(0, 8), &[ours.as_fd()]);
        drop(ours);
        helper.signal(Signal::CONT);
        helper.await_stderr("pr_helper_policy");
        helper.signal(Signal::TERM);
        let ended = helper.finish();
        drop(theirs);
        assert!(ended.code() == 0 || ended.stderr.contains("giving up after"), "{}: {:?}", ended.code(), ended.stderr);
    });
}

/// A TCP connection that whoever closes it last waits for, and its other end, which reads nothing.
fn lingering() -> (OwnedFd, OwnedFd) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    rustix::net::sockopt::set_socket_linger(&ours, Some(Duration::from_secs(10))).unwrap();
    ours.set_nonblocking(true).unwrap();
    while std::io::Write::write(&mut &ours, &[0; 4096]).is_ok() {}
    ours.set_nonblocking(false).unwrap();
    (ours.into(), theirs.into())
}
