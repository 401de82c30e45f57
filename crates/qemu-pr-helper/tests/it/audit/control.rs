use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    os::{
        fd::AsFd,
        unix::{
            fs::{FileTypeExt, MetadataExt, PermissionsExt},
            net::UnixStream,
        },
    },
};

use pr_control::{Ask, Client, Control, What};
use pr_lab::{as_user, prelude::*};
use rustix::{
    fs::{Mode, OFlags, open},
    process::Signal,
};

use crate::audit::{keys, launch, ours, records};

const NOBODY: u32 = 65534;

#[test]
fn the_socket_is_roots_or_a_groups_and_goes_with_the_program() {
    ours(|bed| {
        let helper = launch(bed).umask(0).start();
        let metadata = fs::metadata(bed.control_path()).unwrap();
        assert!(metadata.file_type().is_socket());
        assert_eq!((metadata.permissions().mode() & 0o7777, metadata.uid(), metadata.gid()), (0o600, 0, 0));
        helper.end(Signal::TERM).expect_silent_success();
        assert!(!bed.control_path().exists());

        let helper = launch(bed).args(["--control-group", "65534", "-u", "65534"]).start();
        let metadata = fs::metadata(bed.control_path()).unwrap();
        assert_eq!((metadata.permissions().mode() & 0o7777, metadata.uid(), metadata.gid()), (0o660, 0, NOBODY));
        helper.end(Signal::TERM);
    });
}

#[test]
fn a_control_socket_that_cannot_be_made_stops_the_start_and_leaves_nothing() {
    ours(|bed| {
        fs::write(bed.control_path(), "precious").unwrap();
        launch(bed).run().expect_refusal(&["--control", "not a socket"]);
        assert!(!bed.socket().exists());
        assert_eq!(fs::read_to_string(bed.control_path()).unwrap(), "precious");
        bed.launch().args(["--control", "relative"]).run().expect_refusal(&["not absolute"]);
    });
}

#[test]
fn the_counters_agree_with_what_was_sent() {
    ours(|bed| {
        let helper = launch(bed).device(|command| match command.cdb[1] {
            4 => Answer::status(0x18).into(),
            _ => Answer::good(&[0; 8]).into(),
        });
        let helper = helper.start();
        let client = helper.connect();
        for _ in 0..5 {
            client.pr_in(null(), 0, 8);
        }
        for _ in 0..3 {
            client.pr_out(null(), 4, &keys(1, 2)).expect_bare(0x18);
        }
        let read_only = open("/dev/null", OFlags::RDONLY, Mode::empty()).unwrap();
        client.pr_out(read_only, 4, &keys(1, 2)).expect_check(5, 0x20, 0);
        let other = helper.connect();
        other.send(&[0; 16]);
        other.expect_closed();

        let snapshot = bed.control().snapshot().expect("an answer");
        let count = |action: &str, result: &str| {
            let found = snapshot.requests.iter().find(|row| row.action == action && row.result == result);
            found.map_or(0, pr_control::Requests::count)
        };
        assert_eq!(count("READ KEYS", "good"), 5);
        assert_eq!(count("PREEMPT", "conflict"), 3);
        assert_eq!(count("PREEMPT", "check-condition"), 1);
        assert_eq!(snapshot.requests.iter().map(pr_control::Requests::count).sum::<u64>(), 9);
        let named = |list: &[pr_control::Named], name: &str| {
            list.iter().find(|named| named.name == name).map(|named| named.count)
        };
        assert_eq!(named(&snapshot.refusals, "read-only-descriptor"), Some(1));
        assert_eq!(named(&snapshot.violations, "no-descriptor"), Some(1));
        assert_eq!(snapshot.totals.accepted, 3, "two, and the one that looked whether the helper is up");
        assert_eq!(snapshot.totals.audit_records, 4);
        assert_eq!(snapshot.pid, u32::try_from(helper.process().id()).unwrap());
        assert_eq!(snapshot.max_connections, 1024);
    });
}

#[test]
fn a_hung_command_and_the_last_failure_are_seen() {
    ours(|bed| {
        let helper = launch(bed).device(|command| match command.cdb[1] {
            3 => Outcome::Hang,
            _ => Answer::check_fixed(6, 0x2a, 3).into(),
        });
        let helper = helper.start();
        let client = helper.connect();
        client.pr_out(null(), 0, &keys(1, 2)).expect_check(6, 0x2a, 3);
        client.send_with(&Raw::cdb_out(3, 24), &[null().as_fd()]);
        client.send(&keys(1, 0));
        helper.device().await_count(2);
        let snapshot = bed.control().snapshot().expect("an answer");
        let [connection] = &snapshot.connections[..] else { panic!("{:?}", snapshot.connections) };
        let in_flight = connection.in_flight.as_ref().expect("a command under way");
        assert_eq!(in_flight.action, "CLEAR");
        assert_eq!(in_flight.device.as_ref().map(|device| device.number.as_str()), Some("1:3"));
        let failure = connection.last_failure.as_ref().expect("a failure");
        assert_eq!((failure.action.as_str(), failure.status.as_str()), ("REGISTER", "CHECK CONDITION"));
        assert!(failure.sense.as_ref().is_some_and(|sense| sense.contains("RESERVATIONS PREEMPTED")));
        assert_eq!(connection.requests, 2);
        assert_eq!(connection.client.pid, Some(std::process::id()));
        helper.device().release(Answer::good(&[]));
        client.reply();
        drop(client);
        eventually("the connection is gone", || bed.control().snapshot().is_ok_and(|now| now.connections.is_empty()));
    });
}

