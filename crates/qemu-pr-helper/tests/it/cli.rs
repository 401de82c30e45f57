//! The command line: the behaviour that both helpers share.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;

use pr_lab::prelude::*;

use crate::OURS;

/// Asserts that these arguments end with exit status 0 and something on standard output alone.
#[track_caller]
fn prints(bed: &Bed, args: &[&str]) -> String {
    let finished = bed.launch().bare().args(args).run();
    finished.expect_silent_success();
    assert!(!finished.stdout.is_empty(), "{args:?}");
    finished.stdout
}

/// Asserts that these arguments are refused with these words.
#[track_caller]
fn refused(bed: &Bed, args: &[&str], words: &[&str]) {
    let finished = bed.launch().bare().args(args).run();
    finished.expect_refusal(words);
    assert_eq!(finished.stdout, "", "{args:?}");
}

#[test]
fn help_names_every_option_of_the_original() {
    both(OURS, |bed| {
        for args in [["-h"], ["--help"]] {
            let help = prints(bed, &args);
            assert!(help.contains("Usage: "), "{help}");
            for option in ["help", "version", "daemon", "pidfile", "socket", "trace", "user", "group"] {
                assert!(help.contains(&format!("--{option}")), "--{option} in {help}");
            }
            for default in ["/run/qemu-pr-helper.sock", "/run/qemu-pr-helper.pid"] {
                assert!(help.contains(default), "{default} in {help}");
            }
        }
    });
}

#[test]
fn help_succeeds_even_where_it_cannot_be_written() {
    both(OURS, |bed| {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        for stdout in [Stream::Fd(full.into()), Stream::Closed] {
            assert_eq!(bed.launch().bare().arg("-h").stream(1, stdout).run().code(), 0);
        }
    });
}

#[test]
fn version_is_printed() {
    both(OURS, |bed| {
        for args in [["-V"], ["--version"]] {
            let version = prints(bed, &args);
            // Scripts take the second word; in parentheses stands who built it, or from what.
            let words: Vec<_> = version.lines().next().unwrap().splitn(3, ' ').collect();
            assert!(words[0].ends_with("qemu-pr-helper"), "{version}");
            assert!(words[1].split('.').all(|number| number.parse::<u32>().is_ok()), "{version}");
            let built = words.get(2).copied().unwrap_or("()");
            assert!(built.starts_with('(') && built.ends_with(')'), "{version}");
        }
    });
}

#[test]
fn long_options_may_be_abbreviated() {
    both(OURS, |bed| {
        prints(bed, &["--he"]);
        prints(bed, &["--vers"]);
        let pidfile = bed.path("p");
        let pidfile = pidfile.to_str().unwrap();
        let socket = bed.socket();
        let helper = bed.launch().bare().args(["--sock", socket.to_str().unwrap(), "--pid", pidfile]).spawn();
        eventually("the pidfile appears", || std::fs::metadata(pidfile).is_ok_and(|file| file.len() > 0));
        Raw::greeted(&socket);
        drop(helper);
    });
}

#[test]
fn an_ambiguous_abbreviation_is_refused() {
    both(OURS, |bed| refused(bed, &["--ver"], &["--ver"]));
}

#[test]
fn short_options_may_be_bundled() {
    both(OURS, |bed| {
        assert!(prints(bed, &["-hV"]).contains("Usage: "));
        let socket = bed.socket();
        let helper = bed.launch().bare().arg(format!("-qvk{}", socket.display())).spawn();
        eventually("the helper listens", || pr_lab::connect_stream(&socket).is_ok());
        Raw::greeted(&socket);
        drop(helper);
    });
}

#[test]
fn a_long_option_takes_its_value_after_an_equals_sign_or_a_blank() {
    both(OURS, |bed| {
        for args in [
            vec![format!("--socket={}", bed.socket().display())],
            vec!["--socket".to_owned(), bed.socket().display().to_string()],
        ] {
            let helper = bed.launch().bare().args(args).spawn();
            eventually("the helper listens", || pr_lab::connect_stream(&bed.socket()).is_ok());
            Raw::greeted(&bed.socket());
            helper.end(rustix::process::Signal::TERM).expect_silent_success();
        }
    });
}

#[test]
fn options_are_acted_on_in_order() {
    both(OURS, |bed| {
        assert!(prints(bed, &["-h", "-k", "relative"]).contains("Usage: "));
        assert!(prints(bed, &["-V", "--nonsense"]).contains('.'));
        refused(bed, &["-k", "relative", "-h"], &["absolute"]);
    });
}

#[test]
fn operands_are_ignored_and_options_may_follow_them() {
    both(OURS, |bed| {
        let other = bed.path("other.sock");
        let helper = bed.launch().args(["operand", "-k"]).arg(&other).args(["--", "-h", "--nonsense"]).spawn();
        // The path is there before anybody listens at it.
        eventually("the helper listens at the last path", || UnixStream::connect(&other).is_ok());
        Raw::greeted(&other).expect_served();
        assert!(!bed.socket().exists());
        drop(helper);
    });
}

#[test]
fn posixly_correct_ends_the_options_at_the_first_operand() {
    both(OURS, |bed| {
        let helper = bed.launch().env("POSIXLY_CORRECT", "1").args(["operand", "-V", "--nonsense"]).start();
        helper.connect().expect_served();
    });
}

