//! The control sockets of helpers that know nothing of each other.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixListener,
    },
};

use pr_control::Control;
use pr_lab::prelude::*;
use rustix::process::Signal;

use crate::managed::{control, control_line, control_path, managed};
use crate::{OURS, ours};

fn pid(helper: &Helper) -> u32 {
    u32::try_from(helper.process().id()).unwrap()
}

#[test]
fn a_helper_started_with_only_k_has_a_control_socket_where_the_file_says() {
    ours(|bed| {
        let helper = managed(bed, &format!("[defaults]\n{}", control_line(bed))).umask(0o077).start();
        let command_line = fs::read(format!("/proc/{}/cmdline", pid(&helper))).unwrap();
        let socket = bed.socket().display().to_string();
        assert_eq!(command_line, format!("{OURS}\0-k\0{socket}\0").into_bytes());
        assert_eq!(control(bed, "pr.sock").snapshot().expect("an answer").pid, pid(&helper));
        let rights = |path| fs::metadata(path).map(|file| (file.mode() & 0o7777, file.uid(), file.gid())).unwrap();
        assert_eq!(rights(control_path(bed, "pr.sock")), (0o600, 0, 0));
        assert_eq!(rights(bed.path("controls")), (0o755, 0, 0));
        helper.end(Signal::TERM).expect_silent_success();
        assert!(!control_path(bed, "pr.sock").exists());
        assert!(bed.path("controls").exists(), "others may use it");
    });
}

#[test]
fn two_such_helpers_do_not_disturb_each_other() {
    ours(|bed| {
        let settings = format!("[defaults]\n{}", control_line(bed));
        let [first, second] = ["a.sock", "b.sock"].map(|name| managed(bed, &settings).at(bed.path(name)).start());
        for (name, helper) in [("a.sock", &first), ("b.sock", &second)] {
            assert_eq!(control(bed, name).snapshot().expect("an answer").pid, pid(helper));
            helper.connect().expect_served();
        }
        first.end(Signal::TERM).expect_silent_success();
        assert!(!control_path(bed, "a.sock").exists());
        assert_eq!(control(bed, "b.sock").snapshot().expect("an answer").pid, pid(&second));
        second.connect().expect_served();
        second.end(Signal::TERM).expect_silent_success();
    });
}

#[test]
fn a_stale_control_socket_of_a_dead_helper_is_replaced() {
    ours(|bed| {
        let settings = format!("[defaults]\n{}", control_line(bed));
        let first = managed(bed, &settings).start();
        first.end(Signal::KILL);
        assert!(control_path(bed, "pr.sock").exists(), "it had no time to remove it");
        let second = managed(bed, &settings).start();
        assert_eq!(control(bed, "pr.sock").snapshot().expect("an answer").pid, pid(&second));
        second.end(Signal::TERM).expect_silent_success();
    });
}

#[test]
fn a_control_socket_of_a_living_helper_is_not_replaced() {
    ours(|bed| {
        let path = bed.path("one.control");
        let settings = format!("[defaults]\ncontrol = \"{}\"\n", path.display());
        let first = managed(bed, &settings).at(bed.path("a.sock")).start();
        let second = managed(bed, &settings).at(bed.path("b.sock")).run();
        let who = format!("(process {})", pid(&first));
        second.expect_refusal(&["--control", "one.control is in use", &who, "put a %s into the path"]);
        assert!(!bed.path("b.sock").exists());
        let asked = Control::new(&path, PATIENCE).snapshot().expect("an answer");
        assert_eq!(asked.pid, pid(&first));
        first.end(Signal::TERM).expect_silent_success();
    });
}

#[test]
fn the_command_lines_control_socket_is_the_only_one() {
    ours(|bed| {
        let settings = format!("[defaults]\n{}", control_line(bed));
        let helper = managed(bed, &settings).arg("--control").arg(bed.path("mine-%s")).start();
        let name = control_path(bed, "pr.sock").file_name().unwrap().to_string_lossy().into_owned();
        let mine = bed.path(&format!("mine-{name}"));
        assert_eq!(Control::new(mine, PATIENCE).snapshot().expect("an answer").pid, pid(&helper));
        assert!(!bed.path("controls").exists());
        helper.end(Signal::TERM).expect_silent_success();
    });
}

#[test]
fn a_long_path_keeps_its_end_in_the_name() {
    ours(|bed| {
        let socket = format!("{}/web1.sock", "d".repeat(80 - bed.dir().as_os_str().len()));
        fs::create_dir(bed.path(&socket).parent().unwrap()).unwrap();
        let settings = format!("[defaults]\n{}", control_line(bed));
        let helper = managed(bed, &settings).at(bed.path(&socket)).start();
        let found: Vec<_> = fs::read_dir(bed.path("controls")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].display().to_string().ends_with("-web1.sock") && found[0].as_os_str().len() == 108);
        assert_eq!(Control::new(&found[0], PATIENCE).snapshot().expect("an answer").pid, pid(&helper));
        helper.end(Signal::TERM).expect_silent_success();
    });
}

#[test]
fn a_socket_of_systemds_gives_its_name_too() {
    ours(|bed| {
        let listener = UnixListener::bind(bed.socket()).unwrap();
        let launch = bed.launch().bare().activated("1", ListenPid::Own).fd(listener, 3);
        let helper = launch.arg("--control").arg(bed.path("controls/%s")).spawn();
        Raw::greeted(&bed.socket()).expect_served();
        assert_eq!(control(bed, "pr.sock").snapshot().expect("an answer").pid, pid(&helper));
        helper.end(Signal::TERM).expect_silent_success();
    });
}

#[test]
fn a_folder_that_cannot_be_made_stops_the_start_and_leaves_nothing() {
    ours(|bed| {
        let settings = format!("[defaults]\ncontrol = \"{}/%s\"\n", bed.path("no/where").display());
        managed(bed, &settings).run().expect_refusal(&[
            "--control",
            "cannot create the directory",
            "no/where",
            "no such file",
        ]);
        assert!(!bed.socket().exists());
    });
}

#[test]
fn a_group_in_the_file_may_look() {
    ours(|bed| {
        let settings = format!("[defaults]\n{}control-group = \"nogroup\"\n", control_line(bed));
        let helper = managed(bed, &settings).start();
        let socket = fs::metadata(control_path(bed, "pr.sock")).unwrap();
        assert_eq!((socket.permissions().mode() & 0o7777, socket.gid()), (0o660, 65534));
        helper.end(Signal::TERM).expect_silent_success();
    });
}
