//! `-d`: the behaviour that both helpers share.

use std::fs;
use std::path::Path;

use pr_lab::prelude::*;
use rustix::process::Signal;

use crate::OURS;

/// A daemon, once its parent has exited and its pidfile is written.
#[track_caller]
fn daemon(bed: &Bed, shape: impl Fn(Launch) -> Launch) -> Process {
    let pidfile = bed.path("pid");
    // An earlier daemon's number must not be taken for this one's.
    _ = fs::remove_file(&pidfile);
    let launch = shape(bed.launch().arg("-d").arg("-f").arg(&pidfile));
    // The daemon keeps the collected streams open only if it is wrong.
    launch.run().expect_silent_success();
    eventually("the pidfile is written", || fs::read_to_string(&pidfile).is_ok_and(|text| text.ends_with('\n')));
    let daemon = bed.daemon(&pidfile);
    assert!(daemon.is_alive());
    daemon
}

#[test]
fn the_parent_exits_and_the_daemon_serves() {
    both(OURS, |bed| {
        daemon(bed, |launch| launch);
        Raw::greeted(&bed.socket()).expect_served();
    });
}

#[test]
fn a_daemon_has_its_own_session_the_root_directory_and_no_terminal() {
    both(OURS, |bed| {
        let daemon = daemon(bed, |launch| launch);
        assert_eq!(daemon.working_directory(), Path::new("/"));
        assert_ne!(daemon.session(), Process::new(rustix::process::getpid().as_raw_pid()).session());
        let descriptors = daemon.descriptors();
        for number in 0..=2 {
            assert_eq!(descriptors[&number], Path::new("/dev/null"), "descriptor {number}");
        }
        assert_eq!(daemon.status()["PPid"], rustix::process::getpid().as_raw_pid().to_string(), "orphaned");
    });
}

#[test]
fn a_relative_pidfile_of_a_daemon_is_in_the_root_directory() {
    both(OURS, |bed| {
        let name = format!("{}.pid", bed.dir().file_name().unwrap().to_str().unwrap());
        let path = Path::new("/").join(&name);
        bed.launch().args(["-d", "-f", &name]).run().expect_silent_success();
        let appeared = within(PATIENCE, || fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n')));
        let number = fs::read_to_string(&path).unwrap_or_default();
        _ = fs::remove_file(&path);
        assert!(appeared && !bed.path(&name).exists(), "{number:?}");
        assert!(bed.processes().iter().any(|process| number == format!("{}\n", process.id())), "{number:?}");
    });
}

#[test]
fn a_daemon_keeps_the_umask() {
    both(OURS, |bed| {
        let daemon = daemon(bed, |launch| launch.umask(0o027));
        assert_eq!(daemon.status()["Umask"], "0027");
    });
}

#[test]
fn a_daemon_drops_its_privileges() {
    both(OURS, |bed| {
        let daemon = daemon(bed, |launch| launch.args(["-u", "nobody", "-g", "nogroup"]));
        eventually("the ids change", || daemon.status()["Uid"] == "65534 65534 65534 65534");
        eventually("the capabilities go", || daemon.status()["CapEff"] == "0000000000020000");
        assert_eq!(daemon.status()["Gid"], "65534 65534 65534 65534");
    });
}

#[test]
fn a_daemon_ends_by_signal_and_removes_its_socket() {
    both(OURS, |bed| {
        for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
            let daemon = daemon(bed, |launch| launch);
            Raw::greeted(&bed.socket()).expect_served();
            daemon.signal(signal);
            assert!(daemon.ends_within(PATIENCE));
            assert!(!bed.socket().exists());
        }
    });
}

#[test]
fn a_socket_that_cannot_be_made_is_reported_by_the_parent() {
    both(OURS, |bed| {
        let path = bed.path("missing/pr.sock");
        let finished = bed.launch().at(&path).arg("-d").arg("-f").arg(bed.path("pid")).run();
        finished.expect_refusal(&[path.to_str().unwrap(), "No such file or directory"]);
        eventually("nothing runs on", || bed.processes().is_empty());
    });
}

#[test]
fn a_daemon_locks_its_pidfile() {
    both(OURS, |bed| {
        daemon(bed, |launch| launch);
        let pidfile = bed.path("pid");
        let second = bed.launch().at(bed.path("second.sock")).arg("-f").arg(&pidfile).run();
        second.expect_refusal(&["lock"]);
    });
}

#[test]
fn a_daemon_reaches_the_device() {
    both(OURS, |bed| {
        let pidfile = bed.path("pid");
        let parent = bed.launch().args(["-d", "-f"]).arg(&pidfile).device(|_| Answer::good(&[8; 8]).into()).spawn();
        assert!(parent.ends_within(PATIENCE));
        eventually("the daemon listens", || pr_lab::connect_stream(&bed.socket()).is_ok());
        assert_eq!(Raw::greeted(&bed.socket()).pr_in(null(), 0, 8).payload, [8; 8]);
    });
}
