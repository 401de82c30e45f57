//! Settings files, good and bad.

use std::{fs, process::Command};

use pr_lab::prelude::*;
use rustix::process::Signal;

use crate::{OURS, ours};

/// Output and exit status of `--check-config`.
fn check(bed: &Bed, text: &str) -> (String, i32) {
    let path = bed.path("checked.toml");
    fs::write(&path, text).unwrap();
    let output = Command::new(OURS).arg("--check-config").arg("--config").arg(path).output().unwrap();
    let words = [output.stdout, output.stderr].concat();
    (String::from_utf8(words).unwrap(), output.status.code().unwrap())
}

#[test]
fn a_file_can_be_checked_without_starting_anything() {
    ours(|bed| {
        let path = bed.path("checked.toml").display().to_string();
        assert_eq!(check(bed, "[[rule]]\nuser = [1]\n"), (format!("{path}: ok, 1 rule\n"), 0));
        let (words, code) = check(bed, "[[rule]]\n[[rule]]\n");
        assert!(words.contains("warning: the rule \"rule 2\" is never reached"), "{words}");
        assert!(words.ends_with(": ok, 2 rules\n") && code == 0, "{words}");
        let (words, code) = check(bed, "[[rule]]\nuser = [\"nobody-of-that-name\"]\n");
        assert!(words.starts_with(&format!("qemu-pr-helper: {path}:2:9: there is no user")), "{words}");
        assert!(words.contains("create it, or write its number (the line is: user = "), "{words}");
        assert_eq!(code, 1);
        let defaults = "[defaults]\nquiet = true\naudit = \"off\"\n";
        assert_eq!(check(bed, defaults), (format!("{path}: ok, 0 rules, 2 defaults\n"), 0));
        let (words, code) = check(bed, "[defaults]\naudit = \"of\"\n");
        assert!(words.starts_with(&format!("qemu-pr-helper: {path}:2:9: option '--audit' cannot have")), "{words}");
        assert_eq!(code, 1);
        assert!(!bed.socket().exists());
    });
}

#[test]
fn a_bad_file_or_none_stops_the_start_and_leaves_nothing() {
    ours(|bed| {
        let bad = bed.launch_with("default = \"allow\"\nruel = 1\n").run();
        bad.expect_refusal(&["settings.toml:2:1:", "unknown field `ruel`", "correct or remove it"]);
        let none = bed.launch().args(["--config", "/no/such/file.toml"]).run();
        none.expect_refusal(&["/no/such/file.toml", "no such file", "--config"]);
        let path = bed.path("latin.toml");
        fs::write(&path, b"# \xe4\n").unwrap();
        bed.launch().arg("--config").arg(path).run().expect_refusal(&["latin.toml", "UTF-8"]);
        assert!(!bed.socket().exists());
    });
}

#[test]
fn what_is_in_force_can_be_seen() {
    ours(|bed| {
        let helper = bed.launch_with("[[rule]]\n[[rule]]\n").start();
        helper.await_stderr("is never reached");
        let settings = bed.control().snapshot().unwrap().settings.expect("settings");
        assert_eq!((settings.path, settings.rules), (bed.path("settings.toml").display().to_string(), 2));
        assert!(settings.since_us > 0);
        assert_eq!(helper.end(Signal::TERM).code(), 0);
    });
}

#[test]
fn the_path_of_a_daemon_is_kept_whole() {
    ours(|bed| {
        fs::write(bed.path("relative.toml"), "").unwrap();
        let launch = bed.launch().args(["--config", "relative.toml"]);
        let helper = launch.arg("--control").arg(bed.control_path()).start();
        let settings = bed.control().snapshot().unwrap().settings.expect("settings");
        assert_eq!(settings.path, bed.path("relative.toml").display().to_string());
        helper.end(Signal::TERM).expect_silent_success();
    });
}