#[test]
fn what_is_traced_can_be_changed_while_it_runs() {
    ours(|bed| {
        let helper = launch(bed).start();
        let order = |patterns: &[&str]| {
            let patterns = patterns.iter().map(ToString::to_string).collect();
            bed.control().order(&Ask::Trace { patterns }).expect("it is done")
        };
        assert_eq!(bed.control().snapshot().unwrap().trace, [""; 0]);
        assert_eq!(order(&["pr_helper_request", "pr_helper_hello"]), [""; 0]);
        assert_eq!(bed.control().snapshot().unwrap().trace, ["pr_helper_hello", "pr_helper_request"]);
        helper.connect().pr_in(null(), 0, 8);
        helper.await_stderr("pr_helper_request client=");
        assert_eq!(order(&["-*"]), [""; 0]);
        assert_eq!(bed.control().snapshot().unwrap().trace, [""; 0]);
        let warnings = order(&["bogus"]);
        assert!(warnings.concat().contains("'bogus' does not exist"), "{warnings:?}");
    });
}

#[test]
fn the_group_may_look_and_root_alone_may_change_something() {
    ours(|bed| {
        fs::set_permissions(bed.dir(), fs::Permissions::from_mode(0o755)).unwrap();
        let helper = launch(bed).args(["--control-group", "12345"]).start();
        let control = Control::new(bed.control_path(), PATIENCE);
        as_user(NOBODY, 12345, || {
            assert!(control.snapshot().is_ok());
            assert!(control.follow().is_ok());
            for ask in [Ask::Trace { patterns: vec!["*".into()] }, reload()] {
                let refused = control.order(&ask).unwrap_err().to_string();
                assert!(refused.contains("user 65534 may only read"), "{refused}");
            }
        });
        let stranger = as_user(NOBODY, NOBODY, || control.snapshot().unwrap_err().to_string());
        assert!(stranger.contains("Permission denied"), "{stranger}");
        helper.end(Signal::TERM).expect_silent_success();
    });
}

#[test]
fn who_asked_for_new_settings_and_what_came_of_it_is_in_the_trail() {
    ours(|bed| {
        fs::set_permissions(bed.dir(), fs::Permissions::from_mode(0o755)).unwrap();
        let helper = launch(bed).args(["--control-group", "12345"]).start();
        let control = Control::new(bed.control_path(), PATIENCE);
        let mut trail = control.follow().expect("a trail");
        let before = control.snapshot().expect("a state").totals.audit_records;
        let ask = |text: &str| Ask::Reload {
            path: "/etc/new\n.toml".into(),
            text: text.into(),
            users: BTreeMap::new(),
            groups: BTreeMap::new(),
        };
        control.order(&ask("[[rule]]\n")).expect("new settings");
        control.order(&ask("default = 1")).expect_err("no settings");
        as_user(NOBODY, 12345, || control.order(&ask("")).expect_err("not root"));
        let found = records(&mut trail, 3);
        for (record, uid) in found.iter().zip([0, 0, NOBODY]) {
            let Client { connection, pid, uid: user, program, .. } = &record.client;
            assert_eq!((*connection, *pid, *user), (0, Some(std::process::id()), Some(uid)));
            assert!(program.is_some(), "{record}");
        }
        let whats: Vec<_> = found.into_iter().map(|record| record.what).collect();
        let path = || "/etc/new?.toml".to_owned();
        assert_eq!(whats[0], What::Reload { path: path(), accepted: true, rules: Some(1), reason: None });
        for (what, why) in whats[1..].iter().zip(["1:11", "user 65534 may only read"]) {
            let What::Reload { path: named, accepted: false, rules: None, reason: Some(reason) } = what else {
                panic!("{what:?}")
            };
            assert!(*named == path() && reason.contains(why), "{named} {reason}");
        }
        let after = control.snapshot().expect("a state").totals.audit_records;
        assert_eq!(after - before, 3);
        helper.end(Signal::TERM).expect_silent_success();
    });
}

