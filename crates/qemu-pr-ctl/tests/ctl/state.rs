//! `state`, and what changes a helper while it runs: `trace` and `reload`.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use pr_control::{Answer, Ask, Snapshot};
use pr_lab::{ControlStandIn, eventful_snapshot};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    run::{PROGRAM, run_control},
    simulate::signal,
};

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn state_shows_a_line_for_each_connection() {
    let helper = ControlStandIn::telling(eventful_snapshot());
    let said = run_control(&helper.path(), &["state"]).expect_done();
    assert!(said.starts_with("qemu-pr-helper 0.2.0, PID 4242, up 3d4h, 3 of 1024 connections\n"), "{said}");
    assert!(said.contains(" 7  web1  ") && said.contains("31s sdb PREEMPT"), "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    assert_eq!(helper.asked(), [Ask::Snapshot]);
}

#[test]
fn the_json_of_the_state_is_stable() {
    let helper = ControlStandIn::telling(eventful_snapshot());
    let state = value(&run_control(&helper.path(), &["state", "--json"]).expect_done());
    assert_eq!(serde_json::from_value::<Snapshot>(state.clone()).expect("a snapshot"), eventful_snapshot());
    let names = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(&state),
        [
            "connections",
            "max_connections",
            "pid",
            "refusals",
            "requests",
            "started_us",
            "totals",
            "trace",
            "uptime_us",
            "version",
            "violations"
        ]
    );
    assert_eq!(
        names(&state["totals"]),
        [
            "accepted",
            "audit_left_out",
            "audit_records",
            "messages_lost",
            "multipath_commands",
            "multipath_deaths",
            "multipath_failures",
            "multipath_in_flight",
            "multipath_maps",
            "multipath_notes",
            "multipath_restored",
            "multipath_suspended",
            "over_limit",
            "overdue",
            "paused",
            "turned_away",
            "without_names"
        ]
    );
    let client = json!({"connection": 19, "pid": 4242, "uid": 64055, "program": "/usr/bin/qemu-system-x86_64",
        "unit": "machine-qemu\\x2d1\\x2dweb1.scope"});
    let device = json!({"kind": "block", "number": "8:16", "name": "sdb"});
    assert_eq!(
        state["connections"][1],
        json!({"client": client, "age_us": 61_000_000, "requests": 7,
            "in_flight": {"action": "PREEMPT AND ABORT", "device": device, "for_us": 31_500_000},
            "last_failure": {"action": "RESERVE", "status": "RESERVATION CONFLICT", "ago_us": 312_000_000}})
    );
    assert_eq!(names(&state["requests"][0]), ["action", "buckets", "result", "sum_us"]);
    assert_eq!(state["violations"][0], json!({"name": "unknown-features", "count": 2}));
}