#[test]
fn the_default_paths_are_in_var_run() {
    // A /run of its own, so that no helper of this machine is disturbed.
    const PRIVATE: [&str; 5] =
        ["/usr/bin/unshare", "-m", "/bin/sh", "-c", "mount -t tmpfs none /run && exec \"$0\" \"$@\""];
    both(OURS, |bed| {
        let helper = bed.launch().bare().by(&PRIVATE).arg("-d").spawn();
        assert!(helper.ends_within(PATIENCE), "the parent exits");
        let daemon = *bed.processes().iter().find(|process| process.is_alive()).expect("a daemon");
        let run = format!("/proc/{}/root/run/qemu-pr-helper", daemon.id());
        let socket = std::path::PathBuf::from(format!("{run}.sock"));
        eventually("the daemon listens", || pr_lab::connect_stream(&socket).is_ok());
        Raw::greeted(&socket).expect_served();
        let number = std::fs::read_to_string(format!("{run}.pid")).unwrap();
        assert_eq!(number, format!("{}\n", daemon.id()));
    });
}

#[test]
fn the_last_socket_path_wins() {
    both(OURS, |bed| {
        let last = bed.path("last.sock");
        let helper = bed.launch().arg("-k").arg(bed.path("middle.sock")).arg("-k").arg(&last).spawn();
        // A socket's file is there before anyone listens at it.
        Raw::connect_within(&last, PATIENCE).expect("the helper listens at the last path").hello();
        assert!(!bed.socket().exists() && !bed.path("middle.sock").exists());
        drop(helper);
    });
}

#[test]
fn a_socket_path_must_be_absolute() {
    both(OURS, |bed| {
        for path in ["relative", "./relative", ""] {
            refused(bed, &["-k", path], &["socket", "absolute"]);
        }
    });
}

#[test]
fn a_socket_path_need_not_be_text() {
    both(OURS, |bed| {
        let path = bed.path("x").with_file_name(OsString::from_vec(vec![b's', 0xff, 0xfe, b'\n', b' ']));
        let helper = bed.launch().at(&path).start();
        helper.connect().expect_served();
    });
}

#[test]
fn a_socket_path_may_have_108_bytes_and_no_more() {
    both(OURS, |bed| {
        let padded = |length: usize| {
            let room = length - bed.path("").as_os_str().len();
            bed.path(&"s".repeat(room))
        };
        for length in [107, 108] {
            let path = padded(length);
            assert_eq!(path.as_os_str().len(), length);
            let helper = bed.launch().at(&path).start();
            helper.connect().expect_served();
            assert!(path.exists());
            helper.end(rustix::process::Signal::TERM).expect_silent_success();
        }
        let path = padded(109);
        refused(bed, &["-k", path.to_str().unwrap()], &["too long", "108", path.to_str().unwrap()]);
    });
}

#[test]
fn unknown_options_are_refused_with_a_hint() {
    both(OURS, |bed| {
        refused(bed, &["-x"], &["x", "--help"]);
        refused(bed, &["--nonsense"], &["--nonsense", "--help"]);
        refused(bed, &["-k", "/nowhere/x", "--nonsense"], &["--nonsense", "--help"]);
    });
}

#[test]
fn an_option_without_its_value_is_refused_with_a_hint() {
    both(OURS, |bed| {
        for option in ["-k", "-f", "-u", "-g", "-T"] {
            refused(bed, &[option], &[&option[1..], "--help"]);
        }
        refused(bed, &["--socket"], &["socket", "--help"]);
    });
}

#[test]
fn a_value_for_an_option_that_takes_none_is_refused_with_a_hint() {
    both(OURS, |bed| {
        refused(bed, &["--help=x"], &["--help"]);
        refused(bed, &["--daemon=yes"], &["--daemon", "--help"]);
    });
}

#[test]
fn an_unknown_user_or_group_is_refused_by_name() {
    const NONE: [&str; 7] = ["no-such-name", "-1", "-2", "4294967296", "0x10", "", "10x"];
    both(OURS, |bed| {
        let socket = bed.socket();
        for name in NONE {
            for (option, what) in [("-u", "user"), ("-g", "group")] {
                refused(bed, &["-k", socket.to_str().unwrap(), option, name], &[what, name]);
            }
        }
        assert!(!socket.exists(), "nothing has been made for a wrong command line");
    });
}

#[test]
fn a_user_or_group_may_be_a_number_in_any_way_that_strtoul_reads() {
    both(OURS, |bed| {
        for number in ["10", "010", "+10", " 10"] {
            let helper = bed.launch().args(["-u", number, "-g", number]).start();
            let status = helper.process().status();
            assert_eq!((&*status["Uid"], &*status["Gid"]), ("10 10 10 10", "10 10 10 10"), "{number:?}");
        }
    });
}

#[test]
fn messages_begin_with_the_base_name_of_the_program() {
    both(OURS, |bed| {
        let finished = bed.launch().bare().argv0("/some/where/helper-name").args(["-k", "relative"]).run();
        assert_eq!(finished.code(), 1);
        assert!(finished.stderr.starts_with("helper-name: "), "{}", finished.stderr);
    });
}
