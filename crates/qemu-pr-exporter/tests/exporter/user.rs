//! As whom the exporter serves when root starts it. These tests run as root, as the helper's own do.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, chown},
    os::unix::process::CommandExt as _,
    process::Command,
};

use pr_control::Snapshot;
use pr_lab::{ControlStandIn, eventful_snapshot};

use crate::{
    exporter::{Exporter, FAMILIES},
    run::{PROGRAM, finished, run_control},
};

/// A group without privileges elsewhere.
const GROUP: u32 = 54_321;

/// A line of a process's status in /proc.
fn status(id: u32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{id}/status")).expect("a process");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().replace('\t', " ")
}

#[test]
fn root_becomes_nobody_before_it_serves() {
    let helper = ControlStandIn::telling(eventful_snapshot());
    let exporter = Exporter::start(&[helper.path()]);
    assert_eq!(status(exporter.id(), "Uid:"), "65534 65534 65534 65534");
    assert_eq!(status(exporter.id(), "Gid:"), "65534 65534 65534 65534");
    assert_eq!(status(exporter.id(), "Groups:"), "65534");
    for capabilities in ["CapPrm:", "CapEff:", "CapInh:", "CapAmb:"] {
        assert_eq!(status(exporter.id(), capabilities), "0000000000000000", "{capabilities}");
    }
    assert_eq!(status(exporter.id(), "NoNewPrivs:"), "1");
    assert_eq!(exporter.metrics().len(), FAMILIES);
}

#[test]
fn the_group_of_the_control_socket_is_kept() {
    let helper = ControlStandIn::telling(eventful_snapshot());
    chown(helper.path(), None, Some(GROUP)).expect("a group");
    fs::set_permissions(helper.path(), Permissions::from_mode(0o660)).expect("a socket of the group");
    let exporter = Exporter::with(&[helper.path()], &["--user", "daemon"]);
    assert_eq!(status(exporter.id(), "Uid:"), "1 1 1 1");
    assert_eq!(status(exporter.id(), "Groups:"), format!("1 {GROUP}"));
    assert_eq!(exporter.metrics().len(), FAMILIES);
}

#[test]
fn the_group_of_the_only_socket_in_a_directory_is_kept() {
    let helper = ControlStandIn::telling(eventful_snapshot());
    chown(helper.path(), None, Some(GROUP)).expect("a group");
    fs::set_permissions(helper.path(), Permissions::from_mode(0o660)).expect("a socket of the group");
    let exporter = Exporter::start(&[helper.dir().to_path_buf()]);
    assert_eq!(status(exporter.id(), "Groups:"), format!("{GROUP} 65534"));
    assert_eq!(exporter.metrics().len(), FAMILIES);
}

#[test]
fn no_other_files_group_is_kept() {
    let helper = ControlStandIn::telling(eventful_snapshot());
    let file = helper.dir().join("disk");
    fs::write(&file, "").expect("a file");
    chown(&file, None, Some(GROUP)).expect("a group");
    fs::set_permissions(&file, Permissions::from_mode(0o666)).expect("a file of the group");
    let exporter = Exporter::start(&[helper.path(), file]);
    assert_eq!(status(exporter.id(), "Groups:"), "65534");
}

#[test]
fn a_socket_that_the_user_may_not_use_is_no_start() {
    let helper = ControlStandIn::telling(Snapshot::default());
    for (group, mode) in [(0, 0o600), (0, 0o660), (GROUP, 0o600)] {
        chown(helper.path(), None, Some(group)).expect("a group");
        fs::set_permissions(helper.path(), Permissions::from_mode(mode)).expect("a private socket");
        let words = ["--listen", "127.0.0.1:0"];
        run_control(&helper.path(), &words)
            .expect_error(15, &["user nobody may not use the control socket", "--control-group", "--user"]);
    }
    assert_eq!(helper.asked(), []);
}

#[test]
fn only_root_can_become_another() {
    let helper = ControlStandIn::telling(Snapshot::default());
    run_control(&helper.path(), &["--listen", "127.0.0.1:0", "--user", "no such user"])
        .expect_error(1, &["user no such user does not exist", "--user"]);
    let program = helper.dir().join("qemu-pr-exporter");
    let copied = Command::new("cp").arg(PROGRAM).arg(&program).status().expect("run cp");
    assert!(copied.success(), "a copy of the exporter");
    let as_nobody = |words: &[&str]| {
        let mut command = Command::new(&program);
        command.args(["--listen", "127.0.0.1:0"]).args(words).arg("--control").arg(helper.path());
        finished(command.uid(65_534).gid(65_534).output().expect("run the exporter as another user"))
    };
    as_nobody(&["--user", "daemon"]).expect_error(1, &["only root can change the user"]);
    fs::set_permissions(helper.path(), Permissions::from_mode(0o600)).expect("a private socket");
    as_nobody(&[]).expect_error(15, &["cannot connect to the control socket", "Permission denied", "--control-group"]);
}
