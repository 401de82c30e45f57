use std::{collections::HashMap, fs::File, os::fd::AsFd, process};

use pr_control::What;
use pr_lab::prelude::*;
use rustix::{
    fs::{Mode, OFlags, open},
    process::Signal,
};

use crate::audit::{keys, launch, ours, records};

/// Numbers that look random and are the same in every run.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn the_trail_has_every_command_that_was_sent_and_no_other() {
    ours(|bed| {
        let helper = launch(bed).device(|command| match command.cdb[1] % 3 {
            0 => Answer::good(&[]).into(),
            1 => Answer::status(0x18).into(),
            _ => Answer::check_fixed(6, 0x2a, 3).into(),
        });
        let helper = helper.start();
        let mut trail = bed.control().follow().expect("a trail");
        let clients = [helper.connect(), helper.connect(), helper.connect()];
        let mut state = 7;
        let mut sent = Vec::new();
        // Not more changes than a process has records at once.
        for _ in 0..120 {
            let client = usize::try_from(random(&mut state) % 3).unwrap();
            let action = u8::try_from(random(&mut state) % 10).unwrap();
            if random(&mut state).is_multiple_of(4) {
                // Asking changes nothing.
                clients[client].pr_in(null(), action % 4, 0);
                continue;
            }
            let (key, new) = (random(&mut state), random(&mut state));
            clients[client].pr_out(null(), action, &keys(key, new));
            sent.push((action, key, new));
        }
        let told = records(&mut trail, sent.len());
        let names = ["REGISTER", "RESERVE", "RELEASE", "CLEAR", "PREEMPT", "PREEMPT AND ABORT"];
        let more = ["REGISTER AND IGNORE EXISTING KEY", "REGISTER AND MOVE", "REPLACE LOST RESERVATION"];
        let names: Vec<&str> = names.into_iter().chain(more).chain(["PERSISTENT RESERVE OUT 0x09"]).collect();
        for ((action, key, new), record) in sent.into_iter().zip(told) {
            let What::Command { device, command, outcome, note: None } = &record.what else { panic!("{record}") };
            assert_eq!(command.action, names[usize::from(action)]);
            let told_key = (action != 6).then(|| format!("{key:#x}"));
            let told_new = (!matches!(action, 1..=3)).then(|| format!("{new:#x}"));
            assert_eq!((&command.key, &command.service_action_key), (&told_key, &told_new), "{record}");
            let status = ["GOOD", "RESERVATION CONFLICT", "CHECK CONDITION"][usize::from(action % 3)];
            assert_eq!(outcome.status, status);
            assert_eq!(outcome.sense.is_some(), action % 3 == 2);
            assert_eq!(device.number, "1:3");
            assert_eq!((record.client.pid, record.client.uid), (Some(process::id()), Some(0)));
        }
        drop(clients);
        let end = helper.end(Signal::TERM);
        assert_eq!(end.code(), 0);
        assert!(trail.next().is_none(), "nothing was invented");
    });
}

#[test]
fn a_command_that_does_not_come_back_before_the_client_leaves_is_in_the_trail() {
    ours(|bed| {
        let helper = launch(bed).device(|_| Outcome::Hang).start();
        let mut trail = bed.control().follow().expect("a trail");
        let client = helper.connect();
        client.send_with(&Raw::cdb_out(3, 24), &[null().as_fd()]);
        client.send(&keys(1, 0));
        helper.device().await_count(1);
        drop(client);
        helper.device().release(Answer::good(&[]));
        let told = records(&mut trail, 1);
        assert!(told[0].to_string().starts_with("CLEAR: GOOD in "), "{}", told[0]);
    });
}

