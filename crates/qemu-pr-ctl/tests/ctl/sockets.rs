//! Sockets and devices that cannot be used.

use std::{
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt, net::UnixListener, process::CommandExt},
    process::Command,
};

use crate::{
    run::{PROGRAM, Run, finished, run},
    stand_in::{StandIn, good},
};

/// A user without privileges.
const NOBODY: u32 = 65534;

#[test]
fn a_socket_that_is_not_there_is_said_to_be_missing() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("missing.sock");
    let name = path.to_str().expect("a path in words");
    run(&path, &["ping"])
        .expect_error(15, &["cannot connect to", name, "No such file or directory", "systemctl start", "--socket"]);
}

#[test]
fn a_socket_without_a_helper_is_said_to_be_left_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("stale.sock");
    drop(UnixListener::bind(&path).expect("a socket"));
    run(&path, &["ping"]).expect_error(
        15,
        &["cannot connect to", "stale.sock: Connection refused", "no process listens", "systemctl restart"],
    );
}

#[test]
fn a_file_is_not_taken_for_a_socket() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("file");
    fs::write(&path, "").expect("a file");
    run(&path, &["ping"]).expect_error(15, &["file: not a socket", "--socket"]);
}

#[test]
fn a_name_that_is_too_long_for_a_socket_is_said_to_be_so() {
    let path = std::path::PathBuf::from(format!("/{}", "a".repeat(200)));
    run(&path, &["ping"]).expect_error(15, &["cannot connect", "too long"]);
}

/// Runs the tool as a user without privileges.
fn run_as_nobody(helper: &StandIn, words: &[&str]) -> Run {
    let dir = helper.socket().parent().expect("a directory").to_path_buf();
    fs::set_permissions(&dir, Permissions::from_mode(0o755)).expect("open the directory for other users");
    // Where it was built nobody may be allowed to look. A file that this process has written could still be open for
    // writing in a child that another test is just starting, and would be busy: so another process writes it.
    let program = dir.join("qemu-pr-ctl");
    let copied = Command::new("cp").arg(PROGRAM).arg(&program).status().expect("run cp");
    assert!(copied.success(), "a copy of the tool");
    let mut command = Command::new(program);
    command.args(words).arg("--socket").arg(helper.socket()).uid(NOBODY).gid(NOBODY);
    finished(command.output().expect("run the tool as another user"))
}

#[test]
fn a_socket_of_somebody_else_is_said_to_be_forbidden() {
    let helper = StandIn::answering(|_| None);
    fs::set_permissions(helper.socket(), Permissions::from_mode(0o600)).expect("a private socket");
    let run = run_as_nobody(&helper, &["ping"]);
    run.expect_error(15, &["Permission denied", "pr.sock", "mode 0600, user 0, group 0", "root", "--socket-group"]);
}

#[test]
fn a_disk_that_may_only_be_read_can_be_asked_but_not_changed() {
    let helper = StandIn::answering(|_| Some(good([0; 8])));
    let disk = helper.disk();
    for (path, mode) in [(helper.socket().to_str().expect("a path in words"), 0o666), (&disk, 0o644)] {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("permissions");
    }
    run_as_nobody(&helper, &["keys", &disk]).expect_done();
    run_as_nobody(&helper, &["clear", &disk, "--key", "1"])
        .expect_error(15, &["cannot open", &disk, "for reading and writing: Permission denied", "root"]);
}

#[test]
fn a_disk_that_is_not_there_is_said_to_be_missing() {
    let helper = StandIn::answering(|_| Some(good([0; 8])));
    run(&helper.socket(), &["keys", "/dev/nonexistent"])
        .expect_error(15, &["cannot open /dev/nonexistent: No such file or directory", "lsblk"]);
}

#[test]
fn what_cannot_be_opened_like_a_disk_is_said_to_be_so() {
    let helper = StandIn::answering(|_| Some(good([0; 8])));
    run(&helper.socket(), &["clear", "/dev", "--key", "1"])
        .expect_error(15, &["cannot open /dev for reading and writing", "directory"]);
}

#[test]
fn an_answer_that_cannot_be_written_is_no_success() {
    let helper = StandIn::answering(|_| Some(good([])));
    let full = fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let mut command = Command::new(PROGRAM);
    let output = command.args(["ping", "--socket"]).arg(helper.socket()).stdout(full).output().expect("run the tool");
    finished(output).expect_error(15, &["cannot write the output", "No space left"]);
}
