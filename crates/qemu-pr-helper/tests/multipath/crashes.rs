//! A library that ends, crashes, hangs or talks too much takes one command with it and nothing else.

use pr_lab::prelude::*;

use crate::disk::{keys, willing};
use crate::lab::{Lab, await_idle, broker, node};

#[track_caller]
fn register(client: &Raw) -> Reply {
    client.pr_out(node(0), 6, &keys(0, 0xa1))
}

/// A command meets this script: it is answered with CHECK CONDITION and this sense, one line in the log has these words, and the
/// next command is fine.
#[track_caller]
fn survives(script: &str, sense: (u8, u8, u8), words: &[&str]) {
    let lab = Lab::new();
    let helper = lab.launch(willing).args(["--command-timeout", "1"]).start();
    let broker_before = broker(&helper);
    let client = helper.connect();
    lab.script(script);
    let reply = register(&client);
    assert_eq!((reply.status, reply.fixed_sense()), (2, sense), "{script}");
    helper.await_stderr("\n");
    let said = helper.stderr();
    assert_eq!(said.lines().count(), 1, "one line: {said:?}");
    for word in words {
        assert!(said.contains(word), "no {word:?} in {said:?}");
    }
    assert!(said.trim_end().chars().all(|c| !c.is_control()), "nothing that a terminal obeys: {said:?}");

    lab.script("");
    register(&client).expect_bare(0);
    assert_eq!(client.pr_in(null(), 0, 8).payload, [0; 8], "what is no multipath map");
    assert_eq!(broker(&helper), broker_before, "the same broker");
    await_idle(broker_before);
    assert_eq!(helper.stderr(), said, "nothing more to say");
}

#[test]
fn exit() {
    survives("out say=no-control-node exit=1", (0xb, 8, 0), &["libmpathpersist exited with 1: no-control-node"]);
}

#[test]
fn exit_with_success() {
    survives("out exit=0", (0xb, 8, 0), &["libmpathpersist exited with 0"]);
}

#[test]
fn exit_at_the_start() {
    survives("init exit=1", (0xb, 8, 0), &["libmpathpersist exited with 1"]);
}

#[test]
fn abort() {
    survives("out abort", (0xb, 8, 0), &["libmpathpersist died of signal 6"]);
}

#[test]
fn crash() {
    survives("out say=about-to-crash segfault", (0xb, 8, 0), &["died of signal 11", "about-to-crash"]);
}

#[test]
fn hang() {
    survives("out hang", (0xb, 0x2e, 2), &["no answer within 1s", "multipath -ll"]);
}

#[test]
fn hang_at_the_start() {
    survives("init hang", (0xb, 0x2e, 2), &["no answer within 1s"]);
}

#[test]
fn a_megabyte_of_garbage_and_exit() {
    survives("out garbage=1000000 exit=3", (0xb, 8, 0), &["libmpathpersist exited with 3"]);
}

#[test]
fn a_megabyte_of_garbage_and_a_crash() {
    survives("out garbage=1000000 segfault", (0xb, 8, 0), &["died of signal 11"]);
}

#[test]
fn a_megabyte_of_garbage_and_an_error() {
    survives("out garbage=1000000 return=15", (0xb, 8, 0), &["failed with code 15"]);
}

#[test]
fn a_megabyte_of_garbage_and_success_is_success() {
    let lab = Lab::new();
    let helper = lab.start(willing);
    let client = helper.connect();
    lab.script("out garbage=1000000 return=0");
    for _ in 0..3 {
        register(&client).expect_bare(0);
    }
    assert_eq!(helper.end(rustix::process::Signal::TERM).stderr, "", "a library that talks while it works is no news");
}

#[test]
fn what_hangs_on_one_map_does_not_delay_another() {
    let lab = Lab::without_maps();
    lab.map(0, &[]);
    lab.map(1, &[]);
    let helper = lab.start(willing);
    lab.script("out 7:0 hang\nout return=0");
    let stuck = helper.connect();
    let device = node(0);
    stuck.send_with(&Raw::cdb_out(6, 24), &[std::os::fd::AsFd::as_fd(&device)]);
    stuck.send(&keys(0, 1));
    eventually("the library hangs", || !lab.journal().is_empty());
    let client = helper.connect();
    for _ in 0..10 {
        client.pr_out(node(1), 6, &keys(0, 2)).expect_bare(0);
    }
    assert_eq!(lab.journal().len(), 21, "ten calls that returned, and one that did not");
}
