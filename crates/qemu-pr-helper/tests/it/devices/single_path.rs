//! `single-path-reservations`: of a map's paths a reservation of type 1 or 3 admits one.

use std::os::fd::AsFd;

use pr_lab::prelude::*;

use crate::devices::world::{World, keys, node};

const DENY: &str = "[devices]\nsingle-path-reservations = \"deny\"\n";

/// `dm-0` (loop0) with two paths, `dm-1` (loop1) with one, and loop2, which is a disk.
fn maps() -> World {
    let world = World::new();
    for path in ["sda", "sdb", "sdc"] {
        world.attribute(path, "size", "2048\n");
    }
    world.mapped(0, "dm-0", "mpath-36001", 2048, &["sda", "sdb"]);
    world.mapped(1, "dm-1", "mpath-36002", 2048, &["sdc"]);
    world.block(2, "sdd");
    world
}

/// A PERSISTENT RESERVE OUT with a type; whether the policy refuses it.
fn is_refused(client: &Raw, minor: u32, action: u8, kind: u8, keys: &[u8; 24]) -> bool {
    let mut cdb = Raw::cdb_out(action, keys.len());
    cdb[2] = kind;
    client.send_with(&cdb, &[node(minor).as_fd()]);
    client.send(keys);
    let reply = client.reply();
    reply.status == 2 && reply.fixed_sense() == (5, 0x20, 2)
}

const RESERVE: u8 = 1;
const RELEASE: u8 = 2;
const PREEMPT: u8 = 4;
const PREEMPT_AND_ABORT: u8 = 5;
const REGISTER: u8 = 0;

#[test]
fn the_settings_refuse_types_that_admit_one_path_of_a_map() {
    let world = maps();
    let helper = world.start(DENY, |_| Answer::good(&[]).into());
    let client = helper.connect();
    let (own, other) = (keys(0xa1, 0xa1), keys(0xa1, 0xb2));
    for kind in 1..=8 {
        let admits_one = matches!(kind, 1 | 3);
        let refused = |minor, action, keys| is_refused(&client, minor, action, kind, keys);
        assert_eq!(refused(0, RESERVE, &other), admits_one, "RESERVE, type {kind}");
        assert_eq!(refused(0, PREEMPT, &other), admits_one, "PREEMPT, type {kind}");
        assert_eq!(refused(0, PREEMPT_AND_ABORT, &other), admits_one, "PREEMPT AND ABORT, type {kind}");
        // How a key is carried along, and what ends a reservation or has no type.
        for action in [PREEMPT, RELEASE, REGISTER] {
            assert!(!refused(0, action, &own), "action {action}, type {kind}");
        }
        // One path is all there is, or it is no map.
        assert!(!refused(1, RESERVE, &other) && !refused(2, RESERVE, &other), "type {kind}");
    }
    let words =
        "RESERVE refused: a reservation of this type admits one of the map's 2 paths (single-path-reservations)";
    eventually("the refusals are in the trail", || {
        helper.audit().iter().filter(|line| line.starts_with(words)).count() == 2
    });
}

#[test]
fn without_the_setting_they_are_carried_out() {
    let world = maps();
    let helper = world.start("", |_| Answer::good(&[]).into());
    let client = helper.connect();
    assert!([1, 3].into_iter().all(|kind| !is_refused(&client, 0, RESERVE, kind, &keys(0xa1, 0))));
}

#[test]
fn a_device_that_may_be_a_map_is_refused_as_long_as_that_cannot_be_found_out() {
    let world = maps();
    let helper = world.start(DENY, |_| Answer::good(&[]).into());
    let client = helper.connect();
    // Nothing tells what loop5 is.
    assert!(is_refused(&client, 5, RESERVE, 1, &keys(0xa1, 0)));
    assert!(!is_refused(&client, 5, RESERVE, 5, &keys(0xa1, 0)));
    eventually("the refusal is in the trail", || {
        let words =
            "RESERVE refused: whether this is a multipath map cannot be found out now (single-path-reservations)";
        helper.audit().iter().any(|line| line.starts_with(words))
    });
}
