//! `ping`, `bench` and `watch`.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use pr_control::{Control, Requests};
use rustix::process::Signal;
use serde_json::Value;

use crate::{
    daemon::Daemon,
    run::{PROGRAM, run},
    simulate::{Simulator, signal},
};

#[test]
fn ping_times_as_many_requests_as_are_wanted() {
    let simulator = Simulator::start(&[]);
    let said = simulator.ctl("ping -n 7").expect_done();
    assert!(said.contains("7, READ KEYS of /") && said.contains("99th percentile"), "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    let json: Value = serde_json::from_str(&simulator.ctl("ping -n 5 --json").expect_done()).expect("JSON");
    assert_eq!((&json["requests"]["count"], &json["features"]), (&5.into(), &0.into()));
    assert!(json["requests"]["p99_microseconds"].as_f64().is_some_and(|time| time > 0.0), "{json}");
    assert_eq!((&json["answers"]["simulates"], &json["answers"]["guards_read_only"]), (&true.into(), &true.into()));
}

#[test]
fn a_ping_leaves_nothing_in_the_trail_and_in_the_figures() {
    for options in [&[][..], &["--simulate"]] {
        let daemon = Daemon::start_with(options);
        let control = Control::new(daemon.control(), pr_lab::PATIENCE);
        let mut trail = control.follow().expect("a trail");
        let said = run(daemon.socket(), &["ping"]).expect_done();
        let answers = [("simulates disks", options.is_empty()), ("guards read-only descriptors", false)];
        for (what, is_no) in answers {
            let line = said.lines().find(|line| line.contains(what)).expect("an answer");
            assert!(line.ends_with(if is_no { "no" } else { "yes" }), "{said}");
        }
        let now = control.snapshot().expect("a state");
        assert_eq!(now.requests.iter().map(Requests::count).sum::<u64>(), 0);
        assert_eq!(now.refusals.iter().map(|refusal| refusal.count).sum::<u64>(), 0);
        assert_eq!((now.totals.audit_records, now.totals.audit_left_out), (0, 0));
        // What comes next is the first that is in there; no disk is needed for that.
        let said = run(daemon.socket(), &["register", "--new-key", "0xa", &daemon.disk()]);
        assert_eq!(said.code == Some(0), !options.is_empty(), "{said:?}");
        let record = format!("{:?}", trail.next());
        assert!(record.contains("REGISTER") && record.contains("0xa"), "{record}");
        let now = control.snapshot().expect("a state");
        assert_eq!(now.requests.iter().map(Requests::count).sum::<u64>(), 1);
    }
}

#[test]
fn bench_measures_at_each_number_of_connections() {
    let simulator = Simulator::start(&[]);
    let words = ["bench", "--connections", "1,3", "--seconds", "0.05"];
    let said = run(&simulator.socket(), &words).expect_done();
    let rows: Vec<&str> = said.lines().filter(|line| line.trim().starts_with(['1', '3'])).collect();
    assert_eq!(rows.len(), 2, "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    let json = run(&simulator.socket(), &[&words[..], &["--json"]].concat()).expect_done();
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let row = &json["runs"][1];
    assert_eq!(row["connections"], 3);
    assert!(row["latency"]["count"].as_u64().is_some_and(|count| count >= 3), "{json}");
    assert!(row["requests_per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{json}");
}

#[test]
fn bench_needs_a_helper() {
    let nowhere = std::path::Path::new("/nonexistent/pr.sock");
    run(nowhere, &["bench"]).expect_error(15, &["cannot connect to", "No such file or directory"]);
}

#[test]
fn watch_tells_what_changes_until_it_is_interrupted() {
    let simulator = Simulator::start(&[]);
    let mut command = Command::new(PROGRAM);
    command.args(["watch", &simulator.path("disk"), "--json", "--interval", "0.01", "--socket"]);
    let mut child = command.arg(simulator.socket()).stdout(Stdio::piped()).spawn().expect("run the tool");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut next = || -> (String, String) {
        let line = lines.next().expect("more").expect("a line");
        let json: Value = serde_json::from_str(&line).expect("JSON");
        assert!(json["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
        (json["what"].as_str().expect("what").to_owned(), json["value"].as_str().expect("a value").to_owned())
    };
    let words = |what: &str, value: &str| (what.to_owned(), value.to_owned());
    assert_eq!(next(), words("free", "no reservation"));
    assert_eq!(next(), words("generation", "0"));
    simulator.ctl("register --new-key 0xa").expect_done();
    assert_eq!(next(), words("registered", "0xa by sas:0x3000000000000002, port 1"));
    assert_eq!(next(), words("generation", "1"));
    signal(&child, Signal::INT);
    child.wait().expect("its end");
    assert!(lines.next().is_none());
}
