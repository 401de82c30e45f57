//! After much work, good and bad, the helper is as small as before.

use pr_lab::prelude::*;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::OURS;

/// What the allocator may keep for the next time.
const MARGIN_KB: u64 = 512;

/// Requests of both kinds on one connection.
fn requests(helper: &Helper, count: usize) {
    let client = helper.connect();
    for _ in 0..count / 2 {
        client.pr_in(null(), 0, 8192).expect_check(0xb, 0, 6);
        client.pr_out(null(), 0, &[1; 24]).expect_check(0xb, 0, 6);
    }
}

/// Clients that break the protocol, each in one of four ways.
fn violations(helper: &Helper, count: usize) {
    let device = null();
    let fd = std::os::fd::AsFd::as_fd(&device);
    for index in 0..count {
        let client = helper.connect();
        match index % 4 {
            0 => client.send(&Raw::cdb_in(0, 8)),
            1 => client.send_with(&[0x12; 16], &[fd]),
            2 => client.send_with(&Raw::cdb_in(0, 8), &[fd; 64]),
            _ => {
                client.send_with(&Raw::cdb_out(0, 8192), &[fd]);
                client.half_close();
            }
        }
        client.expect_closed();
    }
}

/// Clients that only connect.
fn idle(helper: &Helper, count: usize) {
    let clients: Vec<_> = (0..count).map(|_| helper.connect()).collect();
    clients[count - 1].expect_served();
}

#[test]
fn requests_violations_and_idle_connections_leave_nothing_behind() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    pr_lab::ours(OURS, |bed| {
        // So many that one process may have a thousand of them.
        let helper = bed.launch().args(["--max-connections", "2200"]).start();
        // Everything is used once as far as it will be: places for connections, the queue of the log, threads.
        requests(&helper, 1_000);
        violations(&helper, 400);
        idle(&helper, 1_000);
        let descriptors = helper.settled_descriptors();
        let memory = helper.process().resident_kb();

        requests(&helper, 10_000);
        violations(&helper, 4_000);
        idle(&helper, 1_000);

        helper.await_descriptors(descriptors);
        let grown = || helper.process().resident_kb().saturating_sub(memory);
        assert!(within(PATIENCE, || grown() <= MARGIN_KB), "grown by {} kB", grown());
    });
}
