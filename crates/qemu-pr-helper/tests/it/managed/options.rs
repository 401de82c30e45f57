//! Each option in the file does what it does on the command line, where the command line does not say otherwise.

use std::{
    collections::BTreeMap,
    os::{fd::AsFd, unix::net::UnixDatagram},
    time::Duration,
};

use pr_control::{Ask, ControlError};
use pr_lab::prelude::*;
use rustix::process::Signal;

use crate::managed::{control, control_line, keys, managed, ours};

/// A helper with these defaults, and a control socket.
fn with(bed: &Bed, defaults: &str) -> Launch {
    managed(bed, &format!("[defaults]\n{}{defaults}", control_line(bed)))
}

fn violate(helper: &Helper) {
    let client = Raw::connect(helper.socket());
    client.read(4);
    client.send(&[1; 4]);
    client.expect_closed();
}

#[test]
fn the_command_line_wins() {
    ours(|bed| {
        let file = "max-connections = 5\naudit = \"off\"\nquiet = true\nlog-format = \"json\"\ncommand-timeout = 2\n";
        let launch = with(bed, file).args(["--max-connections", "7", "--audit=on", "-v", "--log-format", "text"]);
        let launch = launch.args(["--command-timeout", "3"]).device(|_| Answer::good(&[0; 8]).into());
        let helper = launch.start();
        assert_eq!(control(bed, "pr.sock").snapshot().unwrap().max_connections, 7);
        assert!(control(bed, "pr.sock").follow().is_ok(), "there is a trail");
        helper.connect().pr_in(null(), 0, 8);
        assert_eq!(helper.device().seen()[0].timeout_ms, 3000);
        violate(&helper);
        helper.await_stderr("qemu-pr-helper: closing the connection of");
        helper.await_stderr("is disconnected");
        helper.end(Signal::TERM);
    });
}

#[test]
fn limits_and_times_are_those_of_the_file() {
    ours(|bed| {
        let file = "max-connections = 5\nrequest-timeout = 0.2\ncommand-timeout = 2\ndrain-timeout = 0.1\n";
        let device = |command: &Command| if command.is_out() { Outcome::Hang } else { Answer::good(&[0; 8]).into() };
        let helper = with(bed, file).device(device).start();
        assert_eq!(control(bed, "pr.sock").snapshot().unwrap().max_connections, 5);
        let client = helper.connect();
        client.pr_in(null(), 0, 8);
        assert_eq!(helper.device().seen()[0].timeout_ms, 2000);
        let slow = helper.connect();
        slow.send(&[0x5e; 3]);
        assert!(slow.closes_within(PATIENCE), "half a request is not waited for as long as by default");
        helper.await_stderr("it left a request or an answer unfinished for 200ms");
        client.send_with(&Raw::cdb_out(3, 24), &[null().as_fd()]);
        client.send(&keys(1, 0));
        helper.device().await_count(2);
        let ended = helper.end(Signal::TERM);
        assert!(ended.code() == 1 && ended.stderr.contains("giving up after 100ms"), "{}", ended.stderr);
    });
}

#[test]
fn the_trail_is_as_the_file_says() {
    ours(|bed| {
        let helper = with(bed, "audit = \"off\"\n").start();
        let refused = control(bed, "pr.sock").follow().unwrap_err().to_string();
        assert!(refused.contains("--audit off"), "{refused}");
        helper.end(Signal::TERM).expect_silent_success();

        let helper = with(bed, "audit-keys = \"hide\"\n").start();
        let mut trail = control(bed, "pr.sock").follow().expect("a trail");
        helper.connect().pr_out(null(), 3, &keys(0xabc, 0));
        let record = format!("{:?}", trail.next());
        assert!(record.contains("CLEAR") && !record.contains("abc"), "{record}");
        helper.end(Signal::TERM);
    });
}

#[test]
fn words_are_as_many_and_of_the_form_that_the_file_says() {
    ours(|bed| {
        let helper = with(bed, "quiet = true\n").start();
        violate(&helper);
        helper.end(Signal::TERM).expect_silent_success();

        let helper = with(bed, "verbose = true\nquiet = false\nlog-format = \"json\"\n").start();
        violate(&helper);
        helper.await_stderr("closing the connection of");
        let words = helper.end(Signal::TERM).stderr;
        assert!(words.lines().all(|line| line.starts_with('{')) && words.contains("is disconnected"), "{words}");
    });
}

