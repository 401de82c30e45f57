//! Starting: W3, W5, W6.

use std::fs;

use pr_lab::prelude::*;
use rustix::process::Signal;

use crate::better::{better, bound, expect_refusal};

/// `CAP_SYS_RAWIO` alone.
const RAW_IO: &str = "0000000000020000";
const NONE: &str = "0000000000000000";

#[test]
fn w3_a_signal_during_the_start_is_not_lost() {
    better("signal was lost", |bed| {
        for signal in [Signal::TERM, Signal::INT, Signal::HUP].repeat(7) {
            let helper = bed.launch().spawn();
            while !bed.socket().exists() {
                std::hint::spin_loop();
            }
            helper.signal(signal);
            assert!(helper.ends_within(bound(bed)), "the signal was lost");
            assert!(!bed.socket().exists());
        }
    });
}

#[test]
fn w5_a_pidfile_that_cannot_be_made_is_the_parents_failure() {
    better("left: 0", |bed| {
        let pidfile = bed.path("missing/pid");
        let finished = bed.launch().arg("-d").arg("-f").arg(&pidfile).run();
        finished.expect_refusal(&[pidfile.to_str().unwrap(), "No such file or directory"]);
        eventually("nothing runs on", || bed.processes().iter().all(|process| !process.is_alive()));
        assert!(!bed.socket().exists());
    });
}

#[test]
fn w5_missing_rights_are_the_parents_failure() {
    better("left: 0", |bed| {
        let poor = ["/usr/bin/setpriv", "--bounding-set", "-sys_rawio", "--"];
        let finished = bed.launch().by(&poor).arg("-d").arg("-f").arg(bed.path("pid")).run();
        finished.expect_refusal(&["privileges"]);
        eventually("nothing runs on", || bed.processes().iter().all(|process| !process.is_alive()));
    });
}

#[test]
fn w5_when_the_parent_succeeds_all_is_ready() {
    better("not ready", |bed| {
        for round in 0..25 {
            let pidfile = bed.path(&format!("pid-{round}"));
            let socket = bed.path(&format!("{round}.sock"));
            let launch = bed.launch().at(&socket).arg("-d").args(["-u", "nobody", "-g", "nogroup", "-f"]).arg(&pidfile);
            let parent = launch.spawn();
            assert!(parent.ends_within(PATIENCE));
            let written = fs::read_to_string(&pidfile).unwrap_or_default();
            assert!(written.ends_with('\n'), "not ready: the pidfile holds {written:?}");
            let daemon = bed.daemon(&pidfile);
            for thread in daemon.threads() {
                assert_eq!(thread["CapEff"], RAW_IO, "not ready: the rights are still there");
            }
            assert_eq!(parent.finish().code(), 0);
            Raw::greeted(&socket);
            daemon.signal(Signal::KILL);
        }
    });
}

#[test]
fn w6_every_thread_has_one_capability_and_can_get_no_other() {
    for args in [&[][..], &["-u", "nobody", "-g", "nogroup"]] {
        better("Cap", |bed| {
            let helper = bed.launch().args(args).start();
            helper.connect().expect_served();
            for thread in helper.process().threads() {
                for (set, expected) in
                    [("CapPrm", RAW_IO), ("CapEff", RAW_IO), ("CapInh", NONE), ("CapBnd", NONE), ("CapAmb", NONE)]
                {
                    assert_eq!(thread[set], expected, "{set} of a thread with {args:?}");
                }
                assert_eq!(thread["Groups"], "");
            }
        });
    }
}

#[test]
fn w6_no_thread_can_gain_privileges() {
    better("NoNewPrivs", |bed| {
        let helper = bed.start();
        helper.connect().expect_served();
        for thread in helper.process().threads() {
            assert_eq!(thread["NoNewPrivs"], "1", "NoNewPrivs of a thread");
        }
    });
}

#[test]
fn w6_threads_that_are_started_under_load_are_confined_too() {
    better("Cap", |bed| {
        let helper = bed.launch().device(|_| Outcome::Hang).start();
        let device = null();
        let clients: Vec<_> = (0..8).map(|_| helper.connect()).collect();
        for client in &clients {
            client.send_with(&Raw::cdb_in(0, 8), &[std::os::fd::AsFd::as_fd(&device)]);
        }
        helper.device().await_count(8);
        for thread in helper.process().threads() {
            assert_eq!((&*thread["CapEff"], &*thread["CapBnd"]), (RAW_IO, NONE), "CapEff and CapBnd of a thread");
        }
        helper.device().release(Answer::good(&[]));
    });
}

#[test]
fn w6_the_number_that_means_no_user_is_no_user() {
    for option in ["-u", "-g"] {
        better("starts instead of refusing", |bed| {
            let helper = bed.launch().args([option, "4294967295"]).spawn();
            expect_refusal(bed, helper, &["4294967295"]);
        });
    }
}

#[test]
fn an_events_file_need_not_end_with_a_newline() {
    better("shortened", |bed| {
        let path = bed.path("events");
        let names = bed.launch().bare().args(["-T", "help"]).run().stdout;
        fs::write(&path, names.split_whitespace().next().unwrap()).unwrap();
        let helper = bed.launch().arg("-T").arg(format!("events={}", path.display())).start();
        // All that it has said is there once it has ended.
        let said = helper.end(Signal::TERM).stderr;
        assert!(!said.contains("warning"), "shortened: {said}");
    });
}

#[test]
fn a_directory_is_no_events_file() {
    better("starts instead of refusing", |bed| {
        let helper = bed.launch().arg("-T").arg(format!("events={}", bed.dir().display())).spawn();
        expect_refusal(bed, helper, &[bed.dir().to_str().unwrap(), "Is a directory"]);
    });
}

#[test]
fn a_trace_option_without_a_file_leaves_the_file_of_another_one() {
    better("traces go astray", |bed| {
        let log = bed.path("log");
        let trace = format!("*,file={}", log.display());
        let helper = bed.launch().args(["-T", &trace, "-T", "no_such_*"]).start();
        helper.connect().expect_served();
        let filled = within(bound(bed), || fs::metadata(&log).is_ok_and(|file| file.len() > 0));
        assert!(filled, "traces go astray: {}", helper.stderr());
    });
}
