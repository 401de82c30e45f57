//! The exporter against the real daemon: what it reports is what was done.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use pr_lab::{Bed, Raw, Subject};
use qemu_pr_protocol::Client;
use scsi_persistent_reservations::{Cdb, InAction, PersistentReserveIn, PrOut, ReservationKey, ReservationType};

use crate::{
    exporter::{Exporter, FAMILIES, KEPT, value},
    openmetrics::Sample,
    run::PROGRAM,
};

/// The daemon. It is built next to the exporter, but not by the exporter's own tests.
fn daemon() -> PathBuf {
    let program = Path::new(PROGRAM).with_file_name("qemu-pr-helper");
    assert!(program.exists(), "{} is missing: cargo build -p qemu-pr-helper", program.display());
    program
}

const KEY: ReservationKey = ReservationKey(0xa);
const NOT_REGISTERED: ReservationKey = ReservationKey(0xb);

/// What is sent, and how often: action, result, number.
const SENT: [(&str, &str, f64); 5] = [
    ("REGISTER", "good", 1.0),
    ("RESERVE", "good", 1.0),
    ("RESERVE", "conflict", 3.0),
    ("RELEASE", "check-condition", 2.0),
    ("READ KEYS", "good", 4.0),
];

/// Sends all of it on one connection.
fn send_all(socket: &Path, disk: &Path) {
    let disk = File::options().read(true).write(true).create(true).truncate(true).open(disk).expect("a disk");
    let mut client = Client::connect(socket).expect("the daemon");
    let mut send = |cdb: &Cdb, list: &[u8]| {
        client.execute(&disk, cdb, list).expect("an answer");
    };
    let kind = ReservationType::WriteExclusiveRegistrantsOnly;
    let changes = [
        PrOut::register(ReservationKey::ZERO, KEY),
        PrOut::reserve(KEY, kind),
        PrOut::reserve(NOT_REGISTERED, kind),
        PrOut::reserve(NOT_REGISTERED, kind),
        PrOut::reserve(NOT_REGISTERED, kind),
        // Of another type than the reservation.
        PrOut::release(KEY, ReservationType::ExclusiveAccess),
        PrOut::release(KEY, ReservationType::ExclusiveAccess),
    ];
    for change in changes {
        send(&change.cdb(), &change.list());
    }
    for _ in 0..4 {
        send(&PersistentReserveIn::new(InAction::ReadKeys, 8192).cdb(), &[]);
    }
}

/// Breaks the protocol, and waits until that has been noticed.
fn violate(socket: &Path) {
    let client = Raw::connect(socket);
    client.read(4);
    client.send(&[0xff; 4]);
    client.expect_closed();
}

#[test]
#[expect(clippy::float_cmp, reason = "they are whole numbers")]
fn the_exporters_figures_agree_with_the_commands_that_were_sent() {
    let bed = Bed::new(&Subject::ours(daemon()));
    let control = bed.path("control");
    let daemon = bed.launch().arg("--simulate").arg("--control").arg(&control).start();
    // The control socket is root's alone.
    let exporter = Exporter::with(&[control], &["--user", "root"]);
    let before = exporter.metrics();
    assert_eq!(value(&before, "qemu_pr_helper_up", &[]), 1.0);
    send_all(daemon.socket(), &bed.path("disk"));
    for _ in 0..2 {
        violate(daemon.socket());
    }
    std::thread::sleep(KEPT);
    let families = exporter.metrics();
    assert!(families.len() == FAMILIES, "{families:?}");
    for (action, result, times) in SENT {
        let labels = [("action", action), ("result", result)];
        assert_eq!(value(&families, "qemu_pr_helper_requests", &labels), times, "{action} {result}");
        let counts = &families["qemu_pr_helper_request_duration_seconds"].samples;
        let of = |sample: &&Sample| {
            sample.0.ends_with("_count") && labels.iter().all(|(name, value)| sample.1[*name] == *value)
        };
        assert_eq!(counts.iter().find(of).map(|sample| sample.2), Some(times), "{action} {result}");
    }
    let all: f64 = families["qemu_pr_helper_requests"].samples.iter().map(|sample| sample.2).sum();
    assert_eq!(all, SENT.iter().map(|(_, _, times)| times).sum::<f64>());
    let rule = |rule| value(&families, "qemu_pr_helper_violations", &[("rule", rule)]);
    assert_eq!((rule("unknown-features"), rule("truncated")), (2.0, 0.0));
    // One for all that was sent, and one for each violation.
    let grown = |name: &str| value(&families, name, &[]) - value(&before, name, &[]);
    assert_eq!(grown("qemu_pr_helper_connections_accepted"), 3.0);
    // Each PERSISTENT RESERVE OUT has a record.
    assert_eq!(grown("qemu_pr_helper_audit_records"), 7.0);
}
