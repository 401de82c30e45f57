//! Devices that take no SCSI commands: the answer says so, and the log once what they are.

use std::fs::File;

use pr_lab::prelude::*;
use rustix::process::Signal;

use crate::devices::world::{World, count, keys, node};

/// Where character devices are that every machine has, beside those of memory.
const FUSE: &str = "/dev/fuse";
const FUSE_NUMBER: &str = "10:229";

fn open(path: &str) -> File {
    File::options().read(true).write(true).open(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn a_block_device_without_scsi_commands_has_no_such_command_and_the_log_says_once_what_it_is() {
    let world = World::new();
    for (minor, name) in [(0, "nvme0n1"), (1, "vda"), (2, "md0")] {
        world.block(minor, name);
    }
    world.mapped(3, "dm-3", "", 2048, &[]);
    let helper = world.start("", |_| Outcome::Errno(libc::ENOTTY));
    let client = helper.connect();
    for _ in 0..3 {
        for minor in 0..4 {
            client.pr_in(node(minor), 0, 8).expect_check(5, 0x20, 0);
            client.pr_out(node(minor), 0, &keys(0, 0xa1)).expect_check(5, 0x20, 0);
        }
    }
    let end = helper.end(Signal::TERM);
    for (device, hint) in [
        ("nvme0n1 7:0", "NVMe has reservations of its own"),
        ("vda 7:1", "virtio-blk"),
        ("md0 7:2", "are for SCSI disks"),
        ("dm-3 7:3, map dm-3-map", "device-mapper passes them on to one disk only"),
    ] {
        let words = [&*format!("{device} takes no SCSI commands (Inappropriate ioctl for device"), hint];
        assert_eq!(count(&end.stderr, &words), 1, "{device}: {}", end.stderr);
    }
    assert_eq!(end.stderr.lines().count(), 4, "{}", end.stderr);
}

#[test]
fn a_loop_device_and_a_bsg_device_refuse_the_field_as_before_and_the_log_says_what_to_give() {
    let world = World::new();
    world.block(0, "loop0");
    world.character(FUSE_NUMBER, "0:0:0:0");
    // What these say to a header of SG_IO.
    let helper = world.start("", |_| Outcome::Errno(libc::EINVAL));
    let client = helper.connect();
    for _ in 0..3 {
        client.pr_in(node(0), 0, 8).expect_check(5, 0x24, 0);
        client.pr_in(open(FUSE), 0, 8).expect_check(5, 0x24, 0);
    }
    let end = helper.end(Signal::TERM);
    assert_eq!(
        count(&end.stderr, &["loop0 7:0 takes no SCSI commands", "there is a file behind it"]),
        1,
        "{}",
        end.stderr
    );
    assert_eq!(
        count(&end.stderr, &["0:0:0:0 10:229 takes no", "give the guest /dev/sdX or /dev/sgN"]),
        1,
        "{}",
        end.stderr
    );
}

#[test]
fn an_nvme_character_device_and_a_file_end_as_before_and_the_log_says_what_they_are() {
    let world = World::new();
    world.character(FUSE_NUMBER, "ng0n1");
    let image = world.bed().path("disk.qcow2");
    std::fs::write(&image, "").expect("write a file");
    let helper = world.start("", |_| Outcome::Errno(libc::ENOTTY));
    let client = helper.connect();
    for _ in 0..3 {
        client.pr_in(open(FUSE), 0, 8).expect_check(0xb, 0, 6);
        client.pr_out(open(image.to_str().expect("UTF-8")), 0, &keys(0, 1)).expect_check(0xb, 0, 6);
    }
    let end = helper.end(Signal::TERM);
    assert_eq!(count(&end.stderr, &["ng0n1 10:229 takes no SCSI commands", "NVMe"]), 1, "{}", end.stderr);
    assert_eq!(count(&end.stderr, &["takes no SCSI commands", "it is a file"]), 1, "{}", end.stderr);
    assert_eq!(end.stderr.lines().count(), 2, "{}", end.stderr);
}

#[test]
fn a_helper_that_may_not_send_commands_says_so_once() {
    let world = World::new();
    world.block(0, "sda");
    let helper = world.start("", |_| Outcome::Errno(libc::EPERM));
    let client = helper.connect();
    for _ in 0..3 {
        client.pr_in(node(0), 0, 8).expect_check(0xb, 0, 6);
    }
    let end = helper.end(Signal::TERM);
    assert_eq!(
        count(&end.stderr, &["sda 7:0 takes no commands from this program", "CAP_SYS_RAWIO"]),
        1,
        "{}",
        end.stderr
    );
    assert_eq!(end.stderr.lines().count(), 1, "{}", end.stderr);
}
