//! The text and the JSON of records: what people read and what programs rely on.
#![expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]

use pr_control::{Answer, Client, Command, Count, Device, Outcome, Record, What};

fn client() -> Client {
    Client {
        connection: 7,
        pid: Some(4242),
        uid: Some(107),
        program: Some("qemu-system-x86".into()),
        unit: Some("machine-qemu\\x2d1\\x2dweb1.scope".into()),
        inner_unit: None,
        vm: Some("web1".into()),
    }
}

fn preempt() -> Record {
    Record {
        time_us: 1_700_000_000_000_001,
        client: client(),
        what: What::Command {
            device: Device {
                kind: "block".into(),
                number: "8:16".into(),
                name: Some("sdb".into()),
                by_id: Some("wwn-0x60014051".into()),
                wwid: Some("0x60014051".into()),
                map: None,
            },
            command: Command {
                action: "PREEMPT".into(),
                reservation_type: Some("write-exclusive-registrants-only".into()),
                scope: None,
                key: Some("0x1".into()),
                service_action_key: Some("0x2".into()),
            },
            outcome: Outcome { status: "GOOD".into(), sense: None, microseconds: 812 },
            note: None,
        },
    }
}

#[test]
fn a_record_reads_as_a_sentence() {
    assert_eq!(
        preempt().to_string(),
        "PREEMPT: GOOD in 812 us; key 0x1, service action key 0x2, type write-exclusive-registrants-only; \
         disk sdb 8:16, wwn-0x60014051; client 7, VM web1, qemu-system-x86[4242], user 107, \
         in machine-qemu\\x2d1\\x2dweb1.scope"
    );
    let counts = vec![
        Count { action: "REGISTER".into(), result: "good".into(), count: 900 },
        Count { action: "CLEAR".into(), result: "conflict".into(), count: 1 },
    ];
    let left_out = Record { what: What::LeftOut { counts }, ..preempt() };
    let left_out = Record { client: Client { connection: 3, ..Client::default() }, ..left_out };
    assert_eq!(
        left_out.to_string(),
        "left out of this trail, because there was so much of it: 900 x REGISTER good, 1 x CLEAR conflict; client 3"
    );
}

#[test]
fn who_asked_for_new_settings_and_what_came_of_it_reads_as_a_sentence() {
    let path = || "/etc/qemu-pr-helper.toml".to_owned();
    let client = || Client { pid: Some(4242), uid: Some(0), program: Some("qemu-pr-ctl".into()), ..Client::default() };
    let record = |what| Record { what, client: client(), ..preempt() };
    let accepted = record(What::Reload { path: path(), accepted: true, rules: Some(3), reason: None });
    assert_eq!(
        accepted.to_string(),
        "new settings, with 3 rules; file /etc/qemu-pr-helper.toml; by the control socket, qemu-pr-ctl[4242], user 0"
    );
    let reason = Some("user 107 may look".to_owned());
    let refused = record(What::Reload { path: path(), accepted: false, rules: None, reason });
    assert_eq!(
        refused.to_string(),
        "new settings refused: user 107 may look; file /etc/qemu-pr-helper.toml; by the control socket, \
         qemu-pr-ctl[4242], user 0"
    );
    let json = serde_json::to_string(&accepted).unwrap();
    assert_eq!(
        json,
        r#"{"time_us":1700000000000001,"client":{"connection":0,"pid":4242,"uid":0,"program":"qemu-pr-ctl"},"event":"reload","path":"/etc/qemu-pr-helper.toml","accepted":true,"rules":3}"#
    );
    assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), accepted);
}

#[test]
fn the_json_of_a_record_is_stable() {
    let json = serde_json::to_string(&preempt()).unwrap();
    assert_eq!(
        json,
        r#"{"time_us":1700000000000001,"client":{"connection":7,"pid":4242,"uid":107,"program":"qemu-system-x86","unit":"machine-qemu\\x2d1\\x2dweb1.scope","vm":"web1"},"event":"command","device":{"kind":"block","number":"8:16","name":"sdb","by_id":"wwn-0x60014051","wwid":"0x60014051"},"command":{"action":"PREEMPT","type":"write-exclusive-registrants-only","key":"0x1","service_action_key":"0x2"},"outcome":{"status":"GOOD","microseconds":812}}"#
    );
    assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), preempt());
    // An older helper's has no place for a note.
    let mut noted = preempt();
    if let What::Command { note, .. } = &mut noted.what {
        *note = Some("path sdb is away".into());
    }
    let with_note = json.replace("}}", r#"},"note":"path sdb is away"}"#);
    assert_eq!(serde_json::to_string(&noted).unwrap(), with_note);
    let answer = Answer::Record(Box::new(preempt()));
    let line = serde_json::to_string(&answer).unwrap();
    assert_eq!(serde_json::from_str::<Answer>(&line).unwrap(), answer);
}
