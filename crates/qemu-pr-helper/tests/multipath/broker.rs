//! The broker as a process: what it holds, and what happens when it or the daemon dies.

use std::os::fd::AsFd;

use pr_lab::prelude::*;
use rustix::process::Signal;

use crate::disk::{keys, willing};
use crate::lab::{Lab, await_idle, broker, children, node};

const RAWIO: &str = "0000000000020000";
const RAWIO_AND_ADMIN: &str = "0000000000220000";
const NONE: &str = "0000000000000000";

#[track_caller]
fn expect_status(process: Process, expected: &[(&str, &str)]) {
    for status in process.threads() {
        for (name, value) in expected {
            assert_eq!(status[*name], *value, "{name} of {}", status["Name"]);
        }
    }
}

#[test]
fn the_daemon_keeps_one_capability_and_the_broker_two() {
    for user in [&["-u", "nobody"][..], &["-u", "nobody", "-g", "nogroup"], &[]] {
        let lab = Lab::new();
        let helper = lab.launch(willing).args(user).start();
        let broker = broker(&helper);
        let client = helper.connect();
        // Two clients, a command behind them, and one under way: that is when the rights matter.
        client.pr_out(node(0), 6, &keys(0, 0xa1)).expect_bare(0);
        lab.script("out hang");
        let (other, device) = (helper.connect(), node(0));
        other.send_with(&Raw::cdb_out(6, 24), &[device.as_fd()]);
        other.send(&keys(0, 0xb2));
        eventually("a command is under way", || lab.journal().len() == 3);

        let dropped = [("CapInh", NONE), ("CapBnd", NONE), ("CapAmb", NONE), ("NoNewPrivs", "1"), ("Groups", "")];
        expect_status(helper.process(), &dropped);
        expect_status(helper.process(), &[("CapPrm", RAWIO), ("CapEff", RAWIO)]);
        if !user.is_empty() {
            expect_status(helper.process(), &[("Uid", "65534 65534 65534 65534")]);
        }
        let [child] = children(broker)[..] else { panic!("not one child of the broker") };
        for process in [broker, child] {
            expect_status(process, &dropped);
            expect_status(process, &[("CapPrm", RAWIO_AND_ADMIN), ("CapEff", RAWIO_AND_ADMIN)]);
            expect_status(process, &[("Uid", "0 0 0 0")]);
        }
    }
}

#[test]
fn the_broker_has_nothing_of_the_daemons_open() {
    let lab = Lab::new();
    let inherited = std::fs::File::open("/dev/zero").unwrap();
    let pidfile = lab.bed().path("pid");
    let helper = lab.launch(willing).fd(inherited, 33).arg("-f").arg(&pidfile).start();
    let broker = broker(&helper);
    let client = helper.connect();
    client.pr_out(node(0), 6, &keys(0, 0xa1)).expect_bare(0);

    await_idle(broker);
    let descriptors = broker.descriptors();
    let (standard, others): (Vec<_>, Vec<_>) = descriptors.into_iter().partition(|(number, _)| *number < 3);
    assert!(standard.iter().all(|(_, path)| path == std::path::Path::new("/dev/null")), "{standard:?}");
    assert_eq!(standard.len(), 3);
    let [(_, socket)] = &others[..] else { panic!("not one descriptor more but {others:?}") };
    assert!(socket.to_string_lossy().starts_with("socket:"), "{socket:?}");

    // A child has the device and the pipe for its answer; standard error is read by the broker.
    lab.script("out hang");
    let device = node(0);
    client.send_with(&Raw::cdb_out(6, 24), &[device.as_fd()]);
    client.send(&keys(0, 0xb2));
    eventually("a command is under way", || lab.journal().len() == 3);
    let [child] = children(broker)[..] else { panic!("not one child of the broker") };
    // Numbers of inodes do not matter.
    let kind = |path: std::path::PathBuf| path.to_string_lossy().split(':').next().unwrap_or_default().to_owned();
    let mut open: Vec<String> = child.descriptors().into_values().map(kind).collect();
    open.sort();
    assert_eq!(open, ["/dev/loop0", "/dev/null", "/dev/null", "pipe", "pipe"]);
}

