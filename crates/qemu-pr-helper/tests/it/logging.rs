//! How ours says what happens: the formats of its log, the journal, the kernel's trace buffer, and a trace that tells
//! the whole story of a command.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::{UnixDatagram, UnixStream};

use pr_lab::prelude::*;
use rustix::fs::fstat;
use rustix::process::Signal;

use crate::ours;

/// A helper in a mount namespace of its own, in which the shell has done this first.
const IN_A_WORLD_OF_ITS_OWN: [&str; 6] = ["/usr/bin/unshare", "--mount", "--propagation", "private", "/bin/sh", "-c"];

/// The journal's socket is the one in the bed's directory.
const WITH_A_JOURNAL: &str = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && \
                              mount --bind \"$PWD\" /run/systemd/journal && exec \"$0\" \"$@\"";

fn launch_after(bed: &Bed, script: &str) -> Launch {
    bed.launch().by(&[&IN_A_WORLD_OF_ITS_OWN[..], &[script]].concat())
}

/// A journal that is read by the test.
fn journal(bed: &Bed) -> UnixDatagram {
    let journal = UnixDatagram::bind(bed.path("socket")).unwrap();
    journal.set_read_timeout(Some(PATIENCE)).unwrap();
    journal
}

/// The fields of the next entry in the journal.
fn entry(journal: &UnixDatagram) -> BTreeMap<String, String> {
    let mut bytes = vec![0; 65536];
    let length = journal.recv(&mut bytes).expect("an entry in the journal");
    let (mut rest, mut fields) = (&bytes[..length], BTreeMap::new());
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (name, after) = (String::from_utf8_lossy(&rest[..end]).into_owned(), &rest[end + 1..]);
        let (size, after) = after.split_first_chunk::<8>().expect("the length of a value");
        let (value, after) = after.split_at(usize::try_from(u64::from_le_bytes(*size)).unwrap());
        fields.insert(name, String::from_utf8_lossy(value).into_owned());
        rest = after.strip_prefix(b"\n").expect("the end of a value");
    }
    fields
}

/// A client that breaks the protocol: that is worth a warning.
fn violate(helper: &Helper) {
    let client = Raw::connect(helper.socket());
    client.read(4);
    client.send(&[1; 4]);
    client.expect_closed();
}

/// Standard error as the journal's stream: the helper's end with what names it, and ours.
fn stream() -> (Stream, String, BufReader<UnixStream>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(PATIENCE)).unwrap();
    let stat = fstat(&theirs).unwrap();
    (Stream::Fd(theirs.into()), format!("{}:{}", stat.st_dev, stat.st_ino), BufReader::new(ours))
}

fn line(reader: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).expect("a line on standard error");
    line
}

#[test]
fn a_trace_of_one_reserve_tells_the_whole_story() {
    ours(|bed| {
        let log = bed.path("log");
        let answer = Answer { host_status: 3, ..Answer::good(&[]) };
        let trace = format!("*,file={}", log.display());
        let helper = bed.launch().args(["-T", &trace]).device(move |_| answer.clone().into()).start();
        let client = helper.connect();
        let mut list = [0; 24];
        (list[7], list[15]) = (0xab, 0xcd);
        client.pr_out(null(), 1, &list).expect_check(0xb, 0x2e, 2);
        drop(client);
        let story = || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let of_it = text.lines().filter(|line| line.contains(" client=2")).map(|line| {
                let (_, event) = line.split_once(":pr_helper_").expect("an event");
                event.to_owned()
            });
            of_it.collect::<Vec<_>>()
        };
        eventually("the story ends", || story().last().is_some_and(|line| line.starts_with("close")));
        let story = story();
        let wanted: [&[&str]; 9] = [
            &["accept ", &format!("pid={}", std::process::id()), "uid=0"],
            &["hello "],
            &[
                "request ",
                "action=RESERVE ",
                "device=1:3",
                "cdb=[5f, 01, 01,",
                " key=0xab service_action_key=0xcd ",
                "length=24",
            ],
            &["policy ", "verdict=\"allowed\""],
            &["route ", "by=\"sg_io\"", "device=1:3"],
            &["command_sent ", "device=1:3", "timeout_ms=30000"],
            &[
                "command_done ",
                "status=CHECK CONDITION",
                "sense=ABORTED COMMAND: ",
                "(b/2e/02)",
                "host=0x03 driver=0x00 residual=0 microseconds=",
            ],
            &["reply ", "status=CHECK CONDITION", "(b/2e/02)", "bytes=104"],
            &["close ", "reason=\"the client closed the connection\""],
        ];
        assert_eq!(story.len(), wanted.len(), "{story:#?}");
        for (line, parts) in story.iter().zip(wanted) {
            assert!(line.starts_with(parts[0]), "{parts:?} in {story:#?}");
            assert!(parts.iter().all(|part| line.contains(part)), "{parts:?} in {line}");
        }
    });
}

