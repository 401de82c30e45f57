//! What is sent, and what becomes of the answers.

use std::sync::mpsc;

use qemu_pr_protocol::Reply;
use rustix::fs::{OFlags, fcntl_getfl};
use scsi_persistent_reservations::{Command, InAction, PersistentReserveIn, Sense, SenseCode, Status};

use crate::{
    run::run,
    stand_in::{StandIn, good},
};

/// A command that asks, and enough of an answer to it.
const ASKING: [(&str, InAction); 4] = [
    ("keys", InAction::ReadKeys),
    ("reservation", InAction::ReadReservation),
    ("capabilities", InAction::ReportCapabilities),
    ("status", InAction::ReadFullStatus),
];

/// A line for each command that changes something, without its device.
const CHANGING: [&str; 10] = [
    "register --new-key 1",
    "register-ignore --new-key 1",
    "unregister --key 1",
    "reserve --key 1 --type 1",
    "release --key 1 --type 1",
    "clear --key 1 --yes",
    "preempt --key 1 --victim 2 --type 1 --yes",
    "preempt-abort --key 1 --victim 2 --type 1 --yes",
    "move --key 1 --new-key 2 --to sas:0x5000000000000001 --target-port 1",
    "replace-lost --new-key 1 --type 1 --yes",
];

/// A stand-in that always answers this.
fn always(status: Status, sense: Sense) -> StandIn {
    StandIn::answering(move |_| Some(Reply { status, sense: sense.clone(), data: Vec::new() }))
}

#[test]
fn commands_that_ask_take_all_that_the_protocol_has_room_for_and_open_the_disk_for_reading() {
    let (seen, requests) = mpsc::channel();
    let helper = StandIn::answering(move |request| {
        seen.send(request).expect("a test that listens");
        Some(good([0; 8]))
    });
    for (word, action) in ASKING {
        run(&helper.socket(), &[word, &helper.disk()]).expect_done();
        let request = requests.recv().expect("a request");
        assert_eq!(request.cdb, PersistentReserveIn::new(action, 8192).cdb(), "{word}");
        assert!(request.parameters.is_empty());
        let flags = fcntl_getfl(&request.device).expect("how it was opened");
        assert_eq!(flags & OFlags::RWMODE, OFlags::RDONLY, "{word}");
    }
}

#[test]
fn commands_that_change_open_the_disk_for_writing() {
    let (seen, requests) = mpsc::channel();
    let helper = StandIn::answering(move |request| {
        seen.send(request).expect("a test that listens");
        Some(good([]))
    });
    for line in CHANGING {
        let disk = helper.disk();
        let words: Vec<&str> = line.split(' ').chain([disk.as_str()]).collect();
        let said = run(&helper.socket(), &words).expect_done();
        assert!(said.starts_with(&format!("{disk}:")) && said.lines().all(|line| line.len() <= 80), "{said}");
        let request = requests.recv().expect("a request");
        assert!(matches!(request.cdb.command(), Command::Out(_)), "{line}");
        let length = if line.starts_with("move") { 48 } else { 24 };
        assert_eq!(request.parameters.len(), length, "{line}");
        let flags = fcntl_getfl(&request.device).expect("how it was opened");
        assert_eq!(flags & OFlags::RWMODE, OFlags::RDWR, "{line}");
    }
}

#[test]
fn a_refusal_names_the_disk_the_command_the_reason_and_the_hint() {
    for (sense, code, reason, hint) in [
        (SenseCode::MEDIUM_NOT_PRESENT, 2, "NOT READY: MEDIUM NOT PRESENT (2/3a/00)", "wait"),
        (SenseCode::INTERNAL_TARGET_FAILURE, 3, "HARDWARE ERROR: INTERNAL TARGET FAILURE (4/44/00)", "dmesg"),
        (SenseCode::INVALID_RELEASE, 5, "INVALID RELEASE OF PERSISTENT RESERVATION (5/26/04)", "another type"),
        (SenseCode::RESERVATIONS_PREEMPTED, 6, "UNIT ATTENTION: RESERVATIONS PREEMPTED (6/2a/03)", "try again"),
        (
            SenseCode::INVALID_OPERATION_CODE,
            9,
            "INVALID COMMAND OPERATION CODE (5/20/00)",
            "not support persistent reservations",
        ),
        (SenseCode::IO_PROCESS_TERMINATED, 11, "ABORTED COMMAND: I/O PROCESS TERMINATED (b/00/06)", "SCSI disk"),
    ] {
        let helper = always(Status::CHECK_CONDITION, Sense::fixed(sense));
        let disk = helper.disk();
        let refused = run(&helper.socket(), &["release", &disk, "--key", "1", "--type", "1"]);
        refused.expect_error(code, &[&disk, "refused RELEASE", reason, hint]);
    }
}

#[test]
fn a_status_without_sense_data_is_named_too() {
    for (status, code, words) in [
        (Status::RESERVATION_CONFLICT, 24, "RESERVATION CONFLICT; this host is not registered with that key"),
        (Status::BUSY, 26, "BUSY; try again"),
        (Status::TASK_SET_FULL, 27, "TASK SET FULL; try again"),
        (Status(0x99), 98, "status 0x99"),
        (Status::CHECK_CONDITION, 98, "CHECK CONDITION without sense data"),
    ] {
        let helper = always(status, Sense::NONE);
        let disk = helper.disk();
        run(&helper.socket(), &["clear", &disk, "--key", "1", "--yes"]).expect_error(code, &[&disk, "CLEAR", words]);
    }
}

#[test]
fn an_answer_without_contents_is_no_empty_list() {
    let helper = StandIn::answering(|_| Some(good([0; 1])));
    for (word, action) in ASKING {
        let disk = helper.disk();
        let name = action.to_string();
        run(&helper.socket(), &[word, &disk]).expect_error(97, &[&disk, &name, "1 bytes, which is too short"]);
    }
}

#[test]
fn a_wrong_command_line_ends_with_1_and_help_with_0() {
    let nowhere = std::path::Path::new("/nonexistent");
    for words in [&["frobnicate"][..], &["keys"], &["reserve", "/d", "--key", "1", "--type", "4"]] {
        let run = run(nowhere, words);
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{run:?}");
        assert!(!run.stderr.is_empty());
    }
    for words in [&["--help"][..], &["--version"], &["reserve", "--help"], &["help", "preempt"]] {
        let run = std::process::Command::new(crate::run::PROGRAM).args(words).output().expect("run the tool");
        assert!(run.status.success() && run.stderr.is_empty() && !run.stdout.is_empty(), "{run:?}");
    }
}
