//! The tool against the real daemon: what it reports is what it did.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    daemon::Daemon,
    exporter::{Exporter, FAMILIES, KEPT, value},
    run::{PROGRAM, run_control},
    stand_in::StandIn,
};

/// So many commands are sent, one of each kind for each result.
const SENT: [(&str, &str, &str, f64); 5] = [
    ("register --new-key 0xa", "REGISTER", "good", 1.0),
    ("reserve --key 0xa --type 5", "RESERVE", "good", 1.0),
    ("reserve --key 0xb --type 5", "RESERVE", "conflict", 3.0),
    ("release --key 0xa --type 3", "RELEASE", "check-condition", 2.0),
    ("keys", "READ KEYS", "good", 4.0),
];

fn send_all(daemon: &Daemon) {
    let host = StandIn::initiator(daemon.socket());
    for (line, _, _, times) in SENT {
        let mut left = times;
        while left > 0.0 {
            daemon.ctl(&host.socket(), line);
            left -= 1.0;
        }
    }
}

#[test]
#[expect(clippy::float_cmp, reason = "they are whole numbers")]
fn the_exporters_figures_agree_with_the_commands_that_were_sent() {
    let daemon = Daemon::start();
    // The control socket is root's alone.
    let exporter = Exporter::with(&[daemon.control()], &["--user", "root"]);
    let before = exporter.metrics();
    assert_eq!(value(&before, "qemu_pr_helper_up", &[]), 1.0);
    send_all(&daemon);
    for _ in 0..2 {
        daemon.violate();
    }
    std::thread::sleep(KEPT);
    let families = exporter.metrics();
    assert!(families.len() == FAMILIES, "{families:?}");
    for (_, action, result, times) in SENT {
        let labels = [("action", action), ("result", result)];
        assert_eq!(value(&families, "qemu_pr_helper_requests", &labels), times, "{action} {result}");
        let counts = &families["qemu_pr_helper_request_duration_seconds"].samples;
        let of = |sample: &&crate::openmetrics::Sample| {
            sample.0.ends_with("_count") && labels.iter().all(|(name, value)| sample.1[*name] == *value)
        };
        assert_eq!(counts.iter().find(of).map(|sample| sample.2), Some(times), "{action} {result}");
    }
    let all: f64 = families["qemu_pr_helper_requests"].samples.iter().map(|sample| sample.2).sum();
    assert_eq!(all, SENT.iter().map(|(_, _, _, times)| times).sum::<f64>());
    let rule = |rule| value(&families, "qemu_pr_helper_violations", &[("rule", rule)]);
    assert_eq!((rule("unknown-features"), rule("truncated")), (2.0, 0.0));
    // One for all that was sent, and one for each violation.
    let grown = |name: &str| value(&families, name, &[]) - value(&before, name, &[]);
    assert_eq!(grown("qemu_pr_helper_connections_accepted"), 3.0);
    // Each PERSISTENT RESERVE OUT has a record.
    assert_eq!(grown("qemu_pr_helper_audit_records"), 7.0);
}

#[test]
fn the_state_shows_who_is_connected_and_what_went_wrong() {
    let daemon = Daemon::start();
    let host = StandIn::initiator(daemon.socket());
    daemon.ctl(&host.socket(), "reserve --key 0xb --type 5");
    let said = run_control(&daemon.control(), &["state"]).expect_done();
    assert!(said.contains("1 request, 1 conflict, 0 violations"), "{said}");
    let row = said.lines().last().expect("a connection");
    assert!(row.contains("conflict: RESERVE") && row.contains("  1  "), "{said}");
    let json: Value =
        serde_json::from_str(&run_control(&daemon.control(), &["state", "--json"]).expect_done()).expect("JSON");
    assert_eq!(json["connections"][0]["client"]["pid"], std::process::id());
}

#[test]
fn the_log_tells_each_command_as_it_happens_and_ends_with_the_daemon() {
    let daemon = Daemon::start();
    let mut command = Command::new(PROGRAM);
    command.args(["log", "--json", "--control"]).arg(daemon.control()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = daemon.await_follower(|| command.spawn().expect("run the tool"));
    let host = StandIn::initiator(daemon.socket());
    daemon.ctl(&host.socket(), "register --new-key 0xa").expect_done();
    daemon.ctl(&host.socket(), "reserve --key 0xa --type 5").expect_done();
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().expect("more").expect("a line")).expect("JSON") };
    let record = next();
    assert_eq!((&record["command"]["action"], &record["outcome"]["status"]), (&"REGISTER".into(), &"GOOD".into()));
    assert_eq!(record["command"]["service_action_key"], "0xa");
    assert_eq!(next()["command"]["action"], "RESERVE");
    drop(host);
    daemon.end();
    assert_eq!(next()["error"]["kind"], "hung-up");
    assert_eq!(child.wait().expect("its end").code(), Some(99));
}

#[test]
fn what_is_traced_changes_while_it_runs() {
    let daemon = Daemon::start();
    let ctl = |words: &[&str]| run_control(&daemon.control(), words);
    assert!(ctl(&["trace", "list"]).expect_done().starts_with("no trace event is enabled"));
    ctl(&["trace", "enable", "pr_helper_*"]).expect_done();
    let listed = ctl(&["trace", "list"]).expect_done();
    assert!(listed.lines().count() > 1 && listed.lines().all(|event| event.starts_with("pr_helper_")), "{listed}");
    let first = listed.lines().next().expect("an event");
    ctl(&["trace", "disable", first]).expect_done();
    assert!(!ctl(&["trace", "list"]).expect_done().lines().any(|event| event == first));
    let odd = ctl(&["trace", "enable", "no_such_event"]).expect_done();
    assert!(odd.contains("warning: "), "{odd}");
}

#[test]
fn settings_are_given_to_a_daemon_that_opens_no_file() {
    let daemon = Daemon::start();
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().display().to_string();
    let give = |text: &str| {
        std::fs::write(file.path(), text).expect("write it");
        run_control(&daemon.control(), &["reload", "--config", &path])
    };
    let host = StandIn::initiator(daemon.socket());
    let clear = "[[rule]]\nname = \"no clear\"\nuser = [\"root\"]\naction = [\"CLEAR\"]\ndecision = \"deny\"\n";
    give(clear).expect_done();
    daemon.ctl(&host.socket(), "register --new-key 0xa").expect_done();
    daemon.ctl(&host.socket(), "clear --key 0xa").expect_error(5, &["ACCESS DENIED - NO ACCESS RIGHTS"]);
    give("[[rule]]\nuser = [\"no-such-user\"]").expect_error(36, &[":2:9: there is no user", "stay"]);
    daemon.ctl(&host.socket(), "clear --key 0xa").expect_error(5, &["ACCESS DENIED"]);
    // Without a name it is the same file again.
    std::fs::write(file.path(), "").expect("write it");
    run_control(&daemon.control(), &["reload"]).expect_done();
    daemon.ctl(&host.socket(), "clear --key 0xa").expect_done();
}
