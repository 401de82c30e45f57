//! `-T`: the behaviour that both helpers share. The events themselves are each helper's own.

#![expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]

use std::fs;

use pr_lab::prelude::*;

const OURS: &str = env!("CARGO_BIN_EXE_qemu-pr-helper");

/// The names of all events.
fn events(bed: &Bed) -> Vec<String> {
    let finished = bed.launch().bare().args(["-T", "help"]).run();
    finished.expect_silent_success();
    finished.stdout.lines().map(|line| line.split_whitespace().next().unwrap_or_default().to_owned()).collect()
}

/// A helper with this `-T`, after a client has been served.
#[track_caller]
fn traced(bed: &Bed, trace: &str) -> Helper {
    let helper = bed.launch().args(["-T", trace]).start();
    helper.connect().expect_served();
    helper
}

#[test]
fn help_lists_the_events_and_exits() {
    both(OURS, |bed| {
        let names = events(bed);
        assert!(!names.is_empty());
        for name in &names {
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{name:?} is an event's name");
        }
        for spelling in ["?", "enable=help"] {
            let finished = bed.launch().bare().args(["-T", spelling]).run();
            finished.expect_silent_success();
            assert_eq!(finished.stdout.lines().count(), names.len());
        }
    });
}

#[test]
fn every_event_traces_to_standard_error() {
    both(OURS, |bed| {
        for trace in ["*", "enable=*"] {
            let helper = traced(bed, trace);
            eventually("events appear", || !helper.stderr().is_empty());
            let names = events(bed);
            let text = helper.stderr();
            let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            assert!(words.into_iter().any(|word| names.iter().any(|name| name == word)), "{text}");
        }
    });
}

#[test]
fn an_event_of_the_list_may_be_named() {
    both(OURS, |bed| {
        let name = &events(bed)[0];
        let helper = traced(bed, name);
        assert!(!helper.stderr().contains("warning"), "{}", helper.stderr());
    });
}

#[test]
fn an_unknown_event_is_only_warned_about() {
    both(OURS, |bed| {
        let helper = traced(bed, "no_such_event");
        helper.await_stderr("no_such_event");
        assert!(helper.stderr().contains("warning"), "{}", helper.stderr());
    });
}

#[test]
fn a_pattern_that_matches_nothing_is_silent() {
    both(OURS, |bed| {
        for trace in ["no_such_*", "", "-no_such_*"] {
            assert_eq!(traced(bed, trace).stderr(), "", "{trace:?}");
        }
    });
}

#[test]
fn a_pattern_after_a_minus_disables() {
    both(OURS, |bed| {
        let helper = bed.launch().args(["-T", "*", "-T", "-*"]).start();
        helper.connect().expect_served();
        assert_eq!(helper.stderr(), "");
    });
}

#[test]
fn an_unknown_parameter_is_refused_by_name() {
    both(OURS, |bed| {
        bed.launch().args(["-T", "bogus=1"]).run().expect_refusal(&["bogus"]);
        bed.launch().args(["-T", "a,b"]).run().expect_refusal(&["'b'"]);
    });
}

#[test]
fn an_events_file_enables_and_disables() {
    both(OURS, |bed| {
        let path = bed.path("events");
        let trace = format!("events={}", path.display());
        fs::write(&path, "# a comment\n\n*\n").unwrap();
        let helper = traced(bed, &trace);
        eventually("events appear", || !helper.stderr().is_empty());
        drop(helper);
        fs::write(&path, "*\n-*\n").unwrap();
        assert_eq!(traced(bed, &trace).stderr(), "");
    });
}

#[test]
fn an_unknown_name_in_an_events_file_is_warned_about_with_its_place() {
    both(OURS, |bed| {
        let path = bed.path("events");
        fs::write(&path, "# a comment\n\nno_such_event\n").unwrap();
        let helper = traced(bed, &format!("events={}", path.display()));
        helper.await_stderr("no_such_event");
        assert!(helper.stderr().contains(&format!("{}:3:", path.display())), "{}", helper.stderr());
    });
}

#[test]
fn a_missing_events_file_is_refused() {
    both(OURS, |bed| {
        let path = bed.path("missing");
        let finished = bed.launch().arg("-T").arg(format!("events={}", path.display())).run();
        finished.expect_refusal(&[path.to_str().unwrap(), "No such file or directory"]);
    });
}

#[test]
fn a_log_file_takes_the_events_instead_of_standard_error() {
    both(OURS, |bed| {
        let log = bed.path("log");
        let helper = traced(bed, &format!("*,file={}", log.display()));
        eventually("the log fills", || fs::metadata(&log).is_ok_and(|file| file.len() > 0));
        assert_eq!(helper.stderr(), "");
    });
}

#[test]
fn percent_d_in_the_log_file_is_the_process_number() {
    both(OURS, |bed| {
        let helper = traced(bed, &format!("*,file={}", bed.path("log-%d").display()));
        let log = bed.path(&format!("log-{}", helper.process().id()));
        eventually("the log fills", || fs::metadata(&log).is_ok_and(|file| file.len() > 0));
    });
}

#[test]
fn two_commas_in_a_file_name_are_one() {
    both(OURS, |bed| {
        let helper = traced(bed, &format!("*,file={}", bed.path("a,,b").display()));
        eventually("the log fills", || fs::metadata(bed.path("a,b")).is_ok_and(|file| file.len() > 0));
        drop(helper);
    });
}

#[test]
fn a_log_file_that_cannot_be_made_is_refused() {
    both(OURS, |bed| {
        let path = bed.path("missing/log");
        let finished = bed.launch().arg("-T").arg(format!("*,file={}", path.display())).run();
        finished.expect_refusal(&[path.to_str().unwrap(), "No such file or directory"]);
    });
}