#[test]
fn state_is_shown_again_and_again_until_interrupted() {
    let helper = ControlStandIn::telling(eventful_snapshot());
    let mut command = Command::new(PROGRAM);
    command.args(["state", "--watch=0.01", "--json", "--control"]).arg(helper.path()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("run the tool");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    for _ in 0..3 {
        assert_eq!(value(&lines.next().expect("more").expect("a line"))["pid"], 4242);
    }
    signal(&child, Signal::INT);
    child.wait().expect("its end");
}

#[test]
fn a_watch_ends_with_the_helper() {
    let helper = ControlStandIn::telling(eventful_snapshot());
    let (path, mut command) = (helper.path(), Command::new(PROGRAM));
    command.args(["state", "--watch=0.01", "--control"]).arg(path).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("run the tool");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    lines.next().expect("more").expect("a line");
    drop(helper);
    assert!(lines.all(|line| line.is_ok()));
    let output = child.wait_with_output().expect("its end");
    let complaint = String::from_utf8(output.stderr).expect("words");
    assert!(output.status.code().is_some_and(|code| [15, 99].contains(&code)), "{complaint}");
    assert!(complaint.contains("control"), "{complaint}");
}

#[test]
fn a_change_of_what_is_traced_is_an_order() {
    let helper = ControlStandIn::telling(eventful_snapshot());
    let done = |words: &[&str]| run_control(&helper.path(), words).expect_done();
    assert_eq!(done(&["trace", "enable", "pr_helper_*", "pr_wire_hello"]), "enabled: pr_helper_*, pr_wire_hello\n");
    assert_eq!(done(&["trace", "disable", "pr_helper_*"]), "disabled: pr_helper_*\n");
    let patterns = |patterns: &[&str]| Ask::Trace { patterns: patterns.iter().map(ToString::to_string).collect() };
    assert_eq!(helper.asked(), [patterns(&["pr_helper_*", "pr_wire_hello"]), patterns(&["-pr_helper_*"])]);
    assert_eq!(done(&["trace", "list"]), "pr_helper_command\npr_helper_reply\n");
    assert_eq!(
        value(&done(&["trace", "list", "--json"])),
        json!({"control": helper.path(), "trace": ["pr_helper_command", "pr_helper_reply"]})
    );
    let quiet = ControlStandIn::telling(Snapshot::default());
    let said = run_control(&quiet.path(), &["trace", "list"]).expect_done();
    assert!(said.starts_with("no trace event is enabled;"), "{said}");
}

#[test]
fn what_was_odd_about_an_order_is_told() {
    let odd = "the event pr_helper_x is not known to this helper; qemu-pr-helper -T help lists those that there are";
    let helper = ControlStandIn::answering(move |_| vec![Answer::Done { warnings: vec![odd.to_owned()] }]);
    let said = run_control(&helper.path(), &["trace", "enable", "pr_helper_x"]).expect_done();
    assert!(said.contains("  warning: the event pr_helper_x is not known") && said.lines().count() == 3, "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    let said = run_control(&helper.path(), &["reload", "--json", "--config", "/dev/null"]).expect_done();
    assert_eq!(
        value(&said),
        json!({"control": helper.path(), "done": "settings loaded from /dev/null", "warnings": [odd]})
    );
}

#[test]
fn an_order_that_is_not_carried_out_says_why() {
    let helper =
        ControlStandIn::answering(|_| vec![Answer::Failed { reason: "only root may change the trace".into() }]);
    run_control(&helper.path(), &["trace", "enable", "x"]).expect_error(36, &["only root may change the trace"]);
    let run = run_control(&helper.path(), &["reload", "--json", "--config", "/dev/null"]);
    assert_eq!(run.code, Some(36));
    assert_eq!(value(&run.stdout)["error"]["kind"], "declined");
}

#[test]
fn reload_hands_over_the_file_that_is_in_force_or_another() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = "[[rule]]\nuser = [\"root\", \"no-such-user\", 7]\ngroup = [\"root\"]\n";
    std::fs::write(file.path(), text).expect("write it");
    let path = file.path().display().to_string();
    let settings = pr_control::Settings { path: path.clone(), ..Default::default() };
    let helper = ControlStandIn::telling(Snapshot { settings: Some(settings), ..Snapshot::default() });
    let root = || std::collections::BTreeMap::from([("root".to_owned(), 0)]);
    let ask = Ask::Reload { path: path.clone(), text: text.to_owned(), users: root(), groups: root() };

    let said = run_control(&helper.path(), &["reload"]).expect_done();
    assert_eq!(said, format!("settings loaded from {path}\n"));
    assert_eq!(helper.asked(), [Ask::Snapshot, ask.clone()]);

    let without = ControlStandIn::telling(Snapshot::default());
    run_control(&without.path(), &["reload", "--config", &path]).expect_done();
    assert_eq!(without.asked(), [ask]);
    let gone = run_control(&without.path(), &["reload", "--config", "/no/such/file"]);
    gone.expect_error(15, &["/no/such/file", "--config"]);
    assert_eq!(without.asked().len(), 1);
}