#[test]
fn a_command_that_the_kernel_refused_is_traced_with_the_reason() {
    ours(|bed| {
        let helper =
            bed.launch().args(["-T", "pr_helper_command_done"]).device(|_| Outcome::Errno(libc::ENOTTY)).start();
        helper.connect().pr_in(null(), 0, 8);
        helper.await_stderr("error=Inappropriate ioctl for device");
        assert!(!helper.stderr().contains("host="), "{}", helper.stderr());
    });
}

#[test]
fn a_refusal_is_traced_with_its_rule_and_goes_nowhere() {
    ours(|bed| {
        let helper = bed.launch().args(["-T", "*"]).start();
        let client = helper.connect();
        let read_only = fs::File::open("/dev/null").unwrap();
        client.pr_out(read_only, 1, &[0; 24]).expect_check(5, 0x20, 0);
        helper.await_stderr("pr_helper_reply");
        let text = helper.stderr();
        assert!(text.contains("verdict=\"refused\" rule=\"the descriptor is open for reading only\""), "{text}");
        assert!(!text.contains("pr_helper_route"), "{text}");
    });
}

#[test]
fn each_format_of_the_log_can_be_asked_for() {
    ours(|bed| {
        let text = format!(
            "closing the connection of process {} of user 0: Unknown protocol features 0x01010101",
            std::process::id()
        );
        for (format, wanted) in [
            ("text", format!("qemu-pr-helper: {text}\n")),
            ("prefix", format!("<4>qemu-pr-helper: {text}\n")),
            ("json", format!(",\"level\":\"warning\",\"message\":\"{text}\"}}\n")),
            ("auto", format!("qemu-pr-helper: {text}\n")),
        ] {
            let helper = bed.launch().args(["--log-format", format]).start();
            violate(&helper);
            let said = helper.end(Signal::TERM).stderr;
            if format == "json" {
                assert!(said.starts_with("{\"time_us\":1") && said.ends_with(&wanted), "{said}");
            } else {
                assert_eq!(said, wanted, "{format}");
            }
        }
        let refused = bed.launch().args(["--log-format", "xml"]).run();
        refused.expect_refusal(&["--log-format", "xml", "auto text prefix journal json"]);
    });
}

#[test]
fn traces_on_standard_error_have_the_logs_format() {
    ours(|bed| {
        for (format, wanted) in [
            ("text", "\npr_helper_hello client=2\n"),
            ("prefix", "\n<7>pr_helper_hello client=2\n"),
            ("json", ",\"level\":\"trace\",\"message\":\"pr_helper_hello client=2\"}\n"),
        ] {
            let helper = bed.launch().args(["--log-format", format, "-T", "*"]).start();
            let _client = helper.connect();
            helper.await_stderr(wanted);
        }
    });
}

#[test]
fn errors_of_the_start_have_the_logs_format() {
    ours(|bed| {
        let start = |format| bed.launch().args(["--log-format", format, "-f", "/dev/full"]).run();
        let refused = start("prefix");
        refused.expect_refusal(&["<3>qemu-pr-helper: ", "/dev/full"]);
        let refused = start("json");
        refused.expect_refusal(&["\"level\":\"error\"", "/dev/full"]);
    });
}

#[test]
fn the_journal_gets_entries_with_fields() {
    ours(|bed| {
        let journal = journal(bed);
        let helper =
            launch_after(bed, WITH_A_JOURNAL).args(["--log-format", "journal", "-T", "pr_helper_ready"]).start();
        let ready = entry(&journal);
        assert_eq!(ready["PRIORITY"], "7");
        assert!(ready["MESSAGE"].starts_with("pr_helper_ready socket="), "{ready:?}");
        violate(&helper);
        let entry = entry(&journal);
        assert_eq!(entry["PRIORITY"], "4");
        assert_eq!(entry["SYSLOG_IDENTIFIER"], "qemu-pr-helper");
        assert_eq!(entry["SYSLOG_PID"], helper.process().id().to_string());
        assert!(entry["MESSAGE"].starts_with("closing the connection of process "), "{entry:?}");
        helper.end(Signal::TERM).expect_silent_success();
    });
}

