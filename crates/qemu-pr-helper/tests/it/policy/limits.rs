//! How many connections and commands.

use std::{io::Read, os::fd::AsFd};

use pr_lab::prelude::*;

use crate::policy::{keys, ours, refusal};

/// Whether a connection is served and not turned away.
fn is_greeted(client: &Raw) -> bool {
    let mut stream = client.stream();
    stream.read_exact(&mut [0; 4]).is_ok()
}

#[test]
fn a_user_and_a_process_have_so_many_connections_and_others_theirs() {
    ours(|bed| {
        let settings = "[limits]\nconnections-per-user = 5\nconnections-per-process = 3\n";
        let helper = bed.launch_with(settings).start();
        let over_limit = || bed.control().snapshot().expect("an answer").totals.over_limit;
        let first = Stranger::new(helper.socket(), 2001, 2001, 4);
        eventually("the fourth is turned away", || over_limit() == 1);
        first.clients()[3].expect_closed();
        let second = Stranger::new(helper.socket(), 2001, 2001, 3);
        eventually("the user's sixth is turned away", || over_limit() == 2);
        second.clients()[2].expect_closed();
        for client in first.clients()[..3].iter().chain(&second.clients()[..2]) {
            client.hello();
        }
        let other = Stranger::new(helper.socket(), 2002, 2001, 3);
        other.clients().iter().for_each(Raw::hello);
        assert_eq!(over_limit(), 2);
        // They are queued before they are written.
        for words in [
            "has 3 connections already (connections-per-process)",
            "user 2001 has 5 connections already (connections-per-user)",
        ] {
            eventually(words, || helper.stderr().contains(words));
        }

        drop(first);
        let again = || {
            let more = Stranger::new(helper.socket(), 2001, 2001, 1);
            is_greeted(more.client())
        };
        eventually("what is given back can be had again", again);
    });
}

#[test]
fn a_device_has_so_many_commands_and_others_theirs() {
    ours(|bed| {
        let settings = "[limits]\ncommands-per-device = 2\n";
        let device = |command: &Command| if command.is_out() { Outcome::Hang } else { Answer::good(&[0; 8]).into() };
        let helper = bed.launch_with(settings).device(device).start();
        let mut trail = bed.control().follow().expect("a trail");
        let hung = [helper.connect(), helper.connect()];
        for client in &hung {
            client.send_with(&Raw::cdb_out(3, 24), &[null().as_fd()]);
            client.send(&keys(1, 0));
        }
        helper.device().await_count(2);
        let client = helper.connect();
        client.pr_in(null(), 0, 8).expect_bare(8);
        let (action, reason) = refusal(&mut trail);
        assert_eq!(action, "READ KEYS");
        assert!(reason.contains("2 commands are under way on the device already"), "{reason}");
        assert_eq!(bed.refusals("busy-device"), 1);
        assert_eq!(helper.device().count(), 2, "the device has not heard of it");

        let zero = rustix::fs::open("/dev/zero", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty()).unwrap();
        assert_eq!(client.pr_in(zero, 0, 8).status, 0, "another device is another matter");
        helper.device().release(Answer::good(&[]));
        for client in &hung {
            client.reply().expect_bare(0);
        }
        assert_eq!(client.pr_in(null(), 0, 8).status, 0, "there is room again");
    });
}