#[test]
fn without_its_broker_the_daemon_says_so_and_serves_everything_else() {
    let lab = Lab::new();
    let helper = lab.start(willing);
    let broker = broker(&helper);
    let client = helper.connect();
    client.pr_out(node(0), 6, &keys(0, 0xa1)).expect_bare(0);
    broker.signal(Signal::KILL);
    assert!(broker.ends_within(PATIENCE));
    client.pr_out(node(0), 6, &keys(0, 0xa1)).expect_check(0xb, 8, 0);
    client.pr_in(node(0), 0, 8).expect_check(0xb, 8, 0);
    helper.await_stderr("the multipath broker cannot be reached");
    helper.await_stderr("restart this program");
    assert_eq!(client.pr_in(null(), 0, 8).payload, [0; 8]);
    client.pr_out(null(), 0, &keys(0, 0xa1)).expect_bare(0);
    drop(client);
    assert_eq!(helper.end(Signal::TERM).code(), 0);
}

#[test]
fn a_command_whose_broker_dies_is_answered() {
    let lab = Lab::new();
    let helper = lab.start(willing);
    lab.script("out hang");
    let (client, device) = (helper.connect(), node(0));
    client.send_with(&Raw::cdb_out(6, 24), &[device.as_fd()]);
    client.send(&keys(0, 0xa1));
    eventually("a command is under way", || lab.journal().len() == 1);
    let broker = broker(&helper);
    let left = children(broker);
    broker.signal(Signal::KILL);
    client.reply().expect_check(0xb, 8, 0);
    helper.await_stderr("the multipath broker cannot be reached");
    for child in left {
        child.signal(Signal::KILL);
    }
}

#[test]
fn the_broker_ends_with_the_daemon_however_that_ends() {
    for signal in [Signal::KILL, Signal::TERM, Signal::INT] {
        let lab = Lab::new();
        let helper = lab.start(willing);
        let broker = broker(&helper);
        helper.connect().pr_out(node(0), 6, &keys(0, 0xa1)).expect_bare(0);
        helper.end(signal);
        assert!(broker.ends_within(PATIENCE), "after {signal:?}");
    }
}

#[test]
fn a_command_under_way_when_the_daemon_dies_is_finished_and_the_broker_ends() {
    let lab = Lab::new();
    let helper = lab.start(willing);
    let gate = lab.bed().path("gate");
    lab.script(&format!("out hold={}", gate.display()));
    let (client, device) = (helper.connect(), node(0));
    client.send_with(&Raw::cdb_out(6, 24), &[device.as_fd()]);
    client.send(&keys(0, 0xa1));
    eventually("a command is under way", || lab.journal().len() == 1);
    let broker = broker(&helper);
    helper.end(Signal::KILL);
    std::fs::write(gate, "").unwrap();
    assert!(broker.ends_within(PATIENCE));
    assert_eq!(lab.journal().len(), 2, "half a registration would be worse");
}

#[test]
fn a_command_that_waits_when_the_daemon_dies_is_not_begun() {
    let lab = Lab::new();
    let helper = lab.start(willing);
    let gate = lab.bed().path("gate");
    lab.script(&format!("out hold={}", gate.display()));
    let broker = broker(&helper);
    let (device, clients) = (node(0), [helper.connect(), helper.connect()]);
    for (number, client) in clients.iter().enumerate() {
        let before = broker.descriptors().len();
        client.send_with(&Raw::cdb_out(6, 24), &[device.as_fd()]);
        client.send(&keys(0, number as u64 + 1));
        eventually("the broker has the command", || broker.descriptors().len() > before);
        eventually("the first is under way", || lab.journal().len() == 1);
    }
    let before = broker.descriptors().len();
    helper.end(Signal::KILL);
    eventually("the broker lets go of the second", || broker.descriptors().len() < before);
    std::fs::write(gate, "").unwrap();
    assert!(broker.ends_within(PATIENCE));
    assert_eq!(lab.journal().len(), 2, "the first one, from beginning to end");
}

#[test]
fn signals_for_the_daemon_do_not_end_the_broker() {
    let lab = Lab::new();
    let helper = lab.start(willing);
    let broker = broker(&helper);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::PIPE] {
        broker.signal(signal);
    }
    helper.connect().pr_out(node(0), 6, &keys(0, 0xa1)).expect_bare(0);
    assert!(broker.is_alive());
}