#[test]
fn askers_that_dawdle_or_talk_nonsense_harm_nobody() {
    ours(|bed| {
        let helper = launch(bed).start();
        let silent = UnixStream::connect(bed.control_path()).unwrap();
        helper.connect().expect_served();
        for nonsense in [&b"\n"[..], b"{}\n", b"snapshot\n", b"\xff\xfe\n", &[b'x'; 10_000]] {
            let mut socket = UnixStream::connect(bed.control_path()).unwrap();
            // The helper may have hung up on the longest one already.
            let _ = socket.write_all(nonsense);
            let mut answer = String::new();
            let _ = socket.read_to_string(&mut answer);
            assert!(answer.is_empty() || answer.contains("failed"), "{answer}");
        }
        drop(silent);
        assert!(bed.control().snapshot().is_ok());
        helper.end(Signal::TERM).expect_silent_success();
    });
}

#[test]
fn a_follower_that_never_reads_costs_nobody_anything() {
    ours(|bed| {
        let helper = launch(bed).start();
        let mut lazy = UnixStream::connect(bed.control_path()).unwrap();
        lazy.write_all(b"{\"ask\":\"log\"}\n").unwrap();
        let mut first = [0; 8];
        lazy.read_exact(&mut first).unwrap();
        // More than the socket has room for; each process has a share of the trail.
        let strangers: Vec<Stranger> = (0..8).map(|_| Stranger::greeted(helper.socket(), 0, 0)).collect();
        for _ in 0..90 {
            for stranger in &strangers {
                stranger.client().pr_out(null(), 3, &keys(1, 0));
            }
        }
        let mut diligent = bed.control().follow().expect("a trail");
        helper.connect().pr_out(null(), 3, &keys(0x77, 0));
        let found = diligent.any(|told| format!("{told:?}").contains("0x77"));
        assert!(found, "the other follower has its record");
        assert_eq!(helper.end(Signal::TERM).code(), 0);
    });
}

#[test]
fn four_may_follow_and_whoever_leaves_makes_room() {
    ours(|bed| {
        let helper = launch(bed).start();
        let mut followers: Vec<_> = (0..4).map(|_| bed.control().follow().expect("a trail")).collect();
        let refused = bed.control().follow().unwrap_err().to_string();
        assert!(refused.contains("too many clients follow"), "{refused}");
        followers.pop();
        followers.push(bed.control().follow().expect("a trail"));
        helper.connect().pr_out(null(), 3, &keys(0x77, 0));
        for follower in &mut followers {
            assert_eq!(crate::audit::records(follower, 1).len(), 1);
        }
        assert_eq!(helper.end(Signal::TERM).code(), 0);
    });
}

fn reload() -> Ask {
    let (users, groups) = Default::default();
    Ask::Reload { path: "test".into(), text: "default = \"deny\"".into(), users, groups }
}

#[test]
fn what_is_asked_about_a_pipe_is_answered_and_neither_recorded_nor_counted_if_it_is_harmless() {
    ours(|bed| {
        let helper = launch(bed).start();
        let client = helper.connect();
        let mut trail = bed.control().follow().expect("a trail");
        let pipe = || std::io::pipe().expect("a pipe");
        let (reader, writer) = pipe();
        assert_eq!(client.pr_in(&reader, 0, 8).status, 2);
        assert_eq!(client.pr_in(&reader, 2, 8).status, 2);
        client.pr_out(&reader, 0, &keys(0, 0)).expect_check(5, 0x20, 0);
        assert_eq!(client.pr_out(&writer, 0, &keys(0, 0)).status, 2);
        let snapshot = bed.control().snapshot().expect("an answer");
        assert_eq!(snapshot.requests.iter().map(pr_control::Requests::count).sum::<u64>(), 0);
        assert_eq!(snapshot.refusals.iter().map(|named| named.count).sum::<u64>(), 0);
        assert_eq!(snapshot.totals.audit_records, 0);
        assert_eq!(snapshot.connections[0].requests, 4, "it is no secret who asks");

        // Whoever would have changed something is told of, whatever stands in for the disk.
        let read_only = open("/dev/null", OFlags::RDONLY, Mode::empty()).unwrap();
        client.pr_out(&reader, 0, &keys(0, 1)).expect_check(5, 0x20, 0);
        client.pr_out(&reader, 6, &keys(0, 0)).expect_check(5, 0x20, 0);
        client.pr_out(&read_only, 0, &keys(0, 0)).expect_check(5, 0x20, 0);
        for record in records(&mut trail, 3) {
            assert!(matches!(record.what, What::Refusal { .. }), "{record}");
        }
        let snapshot = bed.control().snapshot().expect("an answer");
        assert_eq!(snapshot.requests.iter().map(pr_control::Requests::count).sum::<u64>(), 3);
        assert_eq!(helper.end(Signal::TERM).code(), 0);
    });
}
