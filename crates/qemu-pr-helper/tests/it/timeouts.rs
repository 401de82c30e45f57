//! Nothing waits for ever: W13.

use std::os::fd::AsFd;
use std::time::Duration;

use pr_lab::prelude::*;
use rustix::process::Signal;

use crate::better::{better, bound};

/// How a client begins something that it never finishes.
type Beginning = (&'static str, fn(&Raw));

/// The helper with timeouts of a second, as far as it knows timeouts.
fn hasty(bed: &Bed) -> Launch {
    bed.launch().ours(["--request-timeout", "1"])
}

#[test]
fn w13_half_a_request_does_not_hold_a_connection_for_ever() {
    let beginnings: [Beginning; 4] = [
        ("half the features", |client| client.send(&[0; 2])),
        ("half a CDB", |client| {
            client.send(&[0; 4]);
            client.send_with(&Raw::cdb_in(0, 8)[..8], &[null().as_fd()]);
        }),
        ("no parameter list", |client| {
            client.send(&[0; 4]);
            client.send_with(&Raw::cdb_out(0, 24), &[null().as_fd()]);
        }),
        ("half a parameter list", |client| {
            client.send(&[0; 4]);
            client.send_with(&Raw::cdb_out(0, 24), &[null().as_fd()]);
            client.send(&[0; 12]);
        }),
    ];
    better("is held", |bed| {
        let helper = hasty(bed).start();
        let idle = helper.settled_descriptors();
        let clients = beginnings.map(|(what, begin)| {
            let client = Raw::connect(helper.socket());
            client.read(4);
            begin(&client);
            (what, client)
        });
        for (what, client) in &clients {
            assert!(client.closes_within(bound(bed)), "{what} is held");
        }
        helper.await_descriptors(idle);
    });
}

#[test]
fn w13_dribbling_does_not_extend_a_request() {
    better("is held", |bed| {
        let helper = hasty(bed).start();
        let client = helper.connect();
        client.send_with(&Raw::cdb_out(0, 8192), &[null().as_fd()]);
        let closed = within(bound(bed), || {
            _ = client.try_send_with(&[0], &[]);
            client.closes_within(Duration::from_millis(50))
        });
        assert!(closed, "a dribbled parameter list is held");
    });
}

#[test]
fn w13_a_client_that_never_reads_is_given_up() {
    better("is held", |bed| {
        let helper = hasty(bed).device(|_| Answer::good(&[1; 8192]).into()).start();
        let idle = helper.settled_descriptors();
        let greedy = helper.connect();
        let device = null();
        for _ in 0..60 {
            if greedy.try_send_with(&Raw::cdb_in(0, 8192), &[device.as_fd()]).is_err() {
                break;
            }
        }
        let given_up = within(bound(bed), || helper.process().descriptors().len() == idle);
        assert!(given_up, "the connection is held");
        helper.connect().expect_served();
    });
}

#[test]
fn w13_a_hung_command_does_not_keep_the_helper_from_ending() {
    better("runs on", |bed| {
        let helper = bed.launch().ours(["--drain-timeout", "1"]).device(|_| Outcome::Hang).start();
        let client = helper.connect();
        client.send_with(&Raw::cdb_in(0, 8), &[null().as_fd()]);
        helper.device().await_count(1);
        helper.signal(Signal::TERM);
        assert!(helper.ends_within(bound(bed)), "runs on");
        helper.finish().expect_refusal(&["qemu-pr-helper: "]);
        assert!(!bed.socket().exists());
    });
}
