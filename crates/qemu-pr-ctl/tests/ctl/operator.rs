//! The tool against the real daemon: what it reports is what it did.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    daemon::Daemon,
    run::{PROGRAM, run_control},
    stand_in::StandIn,
};

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
    give("[[rule]]\nuser = [\"no-such-user\"]")
        .expect_error(36, &[":2:9: there is no user", "the helper keeps its settings"]);
    daemon.ctl(&host.socket(), "clear --key 0xa").expect_error(5, &["ACCESS DENIED"]);
    // Without a name it is the same file again.
    std::fs::write(file.path(), "").expect("write it");
    run_control(&daemon.control(), &["reload"]).expect_done();
    daemon.ctl(&host.socket(), "clear --key 0xa").expect_done();
}