#[test]
fn the_walls_are_as_high_as_the_file_says() {
    ours(|bed| {
        for (how, filter) in [("off", "0"), ("enforce", "2")] {
            let helper = with(bed, &format!("sandbox = \"{how}\"\n")).start();
            eventually("the walls are as wanted", || helper.process().status()["Seccomp"] == filter);
            helper.end(Signal::TERM).expect_silent_success();
        }
    });
}

#[test]
fn a_bad_default_stops_the_start_with_its_place() {
    ours(|bed| {
        let wrong = with(bed, "command-timeout = 0\n").run();
        wrong.expect_refusal(&["/etc/qemu-pr-helper.toml:3:19: ", "between 0.001 and 86400", "(the line is: command-"]);
        // What the command line says otherwise is in order all the same.
        let wrong = with(bed, "command-timeout = 0\n").args(["--command-timeout", "5"]).run();
        wrong.expect_refusal(&["/etc/qemu-pr-helper.toml:3:19: "]);
        assert!(!bed.socket().exists());
    });
}

#[test]
fn who_started_it_hears_why_it_cannot_start_although_the_log_is_in_the_journal() {
    ours(|bed| {
        let journal = UnixDatagram::bind(bed.path("socket")).unwrap();
        journal.set_read_timeout(Some(PATIENCE)).unwrap();
        let script = "cp /etc/passwd /etc/group etc && mount --bind etc /etc && mount -t tmpfs tmpfs /run && \
                      mkdir -p /run/systemd/journal && mount --bind \"$PWD\" /run/systemd/journal && exec \"$0\" \"$@\"";
        let managed = |defaults: &str| {
            let launch = managed(bed, &format!("[defaults]\nlog-format = \"journal\"\n{defaults}"));
            launch.by(&["/usr/bin/unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script])
        };
        std::fs::write(bed.path("precious"), "").unwrap();
        let in_the_way = format!("control = \"{}\"\n", bed.path("precious").display());
        managed(&in_the_way).run().expect_refusal(&["--control", "a regular file"]);
        let mut bytes = [0; 4096];
        let mut entry = || {
            let length = journal.recv(&mut bytes).expect("an entry in the journal");
            String::from_utf8_lossy(&bytes[..length]).into_owned()
        };
        let told = entry();
        assert!(told.contains("a regular file"), "{told}");

        // Once it serves, the journal has what there is to say, and the trail.
        let helper = managed("").start();
        violate(&helper);
        assert!(entry().contains("closing the connection of"));
        helper.connect().pr_out(null(), 3, &keys(0xabc, 0));
        assert!(entry().contains("CLEAR"));
        let ended = helper.end(Signal::TERM);
        ended.expect_silent_success();
        assert!(ended.audit.is_empty(), "{:?}", ended.audit);
    });
}

fn reload(bed: &Bed, text: &str) -> Result<Vec<String>, ControlError> {
    let groups = BTreeMap::from([("operators".to_owned(), 4711)]);
    let ask = Ask::Reload { path: "/etc/new.toml".into(), text: text.into(), users: BTreeMap::new(), groups };
    control(bed, "pr.sock").order(&ask)
}

#[test]
fn a_reload_says_which_options_need_a_new_start() {
    ours(|bed| {
        let same = format!("[defaults]\n{}max-connections = 5\nrequest-timeout = 9\n", control_line(bed));
        let helper = managed(bed, &same).args(["--drain-timeout", "3"]).start();
        assert_eq!(reload(bed, &same).unwrap(), [""; 0]);
        // One is new, one has another value, one is gone; and one is the command line's, whatever the file says.
        let changed = "[defaults]\nmax-connections = 6\nrequest-timeout = 9\ncontrol-group = \"operators\"\n\
                       drain-timeout = 8\n";
        let warnings = reload(bed, changed).unwrap();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("(control, control-group, max-connections); restart it"), "{warnings:?}");
        assert_eq!(control(bed, "pr.sock").snapshot().unwrap().max_connections, 5);
        // What counts is the start, and not the reload before.
        assert_eq!(reload(bed, changed).unwrap(), warnings);
        assert_eq!(reload(bed, &same).unwrap(), [""; 0]);
        let refused = reload(bed, "[defaults]\ncontrol-group = \"root\"").unwrap_err().to_string();
        assert!(refused.starts_with("/etc/new.toml:2:17: there is no group"), "{refused}");
        assert!(!helper.ends_within(Duration::ZERO), "nobody looked names up");
        helper.end(Signal::TERM).expect_silent_success();
    });
}
