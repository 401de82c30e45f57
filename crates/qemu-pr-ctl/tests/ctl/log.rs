//! `log`: following the audit log.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Command, Stdio},
    sync::{
        Mutex,
        mpsc::{Receiver, Sender, channel},
    },
};

use pr_control::{Answer, Client, Command as Ordered, Device, Outcome, Record, What};
use pr_lab::ControlStandIn;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    run::{PROGRAM, finished, run_control},
    simulate::signal,
};

fn record(key: &str) -> Answer {
    Answer::Record(Box::new(Record {
        time_us: 1_700_000_000_000_001,
        client: Client { connection: 7, vm: Some("web1".into()), ..Client::default() },
        what: What::Command {
            device: Device { kind: "block".into(), number: "8:16".into(), ..Device::default() },
            command: Ordered { action: "PREEMPT".into(), key: Some(key.into()), ..Ordered::default() },
            outcome: Outcome { status: "GOOD".into(), sense: None, microseconds: 812 },
            note: None,
        },
    }))
}

/// A helper that sends this as its audit log, and closes the connection.
fn audit_log(answers: &[Answer]) -> ControlStandIn {
    let all = [&[Answer::Following], answers].concat();
    ControlStandIn::answering(move |_| all.clone())
}

#[test]
fn the_audit_log_has_a_line_for_each_record_with_the_local_time() {
    let helper = audit_log(&[record("0x1"), Answer::Lost { count: 3 }, record("0x\u{1b}[2J")]);
    let mut command = Command::new(PROGRAM);
    command.args(["log", "--control"]).arg(helper.path()).env("TZ", "CET-1CEST,M3.5.0,M10.5.0/3");
    let run = finished(command.output().expect("run the tool"));
    let lines: Vec<&str> = run.stdout.lines().collect();
    let first =
        "2023-11-14T23:13:20.000001+01:00  PREEMPT: GOOD in 812 us; key 0x1; disk block 8:16; client 7, VM web1";
    assert_eq!(lines.len(), 3, "{run:?}");
    assert_eq!(lines[0], first);
    assert!(lines[1].starts_with("3 records were skipped here"), "{run:?}");
    // Whatever a client calls itself does nothing to the terminal.
    assert!(lines[2].contains("key 0x?[2J;"), "{run:?}");
}

#[test]
fn the_end_of_the_helper_is_said_and_is_no_success() {
    let run = run_control(&audit_log(&[]).path(), &["log"]);
    run.expect_error(99, &["end of the audit log", "closed the connection"]);
}

#[test]
fn programs_get_a_value_a_line_whatever_happens() {
    let run = run_control(&audit_log(&[record("0x1"), Answer::Lost { count: 3 }]).path(), &["log", "--json"]);
    let lines: Vec<Value> = run.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(
        lines[0],
        json!({"time_us": 1_700_000_000_000_001_u64, "client": {"connection": 7, "vm": "web1"}, "event": "command",
            "device": {"kind": "block", "number": "8:16"}, "command": {"action": "PREEMPT", "key": "0x1"},
            "outcome": {"status": "GOOD", "microseconds": 812}})
    );
    assert_eq!(lines[1], json!({"event": "lost", "count": 3}));
    assert_eq!((&lines[2]["error"]["kind"], &lines[2]["error"]["exit"]), (&json!("hung-up"), &json!(99)));
    assert_eq!((lines.len(), run.code), (3, Some(99)));
}

#[test]
fn an_interrupt_ends_it_between_two_lines() {
    let (tell, told): (Sender<Answer>, Receiver<Answer>) = channel();
    let told = Mutex::new(told);
    let helper = ControlStandIn::serving(move |mut stream| {
        let mut say = |answer: &Answer| writeln!(stream, "{}", serde_json::to_string(answer).expect("JSON")).is_ok();
        let told = told.lock().expect("one client");
        let _ = say(&Answer::Following) && told.iter().all(|answer| say(&answer));
    });
    let mut command = Command::new(PROGRAM);
    command.args(["log", "--control"]).arg(helper.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("run the tool");
    let mut output = BufReader::new(child.stdout.take().expect("its output"));
    for key in ["0x1", "0x2"] {
        // Each comes at once, and not when a buffer is full.
        tell.send(record(key)).expect("a helper");
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        assert!(line.contains(key), "{line}");
    }
    signal(&child, Signal::INT);
    let (mut rest, mut complaint) = (String::new(), String::new());
    output.read_to_string(&mut rest).expect("words");
    child.stderr.take().expect("its complaints").read_to_string(&mut complaint).expect("words");
    assert_eq!((rest.as_str(), complaint.as_str()), ("", ""));
    child.wait().expect("its end");
}
