//! New settings for a helper that runs.

use std::collections::BTreeMap;

use pr_control::{Ask, ControlError};
use pr_lab::prelude::*;
use rustix::process::Signal;

use crate::policy::{expect_denied, keys, ours};

fn reload(bed: &Bed, text: &str) -> Result<Vec<String>, ControlError> {
    let users = BTreeMap::from([("alice".to_owned(), 0)]);
    let ask = Ask::Reload { path: "/etc/new.toml".into(), text: text.into(), users, groups: BTreeMap::new() };
    bed.control().order(&ask)
}

const ALICE_MAY_NOT: &str = "[[rule]]\nuser = [\"alice\"]\naction = [\"CLEAR\"]\ndecision = \"deny\"\n";

#[test]
fn new_settings_count_from_the_next_request_on() {
    ours(|bed| {
        let bare = bed.launch().arg("--control").arg(bed.control_path());
        let helper = bare.device(|_| Answer::good(&[]).into()).start();
        let client = helper.connect();
        client.pr_out(null(), 3, &keys(1, 0)).expect_bare(0);
        assert_eq!(bed.control().snapshot().unwrap().settings, None);

        assert_eq!(reload(bed, ALICE_MAY_NOT).unwrap(), [""; 0]);
        expect_denied(&client.pr_out(null(), 3, &keys(1, 0)));
        client.pr_out(null(), 4, &keys(1, 2)).expect_bare(0);
        let settings = bed.control().snapshot().unwrap().settings.expect("settings");
        assert_eq!((settings.path.as_str(), settings.rules), ("/etc/new.toml", 1));

        assert_eq!(reload(bed, "").unwrap(), [""; 0]);
        client.pr_out(null(), 3, &keys(1, 0)).expect_bare(0);
        let warnings = reload(bed, "[[rule]]\n[[rule]]\n").unwrap();
        assert!(warnings.concat().contains("never reached"), "{warnings:?}");
        helper.end(Signal::TERM).expect_silent_success();
    });
}

#[test]
fn bad_settings_are_refused_and_the_old_ones_stay() {
    ours(|bed| {
        let helper = bed.launch_with("").device(|_| Answer::good(&[]).into()).start();
        reload(bed, ALICE_MAY_NOT).unwrap();
        let client = helper.connect();
        // Names are looked up by whoever sends the settings. Looking one up here would end the helper.
        for (text, place) in [
            ("default = 1", "1:11"),
            ("[[rule]]\nuser = [\"root\"]", "2:9"),
            ("[[rule]]\ngroup = [\"alice\"]", "2:10"),
            (&"[".repeat(100_000), "1:"),
            (&format!("a = {}", "[".repeat(60_000)), "1:"),
            (&format!("a{} = 1", ".a".repeat(30_000)), "1:"),
            (&format!("a = {}", "{ a = ".repeat(10_000)), "1:"),
        ] {
            let refused = reload(bed, text).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("/etc/new.toml:{place}")), "{refused}");
            assert!(refused.ends_with("the helper keeps its settings"), "{refused}");
            expect_denied(&client.pr_out(null(), 3, &keys(1, 0)));
        }
        let long = reload(bed, &"#".repeat(130 * 1024)).unwrap_err().to_string();
        assert!(long.contains("the limit is"), "{long}");
        helper.end(Signal::TERM).expect_silent_success();
    });
}

#[test]
fn a_hangup_signal_still_ends_the_program() {
    ours(|bed| {
        let helper = bed.launch_with("default = \"deny\"").start();
        helper.end(Signal::HUP).expect_silent_success();
    });
}
