//! `-T`: the behaviour that both helpers share. The events themselves are each helper's own.

use std::fs;

use pr_lab::prelude::*;

use crate::OURS;

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

#[test]
fn the_list_is_all_that_comes_of_asking_for_it() {
    both(OURS, |bed| {
        let names = events(bed).len();
        let log = bed.path("log");
        let with_file = format!("help,file={}", log.display());
        let after_file = format!("file={}", bed.path("missing/log").display());
        for args in [&["-T", "enable=?"][..], &["-T", &with_file], &["-T", &after_file, "-T", "help"]] {
            let finished = bed.launch().bare().args(args).run();
            finished.expect_silent_success();
            assert_eq!(finished.stdout.lines().count(), names, "{args:?}");
        }
        assert!(!log.exists());
        bed.launch().args(["-T", "bogus=1", "-T", "help"]).run().expect_refusal(&["bogus"]);
    });
}

#[test]
fn of_several_options_each_counts_and_of_several_files_the_last() {
    both(OURS, |bed| {
        let (first, second) = (bed.path("first"), bed.path("second"));
        let to_first = format!("*,file={}", first.display());
        let to_second = format!("no_such_event,file={}", second.display());
        let helper = bed.launch().args(["-T", "no_such_either", "-T", &to_first, "-T", &to_second]).start();
        helper.connect().expect_served();
        eventually("the log fills", || fs::metadata(&second).is_ok_and(|file| file.len() > 0));
        helper.await_stderr("'no_such_event'");
        assert!(helper.stderr().contains("'no_such_either'"), "{}", helper.stderr());
        assert!(!first.exists(), "the first file is not even made");
    });
}

#[test]
fn of_several_values_of_one_parameter_the_last_counts() {
    both(OURS, |bed| {
        let helper = traced(bed, "enable=no_such_event,enable=no_such_either");
        helper.await_stderr("'no_such_either'");
        assert!(!helper.stderr().contains("no_such_event"), "{}", helper.stderr());
    });
}

#[test]
fn a_name_that_is_given_and_empty_is_unknown() {
    both(OURS, |bed| {
        for trace in [",", "enable=", "enable=,"] {
            traced(bed, trace).await_stderr("''");
        }
    });
}

#[test]
fn a_comma_at_the_end_begins_nothing() {
    both(OURS, |bed| assert_eq!(traced(bed, "no_such_*,").stderr(), ""));
}

#[test]
fn a_value_without_a_name_of_a_parameter_is_refused() {
    both(OURS, |bed| bed.launch().args(["-T", "=x"]).run().expect_refusal(&["Invalid parameter ''"]));
}

#[test]
fn a_disabled_name_that_is_unknown_is_warned_about_too() {
    both(OURS, |bed| {
        traced(bed, "-no_such_event").await_stderr("'no_such_event'");
        let path = bed.path("events");
        fs::write(&path, "\n-no_such_event\n-no_such_*\n").unwrap();
        let helper = traced(bed, &format!("events={}", path.display()));
        helper.await_stderr("'no_such_event'");
        assert!(helper.stderr().contains(&format!("{}:2:", path.display())), "{}", helper.stderr());
        assert_eq!(helper.stderr().matches("no_such").count(), 1, "{}", helper.stderr());
    });
}

#[test]
fn a_log_files_name_may_have_one_number_in_it_and_no_other_percent_sign() {
    both(OURS, |bed| {
        for name in ["%d-%d", "%%d", "%s", "%"] {
            let finished = bed.launch().args(["-T", &format!("file={name}")]).run();
            finished.expect_refusal(&["Bad logfile template", name]);
        }
        let names: Vec<_> = fs::read_dir(bed.dir()).unwrap().flatten().collect();
        assert!(names.is_empty(), "{names:?}");
    });
}

#[test]
fn a_directory_is_no_log_file() {
    both(OURS, |bed| {
        let finished = bed.launch().arg("-T").arg(format!("file={}", bed.dir().display())).run();
        finished.expect_refusal(&["Error opening logfile", "Is a directory"]);
    });
}

#[test]
fn files_without_a_name_are_refused() {
    both(OURS, |bed| {
        for trace in ["file=", "events="] {
            bed.launch().args(["-T", trace]).run().expect_refusal(&["No such file or directory"]);
        }
    });
}

#[test]
fn a_full_log_file_keeps_nobody_from_being_served() {
    both(OURS, |bed| {
        let helper = traced(bed, "*,file=/dev/full");
        for _ in 0..50 {
            helper.connect().expect_served();
        }
    });
}

#[test]
fn a_log_file_is_made_where_the_program_is_started_also_for_a_daemon() {
    both(OURS, |bed| {
        let pidfile = bed.path("pid");
        bed.launch().args(["-T", "*,file=log", "-d", "-f"]).arg(&pidfile).run().expect_silent_success();
        Raw::greeted(&bed.socket()).expect_served();
        eventually("the log fills", || fs::metadata(bed.path("log")).is_ok_and(|file| file.len() > 0));
    });
}
