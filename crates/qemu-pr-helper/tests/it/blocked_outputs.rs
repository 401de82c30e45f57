//! Whatever becomes of what ours says, nobody waits for it: standard error, the journal and the trace file may be full,
//! closed or never read.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::thread;

use pr_lab::prelude::*;
use rustix::fs::{Mode, OFlags, mkfifoat, open};
use rustix::process::Signal;

use crate::ours;

/// A helper with simulated disks that says all it can.
fn talkative(bed: &Bed) -> Launch {
    fs::write(bed.path("disk"), "").unwrap();
    bed.launch().args(["-v", "-T", "*", "--simulate"])
}

/// A disk of `talkative`.
fn disk(bed: &Bed) -> File {
    File::options().read(true).write(true).open(bed.path("disk")).unwrap()
}

/// A client that breaks the protocol.
fn violate(socket: &Path) {
    let mut client = Raw::connect(socket).stream().try_clone().unwrap();
    client.write_all(&[1; 4]).unwrap();
    let mut told = Vec::new();
    // The rest of what was sent may be unread: then the end is a reset.
    let end = client.read_to_end(&mut told).map_err(|error| error.kind());
    assert!(matches!(end, Ok(_) | Err(io::ErrorKind::ConnectionReset)), "{end:?}");
}

/// Clients that keep the helper talking, each of whom is answered: some thousand events, more than fit anywhere.
fn everybody_is_served(bed: &Bed, socket: &Path) {
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let (client, disk) = (Raw::greeted(socket), disk(bed));
                for round in 0..300 {
                    assert_eq!(client.pr_in(&disk, 0, 8).status, 0);
                    if round % 10 == 0 {
                        violate(socket);
                    }
                }
            });
        }
    });
}

/// Everybody is served, and the end comes when it is asked for.
fn nothing_waits(bed: &Bed, helper: Helper) {
    everybody_is_served(bed, helper.socket());
    assert_eq!(helper.end(Signal::TERM).code(), 0);
}

#[test]
fn a_standard_error_that_nobody_reads_delays_nobody() {
    ours(|bed| {
        let (_reader, writer) = io::pipe().unwrap();
        nothing_waits(bed, talkative(bed).stream(2, Stream::Fd(writer.into())).start());
    });
}

#[test]
fn a_standard_error_that_is_closed_delays_nobody() {
    ours(|bed| {
        nothing_waits(bed, talkative(bed).stream(2, Stream::Closed).start());
        let (reader, writer) = io::pipe().unwrap();
        let helper = talkative(bed).stream(2, Stream::Fd(writer.into())).start();
        drop(reader);
        nothing_waits(bed, helper);
    });
}

#[test]
fn a_full_device_as_standard_error_or_trace_file_delays_nobody() {
    ours(|bed| {
        let full = File::options().write(true).open("/dev/full").unwrap();
        nothing_waits(bed, talkative(bed).stream(2, Stream::Fd(full.into())).start());
        let helper = talkative(bed).args(["-T", "file=/dev/full"]).start();
        everybody_is_served(bed, helper.socket());
        helper.await_stderr("messages were dropped");
        assert_eq!(helper.end(Signal::TERM).code(), 0);
    });
}

#[test]
fn a_fifo_as_trace_file_that_nobody_reads_delays_nobody() {
    ours(|bed| {
        let path = bed.path("fifo");
        mkfifoat(rustix::fs::CWD, &path, Mode::from_raw_mode(0o600)).unwrap();
        let _reader: OwnedFd = open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap();
        nothing_waits(bed, talkative(bed).arg("-T").arg(format!("file={}", path.display())).start());
    });
}

#[test]
fn a_journal_that_reads_nothing_or_goes_away_delays_nobody() {
    ours(|bed| {
        let script = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && \
                      mount --bind \"$PWD\" /run/systemd/journal && exec \"$0\" \"$@\"";
        let wrapper = ["/usr/bin/unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script];
        let start = || talkative(bed).by(&wrapper).args(["--log-format", "journal"]).start();
        let path = bed.path("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        nothing_waits(bed, start());
        drop(journal);
        fs::remove_file(&path).unwrap();

        let journal = UnixDatagram::bind(&path).unwrap();
        let helper = start();
        everybody_is_served(bed, helper.socket());
        drop(journal);
        // It hung in the journal, and goes on where it can.
        helper.await_stderr("pr_helper_request");
        nothing_waits(bed, helper);
    });
}

#[test]
fn what_was_dropped_is_said_when_somebody_reads_again() {
    ours(|bed| {
        let (mut reader, writer) = io::pipe().unwrap();
        let helper = talkative(bed).stream(2, Stream::Fd(writer.into())).start();
        everybody_is_served(bed, helper.socket());
        let read = thread::spawn(move || {
            let mut text = String::new();
            let mut chunk = [0; 4096];
            while !text.contains("messages were dropped") {
                let count = reader.read(&mut chunk).expect("read standard error");
                assert!(count > 0, "it ends without a word: {text}");
                text.push_str(&String::from_utf8_lossy(&chunk[..count]));
            }
            text
        });
        let text = read.join().expect("the drop is said");
        let line = text.lines().rfind(|line| line.contains("messages were dropped")).expect("the line");
        let count = line.split_whitespace().find_map(|word| word.parse::<u64>().ok()).expect("a number");
        assert!(count > 1000, "{line}");
        assert!(text.starts_with("pr_helper_ready "), "{text}");
    });
}

#[test]
fn a_hundred_thousand_violations_are_few_words() {
    ours(|bed| {
        let helper = bed.start();
        let socket = helper.socket();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..25_000).for_each(|_| violate(socket)));
            }
        });
        helper.connect().expect_served();
        let said = helper.end(Signal::TERM).stderr;
        assert!(said.len() < 65_536, "{} bytes for 100000 violations", said.len());
        assert!(
            said.contains("Unknown protocol features") && said.contains("similar messages were left out"),
            "{said}"
        );
    });
}
