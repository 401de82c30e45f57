//! Which devices are multipath maps, which lie on one, and which have nothing to do with it.

use std::fs;

use pr_lab::prelude::*;

use crate::multipath::disk::{READ_KEYS, dead, good, keys, willing};
use crate::multipath::lab::{Lab, device, node};

#[test]
fn persistent_reserve_in_on_a_map_goes_to_the_path_in_use() {
    let lab = Lab::new();
    let helper = lab.start(|_, _| Answer::good(&[7; 32]).into());
    let reply = helper.connect().pr_in(node(0), 0, 24);
    assert_eq!((reply.status, &reply.payload[..]), (0, &[7; 24][..]));
    assert_eq!(lab.log(), ["loop1 READ-KEYS"]);
    helper.connect().pr_in(node(0), 3, 0).expect_bare(0);
    assert_eq!(lab.log(), ["loop1 FULL-STATUS"]);
    assert_eq!(helper.connect().pr_in(node(0), 1, 8192).size, 32, "as much as there is");
}

#[test]
fn persistent_reserve_in_finds_a_path_that_works() {
    let lab = Lab::new();
    let helper = lab.start(|minor, op| match (minor, op) {
        (2, READ_KEYS) => Answer::good(&[9; 8]).into(),
        _ => dead(),
    });
    assert_eq!(helper.connect().pr_in(node(0), 0, 8).payload, [9; 8]);
    assert_eq!(lab.log(), ["loop1 READ-KEYS", "loop2 READ-KEYS"]);
    lab.behave(&helper, |_, _| dead());
    helper.connect().pr_in(node(0), 0, 8).expect_check(0xb, 5, 0);
}

#[test]
fn what_lies_on_a_map_is_read_but_not_changed() {
    let lab = Lab::new();
    lab.block_device(3, Some("LVM-abc"), &[0]);
    lab.block_device(4, Some("CRYPT-LUKS2-abc"), &[3]);
    let helper = lab.start(willing);
    let client = helper.connect();
    for minor in [3, 4] {
        for action in 0..=8 {
            client.pr_out(node(minor), action, &keys(0, 0xa1)).expect_check(5, 0x20, 0);
        }
        assert_eq!(lab.log(), [""; 0]);
        assert_eq!(client.pr_in(node(minor), 0, 8).payload, [0; 8]);
        assert_eq!(lab.log(), [format!("loop{minor} READ-KEYS")]);
    }
    helper.await_stderr(
        "the disk is a part of map map0, and the command would reach one path of it only; give the guest the whole map",
    );
}

#[test]
fn a_block_device_without_multipath_gets_the_command_as_it_is() {
    let lab = Lab::new();
    lab.block_device(3, None, &[]);
    // All of another one, in other words.
    lab.block_device(4, Some("LVM-abc"), &[3]);
    for minor in [3, 4] {
        fs::write(lab.bed().path(&format!("sysfs/7:{minor}/size")), "2048\n").unwrap();
    }
    lab.block_device(5, Some("not-mpath-5"), &[]);
    let helper = lab.start(|_, _| good());
    let client = helper.connect();
    // loop6 is not in sysfs at all.
    for minor in [3, 4, 5, 6] {
        for (action, name) in [(0, "REGISTER"), (3, "CLEAR"), (6, "REGISTER-IGNORE"), (7, "REGISTER-MOVE")] {
            client.pr_out(node(minor), action, &keys(0xa1, 0xb2)).expect_bare(0);
            assert_eq!(lab.log(), [format!("loop{minor} {name} a1>b2")]);
        }
        assert_eq!(client.pr_in(node(minor), 0, 8).status, 0);
        assert_eq!(lab.log(), [format!("loop{minor} READ-KEYS")]);
    }
    let daemon = helper.process().id();
    let in_daemon = |thread: i32| fs::exists(format!("/proc/{daemon}/task/{thread}")).unwrap();
    assert!(helper.device().seen().iter().all(|command| in_daemon(command.thread)), "by the daemon itself");
}

#[test]
fn a_device_that_cannot_be_looked_at_is_busy_and_not_taken_for_a_disk() {
    let lab = Lab::new();
    let uuid = lab.bed().path("sysfs/7:0/dm/uuid");
    std::fs::remove_file(&uuid).expect("remove the uuid");
    // Something that is there and cannot be read.
    std::fs::create_dir(&uuid).expect("create a directory");
    let helper = lab.start(willing);
    // One path alone would have had the key.
    helper.connect().pr_out(node(0), 0, &keys(0, 0xa1)).expect_bare(8);
    assert_eq!(lab.log(), [""; 0]);
    helper.await_stderr("cannot tell whether this is a map");
}

#[test]
fn a_map_is_known_by_what_device_mapper_says_of_it_and_sysfs_is_not_asked() {
    let lab = Lab::new();
    lab.mapper().tell_names(device(0), "mpath-0", "map0");
    std::fs::remove_file(lab.bed().path("sysfs/7:0/dm/uuid")).expect("remove the uuid");
    let helper = lab.start(willing);
    helper.connect().pr_out(node(0), 0, &keys(0, 0xa1)).expect_bare(0);
    let log = lab.log();
    for path in ["loop1 REGISTER 0>a1", "loop2 REGISTER 0>a1"] {
        assert!(log.iter().any(|line| line == path), "{log:?}");
    }
}

#[test]
fn without_device_mappers_control_node_a_map_is_known_and_the_log_says_what_is_missing() {
    let lab = Lab::new();
    let helper = Lab::without_control(lab.launch(willing)).start();
    let client = helper.connect();
    let reply = client.pr_out(node(0), 0, &keys(0, 0xa1));
    assert_ne!(reply.status, 0);
    assert_eq!(lab.log(), [""; 0], "one path alone would have had the key");
    helper.await_stderr("/dev/mapper/control: No such file");
}
