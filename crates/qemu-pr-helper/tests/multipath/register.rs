//! REGISTER and REGISTER AND IGNORE EXISTING KEY: the disk judges the key on one path, the library spreads it.

use std::os::fd::AsFd;

use fake_mpath::Event;
use pr_lab::prelude::*;

use crate::disk::{Op, READ_KEYS, REGISTER, check, conflict, dead, good, keys, keys_with, unreserved, willing};
use crate::lab::{Lab, broker, node};

#[test]
fn a_first_key_is_asked_of_the_disk_and_then_spread() {
    let lab = Lab::new();
    let helper = lab.start(willing);
    helper.connect().pr_out(node(0), 0, &keys(0, 0xa1)).expect_bare(0);
    assert_eq!(lab.log(), ["loop0 READ-KEYS", "loop0 REGISTER 0>a1", "library REGISTER-IGNORE 0>a1"]);
}

#[test]
fn a_first_key_goes_by_a_path_when_the_map_has_no_way() {
    let lab = Lab::new();
    let helper = lab.start(|minor, op| if op == REGISTER && minor < 2 { dead() } else { willing(minor, op) });
    helper.connect().pr_out(node(0), 0, &keys(0, 0xa1)).expect_bare(0);
    let expected = [
        "loop0 READ-KEYS",
        "loop0 REGISTER 0>a1",
        "loop1 REGISTER 0>a1",
        "loop2 REGISTER 0>a1",
        "library REGISTER-IGNORE 0>a1",
    ];
    assert_eq!(lab.log(), expected);
}

#[test]
fn a_first_key_that_conflicts_is_not_spread() {
    let lab = Lab::new();
    let helper = lab.start(|minor, op| if op == REGISTER { conflict() } else { willing(minor, op) });
    helper.connect().pr_out(node(0), 0, &keys(0, 0xa1)).expect_bare(0x18);
    assert_eq!(lab.log(), ["loop0 READ-KEYS", "loop0 REGISTER 0>a1"]);
}

#[test]
fn what_the_disk_says_of_a_first_key_is_the_answer() {
    let lab = Lab::new();
    let helper = lab.start(|minor, op| if op == REGISTER { check(5, 0x55, 4) } else { willing(minor, op) });
    helper.connect().pr_out(node(0), 0, &keys(0, 0xa1)).expect_check(5, 0x55, 4);
    assert_eq!(lab.log(), ["loop0 READ-KEYS", "loop0 REGISTER 0>a1"]);
    // A unit attention is for the guest to see, whichever command of ours meets it.
    lab.behave(&helper, |_, _| check(6, 0x2a, 3));
    helper.connect().pr_out(node(0), 0, &keys(0, 0xa1)).expect_check(6, 0x2a, 3);
    assert_eq!(lab.log(), ["loop0 READ-KEYS"]);
}

#[test]
fn a_first_key_is_taken_back_by_the_broker_when_the_library_takes_the_child_with_it() {
    for ending in ["exit=1", "abort", "hang"] {
        let lab = Lab::new();
        let helper = lab.launch(willing).args(["--command-timeout", "1"]).start();
        lab.script(&format!("out {ending}"));
        let reply = helper.connect().pr_out(node(0), 0, &keys(0, 0xa1));
        assert_eq!(reply.status, 2, "{ending}");
        let expected = [
            "loop0 READ-KEYS",
            "loop0 REGISTER 0>a1",
            "library REGISTER-IGNORE 0>a1",
            "loop1 REGISTER a1>0",
            "loop2 REGISTER a1>0",
        ];
        assert_eq!(lab.log(), expected, "{ending}");
    }
}

#[test]
fn a_key_that_was_on_a_path_before_is_not_taken_back() {
    let lab = Lab::new();
    let helper = lab.start(|minor, op| match op {
        READ_KEYS => Answer::good(&[0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0xa1]).into(),
        _ => willing(minor, op),
    });
    for ending in ["return=15", "exit=1"] {
        lab.script(&format!("out {ending}"));
        helper.connect().pr_out(node(0), 0, &keys(0, 0xa1)).expect_check(0xb, 8, 0);
        let expected = ["loop0 READ-KEYS", "loop0 REGISTER 0>a1", "library REGISTER-IGNORE 0>a1"];
        assert_eq!(lab.log(), expected, "{ending}");
    }
}

