//! Starts that fail, and what those get who start it.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use pr_control::Snapshot;
use pr_lab::ControlStandIn;
use serde_json::Value;

use crate::{
    exporter::Exporter,
    run::{PROGRAM, run, run_control},
};

#[test]
fn an_address_that_is_taken_is_said_to_be() {
    let helper = ControlStandIn::telling(Snapshot::default());
    let exporter = Exporter::start(&[helper.path()]);
    let listen = exporter.address.to_string();
    run_control(&helper.path(), &["--listen", &listen])
        .expect_error(15, &["cannot listen on 127.0.0.1:", "in use", "--listen"]);
    run_control(Path::new("/x"), &["--listen", &listen, "--user", "nosuchuser"]).expect_error(15, &["cannot listen"]);
}

#[test]
fn programs_are_told_where_it_listens() {
    let helper = ControlStandIn::telling(Snapshot::default());
    let mut command = Command::new(PROGRAM);
    command.args(["--listen", "[::1]:0", "--json", "--control"]).arg(helper.path());
    let mut child = command.stdout(Stdio::piped()).spawn().expect("run the exporter");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
    let json: Value = serde_json::from_str(&line).expect("JSON");
    child.kill().expect("its end");
    child.wait().expect("its end");
    assert!(json["listening"].as_str().is_some_and(|address| address.starts_with("[::1]:")), "{json}");
    assert_eq!(json["control"][0].as_str(), helper.path().to_str());
}

#[test]
fn programs_are_told_why_it_does_not_start() {
    let helper = ControlStandIn::telling(Snapshot::default());
    let exporter = Exporter::start(&[helper.path()]);
    let run = run_control(&helper.path(), &["--listen", &exporter.address.to_string(), "--json"]);
    assert_eq!((run.code, run.stdout.lines().count(), run.stderr.lines().count()), (Some(15), 1, 1), "{run:?}");
    let json: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!((json["error"]["kind"].as_str(), json["error"]["exit"].as_u64()), (Some("listen"), Some(15)), "{json}");
    let message = json["error"]["message"].as_str().expect("a message");
    assert_eq!(run.stderr, format!("qemu-pr-exporter: {message}\n"));
}

#[test]
fn a_command_line_that_is_wrong_is_said_to_be() {
    for (words, said) in [
        (&["--socket", "/s"][..], "invalid option '--socket'; see 'qemu-pr-exporter --help'"),
        (&["--control"], "missing argument for option '--control'"),
        (&["--listen", "here"], "invalid value 'here' for '--listen': expected an IP address and a port"),
        (&["--timeout", "1\u{1b}[2J"], "invalid value '1?[2J' for '--timeout'"),
    ] {
        run(words).expect_error(1, &[said]);
    }
}

#[test]
fn help_and_version_are_told() {
    let help = run(&["--help"]).expect_done();
    assert!(help.starts_with("Serve the metrics of qemu-pr-helper") && help.contains("  /metrics  "), "{help}");
    assert_eq!(run(&["-h"]).expect_done(), help);
    assert_eq!(run(&["--version"]).expect_done(), format!("qemu-pr-exporter {}\n", pr_control::VERSION));
}
