//! Whose socket and pidfile it is: W4, W14.

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::UnixListener;

use pr_lab::prelude::*;
use rustix::fs::{Mode, mkfifoat};
use rustix::process::Signal;

use crate::better::{better, bound, expect_refusal};

#[test]
fn w4_a_live_socket_is_not_taken_over() {
    better("starts instead of refusing", |bed| {
        let first = bed.start();
        let client = first.connect();
        expect_refusal(bed, bed.launch().spawn(), &[bed.socket().to_str().unwrap()]);
        client.expect_served();
        first.connect().expect_served();
    });
}

#[test]
fn w4_a_live_socket_whose_owner_does_not_accept_is_not_taken_over() {
    better("starts instead of refusing", |bed| {
        let first = bed.start();
        first.signal(Signal::STOP);
        let queued: Vec<_> = (0..200).map_while(|_| pr_lab::try_connect(first.socket()).ok()).collect();
        expect_refusal(bed, bed.launch().spawn(), &[bed.socket().to_str().unwrap()]);
        drop(queued);
        first.signal(Signal::CONT);
        first.connect().expect_served();
    });
}

#[test]
fn w4_a_regular_file_at_the_path_is_refused_and_stays() {
    better("starts instead of refusing", |bed| {
        fs::write(bed.socket(), "contents").unwrap();
        expect_refusal(bed, bed.launch().spawn(), &[bed.socket().to_str().unwrap()]);
        assert_eq!(fs::read_to_string(bed.socket()).unwrap(), "contents");
    });
}

#[test]
fn w4_a_symbolic_link_at_the_path_is_refused_and_stays() {
    better("starts instead of refusing", |bed| {
        for target in ["missing", "."] {
            symlink(target, bed.socket()).unwrap();
            expect_refusal(bed, bed.launch().spawn(), &[bed.socket().to_str().unwrap()]);
            assert_eq!(fs::read_link(bed.socket()).unwrap().to_str(), Some(target));
            fs::remove_file(bed.socket()).unwrap();
        }
    });
}

#[test]
fn w4_another_ones_socket_is_not_removed_at_the_end() {
    better("removed another one's socket", |bed| {
        let helper = bed.start();
        fs::remove_file(bed.socket()).unwrap();
        let _other = UnixListener::bind(bed.socket()).unwrap();
        assert_eq!(helper.end(Signal::TERM).code(), 0);
        assert!(bed.socket().exists(), "removed another one's socket");
    });
}

#[test]
fn w4_a_file_that_has_taken_the_sockets_place_is_not_removed_at_the_end() {
    better("removed the file", |bed| {
        let helper = bed.start();
        fs::remove_file(bed.socket()).unwrap();
        fs::write(bed.socket(), "contents").unwrap();
        assert_eq!(helper.end(Signal::TERM).code(), 0);
        assert!(bed.socket().exists(), "removed the file");
    });
}

#[test]
fn w4_a_failed_start_leaves_no_socket_behind() {
    better("left a socket behind", |bed| {
        let pidfile = bed.path("missing/pid");
        bed.launch().arg("-f").arg(&pidfile).run().expect_refusal(&[pidfile.to_str().unwrap()]);
        assert!(!bed.socket().exists(), "left a socket behind");
    });
}

#[test]
fn w4_a_start_without_the_rights_leaves_no_socket_behind() {
    better("left a socket behind", |bed| {
        let poor = ["/usr/bin/setpriv", "--bounding-set", "-sys_rawio", "--"];
        bed.launch().by(&poor).run().expect_refusal(&["privileges"]);
        assert!(!bed.socket().exists(), "left a socket behind");
    });
}

#[test]
fn w4_a_second_daemon_leaves_the_first_in_service() {
    better("reports success", |bed| {
        let start = || bed.launch().arg("-d").arg("-f").arg(bed.path("pid")).run();
        start().expect_silent_success();
        eventually("the first one serves", || pr_lab::connect_stream(&bed.socket()).is_ok());
        let first = Raw::greeted(&bed.socket());
        let second = start();
        assert_ne!(second.code(), 0, "the second one reports success");
        second.expect_refusal(&[]);
        first.expect_served();
        Raw::greeted(&bed.socket()).expect_served();
    });
}

#[test]
fn w14_the_pidfile_is_removed_at_the_end() {
    better("pidfile stays", |bed| {
        let pidfile = bed.path("pid");
        let helper = bed.launch().arg("-f").arg(&pidfile).start();
        assert_eq!(helper.end(Signal::TERM).code(), 0);
        assert!(!pidfile.exists(), "pidfile stays");
    });
}

#[test]
fn w14_a_fifo_as_pidfile_is_refused_and_stays() {
    better("starts instead of refusing", |bed| {
        let pidfile = bed.path("fifo");
        mkfifoat(rustix::fs::CWD, &pidfile, Mode::from_raw_mode(0o600)).unwrap();
        let helper = bed.launch().arg("-f").arg(&pidfile).spawn();
        expect_refusal(bed, helper, &[pidfile.to_str().unwrap()]);
        assert!(fs::symlink_metadata(&pidfile).unwrap().file_type().is_fifo());
    });
}

#[test]
fn w14_a_daemon_removes_its_pidfile_too() {
    better("pidfile stays", |bed| {
        let pidfile = bed.path("pid");
        bed.launch().arg("-d").arg("-f").arg(&pidfile).run().expect_silent_success();
        eventually("the pidfile is written", || fs::read_to_string(&pidfile).is_ok_and(|text| text.ends_with('\n')));
        Raw::greeted(&bed.socket());
        let daemon = bed.daemon(&pidfile);
        daemon.signal(Signal::TERM);
        assert!(daemon.ends_within(bound(bed)));
        assert!(!pidfile.exists(), "pidfile stays");
    });
}