#[test]
fn a_refusal_is_in_the_trail_with_its_reason() {
    ours(|bed| {
        let helper = launch(bed).start();
        let mut trail = bed.control().follow().expect("a trail");
        let read_only = open("/dev/null", OFlags::RDONLY, Mode::empty()).unwrap();
        helper.connect().pr_out(read_only, 3, &keys(7, 0)).expect_check(5, 0x20, 0);
        let told = records(&mut trail, 1);
        let What::Refusal { command, outcome, reason, .. } = &told[0].what else { panic!("{}", told[0]) };
        assert_eq!((command.action.as_str(), command.key.as_deref()), ("CLEAR", Some("0x7")));
        assert_eq!(outcome.status, "CHECK CONDITION");
        assert_eq!(reason, "the descriptor is open for reading only");
        let audit = helper.end(Signal::TERM).audit;
        assert!(audit.len() == 1 && audit[0].starts_with("CLEAR refused: the descriptor"), "{audit:?}");
    });
}

#[test]
fn what_a_flood_leaves_out_is_counted_and_the_sum_is_right() {
    ours(|bed| {
        let helper = launch(bed).device(|_| Answer::good(&[]).into()).start();
        let mut trail = bed.control().follow().expect("a trail");
        let client = helper.connect();
        let device = null();
        for number in 0..1000 {
            client.pr_out(&device, if number % 100 == 99 { 3 } else { 0 }, &keys(1, 2)).expect_bare(0);
        }
        drop(client);
        helper.end(Signal::TERM);
        let mut counts: HashMap<String, u64> = HashMap::new();
        let mut own = 0;
        for told in trail.by_ref() {
            let pr_control::Told::Record(record) = told.unwrap() else { panic!("lost") };
            match record.what {
                What::Command { command, .. } => {
                    own += 1;
                    *counts.entry(command.action).or_default() += 1;
                }
                What::LeftOut { counts: left_out } => {
                    for count in left_out {
                        assert_eq!(count.result, "good");
                        *counts.entry(count.action).or_default() += count.count;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(counts, HashMap::from([("REGISTER".to_owned(), 990), ("CLEAR".to_owned(), 10)]));
        assert!((100..900).contains(&own), "{own} records of their own");
    });
}

#[test]
fn without_a_trail_nothing_is_told() {
    ours(|bed| {
        let helper = launch(bed).args(["--audit", "off"]).start();
        helper.connect().pr_out(null(), 3, &keys(1, 2));
        let refused = bed.control().follow().err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused.contains("--audit off"), "{refused}");
        let end = helper.end(Signal::TERM);
        assert_eq!(end.audit, [""; 0]);
        end.expect_silent_success();
    });
}

#[test]
fn keys_are_told_as_the_option_says() {
    ours(|bed| {
        let told = |how: &str| {
            let helper = bed.launch().args(["--audit-keys", how]).start();
            helper.connect().pr_out(null(), 4, &keys(0xdead_beef, 0xfeed)).expect_check(0xb, 0, 6);
            helper.end(Signal::TERM).audit.concat()
        };
        let shown = told("show");
        assert!(shown.contains("key 0xdeadbeef, service action key 0xfeed"), "{shown}");
        let hashed = told("hash");
        assert!(hashed.contains("key #") && !hashed.contains("deadbeef"), "{hashed}");
        let hidden = told("hide");
        assert!(!hidden.contains("key ") && hidden.contains("PREEMPT"), "{hidden}");
        let wrong = bed.launch().args(["--audit-keys", "bogus"]).run();
        wrong.expect_refusal(&["--audit-keys", "bogus"]);
    });
}

#[test]
fn a_file_that_is_no_device_is_named_as_one() {
    ours(|bed| {
        let helper = bed.launch().arg("--simulate").start();
        let path = bed.path("disk");
        File::create(&path).unwrap();
        let disk = File::options().read(true).write(true).open(&path).unwrap();
        helper.connect().pr_out(disk, 6, &keys(0, 9)).expect_bare(0);
        let audit = helper.end(Signal::TERM).audit.concat();
        assert!(audit.contains("REGISTER AND IGNORE EXISTING KEY: GOOD"), "{audit}");
        assert!(audit.contains("service action key 0x9; disk file "), "{audit}");
    });
}
