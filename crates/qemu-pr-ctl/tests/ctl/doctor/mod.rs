//! `doctor` on hosts that are trees of files: a sound one, and those with one thing wrong.

mod guests;
mod helper;
mod host;
mod listener;
mod multipath;
mod state;
mod storage;

use std::{
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::Command,
};

use serde_json::Value;

use self::host::{Guest, Host, THERE, WEB};
use crate::run::{PROGRAM, Run, finished};

/// Has the tool look at it, in a network of its own: multipathd may listen in that of the machine that tests it.
fn doctor(host: &Host, words: &[&str]) -> Run {
    // What is slow here is no finding.
    doctor_within(host, "60", words)
}

/// The same, with so many seconds for each answer.
fn doctor_within(host: &Host, timeout: &str, words: &[&str]) -> Run {
    let mut command = Command::new("unshare");
    command.args(["--net", PROGRAM, "doctor", "--timeout", timeout, "--root"]).arg(host.root()).args(words);
    finished(command.output().expect("run the tool"))
}

/// The first finding names the fault, with its severity, and the command below it mends it.
#[track_caller]
fn first(run: &Run, words: &str, mend: &str) {
    assert_eq!((run.code, run.stderr.as_str()), (Some(36), ""), "{run:?}");
    let mut lines = run.stdout.lines();
    let mut finding = lines.next().unwrap_or_default().to_owned();
    // The words are folded below themselves, further in than a command is.
    let indent = finding.find(": ").map_or(0, |colon| colon + 2);
    let mut mended = None;
    for line in lines {
        if line.len() - line.trim_start().len() != indent {
            mended = Some(line.trim());
            break;
        }
        finding = format!("{finding} {}", line.trim());
    }
    assert!(finding.starts_with(words), "not {words:?}, but {finding:?} of\n{}", run.stdout);
    assert_eq!(mended, Some(mend), "of\n{}", run.stdout);
}

/// It is the only one.
#[track_caller]
fn only(run: &Run, words: &str, mend: &str) {
    first(run, words, mend);
    let findings = run.stdout.lines().filter(|line| !line.starts_with(' ')).count();
    assert_eq!(findings, 1, "{}", run.stdout);
}

#[test]
fn a_sound_host_is_ok() {
    let host = Host::sound();
    assert_eq!(doctor(&host, &[]).expect_done(), "ok\n");
    assert_eq!(doctor(&host, &["/dev/mapper/mpatha", "/dev/sda"]).expect_done(), "ok\n");
    assert_eq!(doctor(&host, &["--control", "/run/qemu-pr-helper"]).expect_done(), "ok\n");
    let found: Value = serde_json::from_str(&doctor(&host, &["--json"]).expect_done()).expect("JSON");
    assert_eq!(found, serde_json::json!({ "findings": [] }));
}

#[test]
fn nothing_is_changed_by_looking() {
    let host = Host::sound();
    // What the disks remember for their initiators is not the same: they have heard from them.
    let registered = |host: &Host| {
        let units = host.units();
        units.map(|unit| (unit.generation(), unit.registrations().collect::<Vec<_>>(), unit.reservation()))
    };
    let before = registered(&host);
    doctor(&host, &["/dev/mapper/mpatha", "/dev/sda"]).expect_done();
    assert_eq!(registered(&host), before);
    let told = host.told_multipathd();
    assert!(
        !told.is_empty() && told.iter().all(|command| command.starts_with("show ") || command.starts_with("getpr")),
        "{told:?}"
    );
}

#[test]
fn findings_are_told_to_programs_as_well_the_worst_first() {
    let host = Host::sound();
    host.unregister(THERE);
    host.guest(&Guest { policy: "stop", ..WEB });
    host.file("sys/block/sdb/device/state", "running\n");
    fs::set_permissions(host.path("run/qemu-pr-helper.sock"), Permissions::from_mode(0o600)).expect("permissions");
    let run = doctor(&host, &["--json"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(36), ""));
    let found: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let found = found["findings"].as_array().expect("a list");
    let of = |name: &str| found.iter().map(|finding| finding[name].as_str().expect("words")).collect::<Vec<_>>();
    assert_eq!(of("kind"), ["guest-denied", "path-without-key", "stops-at-conflicts"]);
    assert_eq!(of("severity"), ["critical", "error", "warning"]);
    assert!(of("message")[1].starts_with("map mpatha: path sdc carries I/O"), "{found:?}");
    assert_eq!(of("mend")[1], "qemu-pr-ctl register-ignore --new-key 0xa /dev/mapper/mpatha");
}

#[test]
fn lines_for_people_fit_a_terminal_and_commands_are_whole() {
    let host = Host::sound();
    host.unregister(THERE);
    host.multipathd_says("show config local", "defaults {\n\tverbosity 2\n}\n");
    let run = doctor(&host, &[]);
    for line in run.stdout.lines().filter(|line| !line.starts_with("    ") || line.starts_with("       ")) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert!(
        run.stdout.lines().any(|line| line.starts_with("    mkdir -p") && line.ends_with("reconfigure")),
        "{run:?}"
    );
}

#[test]
fn a_user_who_may_not_look_is_told_so() {
    let host = Host::sound();
    host.file("dev/kmsg", "");
    for path in ["dev/kmsg", "dev/dm-0", "dev/sdb", "dev/sdc", "proc/200/fd", "run/qemu-pr-helper/control"] {
        fs::set_permissions(host.path(path), Permissions::from_mode(0o600)).expect("permissions");
    }
    host.multipathd_says("getprkey map mpatha", "permission deny: need to be root");
    let program = host.path("qemu-pr-ctl");
    assert!(Command::new("cp").arg(PROGRAM).arg(&program).status().expect("run cp").success());
    let mut command = Command::new(program);
    command.args(["doctor", "--root"]).arg(host.root()).uid(65_534).gid(65_534);
    let run = finished(command.output().expect("run the tool as another user"));
    let said = run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("error: /run/qemu-pr-helper.sock: Permission denied for this user (mode 0660,"), "{said}");
    let unseen = "notice: not checked, for lack of privileges: the kernel's log, the keys that multipathd keeps, the open files of \
                  virtual machines, the reservations of disks, the state of the helper sudo qemu-pr-ctl doctor";
    assert!(said.ends_with(unseen), "{said}");
}

#[test]
fn a_disk_that_is_not_there_is_an_error_as_everywhere() {
    let host = Host::sound();
    doctor(&host, &["/dev/nonexistent"]).expect_error(15, &["cannot open /dev/nonexistent: No such file", "lsblk"]);
    host.file("dev/file", "");
    doctor(&host, &["/dev/file"]).expect_error(15, &["/dev/file is not a SCSI disk"]);
}