#[test]
fn a_first_key_that_cannot_be_spread_is_taken_back() {
    let lab = Lab::new();
    let helper = lab.start(willing);
    lab.script("out return=15");
    helper.connect().pr_out(node(0), 0, &keys(0, 0xa1)).expect_check(0xb, 8, 0);
    let expected = [
        "loop0 READ-KEYS",
        "loop0 REGISTER 0>a1",
        "library REGISTER-IGNORE 0>a1",
        "loop1 REGISTER a1>0",
        "loop2 REGISTER a1>0",
    ];
    assert_eq!(lab.log(), expected);

    // In a container without the paths' nodes the map is all there is.
    let lab = Lab::without_maps();
    lab.map(0, &[99]);
    let helper = lab.start(willing);
    lab.script("out return=11");
    helper.connect().pr_out(node(0), 0, &keys(0, 0xa1)).expect_bare(0x18);
    let expected = ["loop0 READ-KEYS", "loop0 REGISTER 0>a1", "library REGISTER-IGNORE 0>a1", "loop0 REGISTER a1>0"];
    assert_eq!(lab.log(), expected);
}

#[test]
fn an_old_key_proves_itself_by_changing_into_itself() {
    let lab = Lab::new();
    let helper = lab.start(willing);
    helper.connect().pr_out(node(0), 0, &keys(0xa1, 0xb2)).expect_bare(0);
    assert_eq!(lab.log(), ["loop0 REGISTER a1>a1", "library REGISTER-IGNORE a1>b2"]);
    helper.connect().pr_out(node(0), 0, &keys(0xb2, 0)).expect_bare(0);
    assert_eq!(lab.log(), ["loop0 REGISTER b2>b2", "library REGISTER-IGNORE b2>0"]);
}

#[test]
fn an_old_key_may_be_known_to_another_path_than_the_maps() {
    let lab = Lab::new();
    let helper = lab.start(|minor, op| if minor == 2 { willing(minor, op) } else { conflict() });
    helper.connect().pr_out(node(0), 0, &keys(0xa1, 0xb2)).expect_bare(0);
    let expected =
        ["loop0 REGISTER a1>a1", "loop1 REGISTER a1>a1", "loop2 REGISTER a1>a1", "library REGISTER-IGNORE a1>b2"];
    assert_eq!(lab.log(), expected);
}

#[test]
fn a_change_of_key_that_cannot_be_spread_leaves_the_old_one() {
    let lab = Lab::new();
    let helper = lab.start(willing);
    lab.script("out return=15");
    helper.connect().pr_out(node(0), 0, &keys(0xa1, 0xb2)).expect_check(0xb, 8, 0);
    assert_eq!(lab.log(), ["loop0 REGISTER a1>a1", "library REGISTER-IGNORE a1>b2"]);
}

#[test]
fn a_wrong_key_is_a_conflict_and_nothing_else_is_sent() {
    let lab = Lab::new();
    let helper = lab.start(|_, op| if op == REGISTER { conflict() } else { unreserved() });
    for new in [0xb2, 0] {
        helper.connect().pr_out(node(0), 0, &keys(0x9, new)).expect_bare(0x18);
        assert_eq!(lab.log(), ["loop0 REGISTER 9>9", "loop1 REGISTER 9>9", "loop2 REGISTER 9>9"]);
    }
}

#[test]
fn nothing_into_nothing_is_the_disks_business_alone() {
    let lab = Lab::new();
    let helper = lab.start(willing);
    helper.connect().pr_out(node(0), 0, &keys(0, 0)).expect_bare(0);
    assert_eq!(lab.log(), ["loop0 REGISTER 0>0"]);
}

