//! Standard error, and clients that would hold up others: W9, W10, W11.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use pr_lab::prelude::*;

use crate::better::{better, bound};

/// A client that asks without a descriptor, until the helper has hung up.
fn violate(helper: &Helper) {
    let client = helper.connect();
    client.send(&Raw::cdb_in(0, 8));
    client.expect_closed();
}

#[test]
fn w9_messages_never_go_into_a_clients_stream() {
    better("answered instead of hanging up", |bed| {
        let launch = bed.launch().stream(0, Stream::Closed).stream(1, Stream::Closed).stream(2, Stream::Closed);
        let helper = launch.start();
        let clients: Vec<_> = (0..8).map(|_| helper.connect()).collect();
        violate(&helper);
        for client in &clients {
            client.expect_silence(std::time::Duration::from_millis(20));
            client.expect_served();
        }
    });
}

#[test]
fn w9_closed_standard_streams_are_replaced() {
    better("standard stream", |bed| {
        let launch = bed.launch().stream(0, Stream::Closed).stream(1, Stream::Closed).stream(2, Stream::Closed);
        let helper = launch.start();
        for number in 0..=2 {
            let what = helper.process().descriptors().remove(&number);
            assert_eq!(what, Some("/dev/null".into()), "standard stream {number}");
        }
    });
}

#[test]
fn w10_a_standard_error_that_nobody_reads_holds_up_nobody() {
    better("from the helper", |bed| {
        let (_reader, writer) = std::io::pipe().unwrap();
        let mut filler = File::from(OwnedFd::from(writer.try_clone().unwrap()));
        let helper = bed.launch().stream(2, Stream::Fd(writer.into())).start();
        let other = helper.connect().patience(bound(bed));
        // The helper shares these flags: it must get its own blocking pipe back.
        rustix::io::ioctl_fionbio(&filler, true).unwrap();
        while filler.write(&[b'.'; 4096]).is_ok() {}
        while filler.write(b".").is_ok() {}
        rustix::io::ioctl_fionbio(&filler, false).unwrap();
        for _ in 0..20 {
            let client = Raw::connect(helper.socket()).patience(bound(bed));
            client.hello();
            client.send(&Raw::cdb_in(0, 8));
            assert!(client.closes_within(bound(bed)), "nothing from the helper");
        }
        other.expect_served();
    });
}

#[test]
fn w10_hung_commands_hold_up_only_their_own_connections() {
    better("no 104 bytes", |bed| {
        let device = |command: &Command| if command.cdb[1] == 7 { Outcome::Hang } else { Answer::good(&[1; 8]).into() };
        let helper = bed.launch().device(device).start();
        let other = helper.connect().patience(bound(bed));
        let file = null();
        let hung: Vec<_> = (0..100).map(|_| helper.connect()).collect();
        for client in &hung {
            client.send_with(&Raw::cdb_in(7, 8), &[file.as_fd()]);
        }
        for _ in 0..20 {
            other.expect_served_with(&[1; 8]);
        }
        helper.device().await_count(120);
        helper.device().release(Answer::good(&[2; 8]));
        for client in &hung {
            assert_eq!(client.reply().payload, [2; 8]);
        }
    });
}

#[test]
fn w11_violations_do_not_flood_standard_error() {
    better("bytes for 24000 violations", |bed| {
        let helper = bed.start();
        for _ in 0..24_000 {
            violate(&helper);
        }
        helper.connect().expect_served();
        let said = helper.end(rustix::process::Signal::TERM).stderr.len();
        assert!(said < 65_536, "{said} bytes for 24000 violations");
        assert!(said > 0, "the first violations are told");
    });
}

#[test]
fn a_standard_error_that_nobody_reads_stalls_nobody() {
    better("no 4 bytes from the helper", |bed| {
        let (_reader, mut writer) = std::io::pipe().unwrap();
        rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
        std::io::Write::write_all(&mut writer, &[b'x'; 4096]).unwrap();
        let helper = bed.launch().stream(2, Stream::Fd(writer.into())).device(|_| Answer::good(&[1; 8]).into()).start();
        // There is something to say about this one.
        let client = helper.connect();
        client.send(&Raw::cdb_in(0, 8));
        let other = Raw::connect(helper.socket()).patience(bound(bed));
        other.hello();
        other.expect_served_with(&[1; 8]);
    });
}