#[test]
fn without_a_journal_its_format_is_refused() {
    ours(|bed| {
        let refused = launch_after(bed, WITH_A_JOURNAL).args(["--log-format", "journal"]).run();
        refused.expect_refusal(&["/run/systemd/journal/socket", "No such file or directory", "--log-format"]);
    });
}

#[test]
fn by_itself_the_journal_is_spoken_to_where_standard_error_is_the_journal() {
    ours(|bed| {
        let journal = journal(bed);
        let (stderr, name, _reader) = stream();
        let helper = launch_after(bed, WITH_A_JOURNAL).env("JOURNAL_STREAM", &name).stream(2, stderr).start();
        violate(&helper);
        assert_eq!(entry(&journal)["PRIORITY"], "4");

        // An environment that was inherited names something else.
        let helper = launch_after(bed, WITH_A_JOURNAL).at(bed.path("other")).env("JOURNAL_STREAM", "1:1").start();
        violate(&helper);
        helper.await_stderr("qemu-pr-helper: closing the connection");
        assert!(helper.stderr().starts_with("qemu-pr-helper: "), "{}", helper.stderr());
    });
}

#[test]
fn a_journal_that_reads_standard_error_alone_gets_priorities_in_front() {
    ours(|bed| {
        let (stderr, name, mut reader) = stream();
        let helper = launch_after(bed, WITH_A_JOURNAL).env("JOURNAL_STREAM", &name).stream(2, stderr).start();
        violate(&helper);
        assert!(line(&mut reader).starts_with("<4>qemu-pr-helper: closing the connection of "));
    });
}

#[test]
fn a_journal_that_goes_away_leaves_standard_error_and_one_that_comes_back_is_found() {
    ours(|bed| {
        let first = journal(bed);
        let (stderr, name, mut reader) = stream();
        let helper = launch_after(bed, WITH_A_JOURNAL).env("JOURNAL_STREAM", &name).stream(2, stderr).start();
        drop(first);
        violate(&helper);
        assert!(line(&mut reader).starts_with("<4>qemu-pr-helper: closing the connection of "));
        fs::remove_file(bed.path("socket")).unwrap();
        let second = journal(bed);
        violate(&helper);
        assert_eq!(entry(&second)["PRIORITY"], "4");
    });
}

#[test]
fn a_daemon_goes_on_speaking_to_the_journal() {
    ours(|bed| {
        let journal = journal(bed);
        let pidfile = bed.path("pid");
        let options = ["--log-format", "journal", "-d", "-f"];
        launch_after(bed, WITH_A_JOURNAL).args(options).arg(&pidfile).run().expect_silent_success();
        let client = Raw::connect(&bed.socket());
        client.read(4);
        client.send(&[1; 4]);
        assert_eq!(entry(&journal)["SYSLOG_PID"], bed.daemon(&pidfile).id().to_string());
    });
}

#[test]
fn traces_go_into_the_kernels_buffer() {
    ours(|bed| {
        let log = bed.path("log");
        let script = "\
            { mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing; } && exec \"$0\" \"$@\"";
        let trace = format!("*,file={}", log.display());
        let helper = launch_after(bed, script).args(["--trace-backend", "ftrace", "-T", &trace]).start();
        helper.connect().expect_served();
        let buffer = format!("/proc/{}/root/sys/kernel/tracing/trace", helper.process().id());
        let wanted = format!("pr_helper_ready socket=Some(\"{}\")", bed.socket().display());
        eventually("the event is in the buffer", || {
            let text = String::from_utf8_lossy(&fs::read(&buffer).expect("the kernel's trace")).into_owned();
            text.lines().any(|line| line.contains(&wanted))
        });
        eventually("the event is in the file", || fs::read_to_string(&log).unwrap().contains(&wanted));
        helper.end(Signal::TERM).expect_silent_success();
    });
}

#[test]
fn without_a_kernel_buffer_the_start_is_refused() {
    ours(|bed| {
        let script = "mount -t tmpfs tmpfs /sys/kernel && exec \"$0\" \"$@\"";
        let refused = launch_after(bed, script).args(["--trace-backend", "ftrace", "-T", "*"]).run();
        refused.expect_refusal(&["/sys/kernel/tracing/trace_marker", "No such file or directory", "mount -t tracefs"]);
        bed.launch().args(["--trace-backend", "dtrace"]).run().expect_refusal(&["dtrace", "log ftrace"]);
    });
}