#[test]
fn register_and_ignore_is_the_librarys_alone_and_keeps_its_flags() {
    let lab = Lab::new();
    let helper = lab.start(willing);
    for (flags, words) in [(0, ""), (1, " +1"), (4, " +4"), (5, " +5")] {
        helper.connect().pr_out(node(0), 6, &keys_with(flags, 0xdead, 0xa1)).expect_bare(0);
        assert_eq!(lab.log(), [format!("library REGISTER-IGNORE dead>a1{words}")]);
    }
    for event in lab.journal() {
        if let Event::Begin(call) = event {
            assert_eq!(
                (call.map.as_str(), call.action, call.scope, call.kind, call.transport_ids),
                ("7:0", 6, 0, 0, 0)
            );
        }
    }
}

#[test]
fn a_registration_keeps_its_flags_on_the_way() {
    let lab = Lab::new();
    let helper = lab.start(willing);
    helper.connect().pr_out(node(0), 0, &keys_with(5, 0, 0xa1)).expect_bare(0);
    assert_eq!(lab.log(), ["loop0 READ-KEYS", "loop0 REGISTER 0>a1 +5", "library REGISTER-IGNORE 0>a1 +5"]);
    helper.connect().pr_out(node(0), 0, &keys_with(1, 0xa1, 0xb2)).expect_bare(0);
    assert_eq!(lab.log(), ["loop0 REGISTER a1>a1 +1", "library REGISTER-IGNORE a1>b2 +1"]);
}

/// A parameter list with `SPEC_I_PT` and this many SAS TransportIDs.
fn with_transport_ids(key: u64, new: u64, count: u8) -> Vec<u8> {
    let mut list = keys_with(8, key, new).to_vec();
    list.extend((u32::from(count) * 24).to_be_bytes());
    for number in 0..count {
        let mut id = [0; 24];
        (id[0], id[11]) = (6, number);
        list.extend(id);
    }
    list
}

#[test]
fn any_number_of_transport_ids_goes_to_the_disk_and_none_to_the_library() {
    let lab = Lab::new();
    let helper = lab.start(willing);
    for count in [1, 32, 33, 40, 200] {
        let list = with_transport_ids(0, 0xa1, count);
        helper.connect().pr_out(node(0), 0, &list).expect_bare(0);
        let sent = helper.device().last();
        assert_eq!(sent.data_out, list, "the list as it came");
        assert_eq!(lab.log(), ["loop0 READ-KEYS", "loop0 REGISTER 0>a1 +8", "library REGISTER-IGNORE 0>a1"]);
    }
    // Only an unregistered initiator may name others: the disk says so.
    lab.behave(&helper, |_, _| check(5, 0x26, 0));
    helper.connect().pr_out(node(0), 0, &with_transport_ids(0xa1, 0xb2, 40)).expect_check(5, 0x26, 0);
    assert_eq!(lab.log(), ["loop0 REGISTER a1>b2 +8"]);
    // And nobody may with the key ignored.
    helper.connect().pr_out(node(0), 6, &with_transport_ids(0, 0xa1, 40)).expect_check(5, 0x26, 0);
    assert_eq!(lab.log(), [""; 0]);
}

#[test]
fn whatever_is_in_a_parameter_list_is_answered() {
    let lab = Lab::new();
    let helper = lab.start(|_, op| match op {
        Op::In(_) => unreserved(),
        _ => good(),
    });
    let broker_before = broker(&helper);
    let client = helper.connect();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let device = node(0);
    for round in 0..150_u64 {
        let length = match round % 3 {
            0 => next() % 40,
            1 => 24 + next() % 1100,
            _ => next() % 8193,
        };
        let mut list: Vec<u8> = (0..length).map(|_| next().to_le_bytes()[0]).collect();
        if let (1, Some(flags)) = (round % 3, list.get_mut(20)) {
            *flags |= 8;
        }
        let mut cdb = Raw::cdb_out((next() % 9) as u8, list.len());
        cdb[2] = next().to_le_bytes()[0];
        client.send_with(&cdb, &[device.as_fd()]);
        client.send(&list);
        let reply = client.reply();
        assert!(matches!(reply.status, 0 | 2), "{cdb:02x?} {list:02x?}: {reply:?}");
    }
    assert_eq!(helper.stderr(), "", "no child has died");
    assert_eq!(broker(&helper), broker_before);
}
