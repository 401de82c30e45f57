//! What programs read: one JSON value, whatever happens.

use serde_json::{Value, json};

use crate::{daemon::Daemon, run::Run, stand_in::StandIn};

fn value(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"))
}

#[test]
fn every_answer_is_json_with_its_device() {
    let daemon = Daemon::start();
    let host = StandIn::initiator(daemon.socket());
    let disk = daemon.disk();
    let ctl = |line: &str| {
        let run = daemon.ctl(&host.socket(), &format!("{line} --json"));
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
        value(&run)
    };
    assert_eq!(
        ctl("register --new-key 0xa"),
        json!({"device": disk, "action": "REGISTER", "done": "key 0xa is registered for this host"})
    );
    ctl("reserve --key 0xa --type 5");
    assert_eq!(ctl("keys"), json!({"device": disk, "generation": 1, "keys": ["0xa"], "truncated": false}));
    let held = json!({"key": "0xa", "type": 5, "type_name": "write-exclusive-registrants-only", "scope": 0});
    assert_eq!(ctl("reservation"), json!({"device": disk, "generation": 1, "reservation": held}));
    let registration = json!({"key": "0xa", "initiator": "sas:0x3000000000000002", "all_target_ports": false,
        "target_port": 1, "holds": held});
    assert_eq!(
        ctl("status"),
        json!({"device": disk, "generation": 1, "truncated": false, "registrations": [registration]})
    );
    assert_eq!(ctl("capabilities")["types"][0], json!({"type": 1, "type_name": "write-exclusive"}));
    let all = ctl("all");
    assert_eq!((&all["keys"]["keys"][0], &all["reservation"]["reservation"]), (&json!("0xa"), &held));
    assert_eq!(all["status"]["registrations"][0], registration);
    assert_eq!(
        all["access"][1],
        json!({"who": "others who are registered", "reads": true, "writes": true, "reserves": false, "preempts": true})
    );
}

#[test]
fn an_answer_that_is_not_good_is_json_too() {
    let daemon = Daemon::start();
    let run = daemon.ctl(daemon.socket(), "reserve --key 1 --type 1 --json");
    assert_eq!(run.code, Some(24));
    let error = &value(&run)["error"];
    assert_eq!((&error["kind"], &error["exit"], &error["status"]), (&json!("refused"), &json!(24), &json!(24)));
    assert!(error["sense"].is_null() && run.stderr.contains(error["message"].as_str().expect("words")));

    let run = daemon.ctl(std::path::Path::new("/nonexistent/pr.sock"), "release --key 1 --type 1 --json");
    assert_eq!((&value(&run)["error"]["kind"], run.code), (&json!("no-socket"), Some(15)));
}

#[test]
fn sense_data_are_three_numbers() {
    let daemon = Daemon::start();
    let host = StandIn::initiator(daemon.socket());
    let ctl = |line: &str| daemon.ctl(&host.socket(), line);
    ctl("register --new-key 1").expect_done();
    ctl("reserve --key 1 --type 1").expect_done();
    let run = ctl("release --key 1 --type 3 --json");
    assert_eq!(value(&run)["error"]["sense"], json!([5, 0x26, 4]));
}
