//! Parts of disks: with the helper's capability a PERSISTENT RESERVE OUT would reach all of the disk.

use std::fs;

use pr_control::Control;
use pr_lab::prelude::*;
use rustix::process::Signal;

use crate::devices::world::{World, count, keys, node};

/// `sda`, with a volume on it (loop3), something encrypted on that (loop4), a partition of it (loop5), and a multipath
/// map that multipathd has not made (loop6).
fn parts() -> (World, [u32; 4]) {
    let world = World::new();
    world.attribute("sda", "size", "2048\n");
    world.attribute("sdb", "size", "2048\n");
    world.mapped(3, "dm-3", "LVM-abc", 1024, &["sda"]);
    world.mapped(4, "dm-4", "CRYPT-LUKS2-abc", 512, &["dm-3"]);
    world.block(5, "sda/sda1");
    world.attribute("sda/sda1", "partition", "1\n");
    world.mapped(6, "dm-6", "", 2048, &["sda", "sdb"]);
    (world, [3, 4, 5, 6])
}

fn good(_: &Command) -> Outcome {
    Answer::good(&[7; 8]).into()
}

#[test]
fn parts_are_read_but_not_changed() {
    let (world, parts) = parts();
    let helper = world.start("", good);
    let client = helper.connect();
    for minor in parts {
        for action in 0..=8 {
            client.pr_out(node(minor), action, &keys(0, 0xa1)).expect_check(5, 0x20, 0);
        }
        assert_eq!(client.pr_in(node(minor), 0, 8).payload, [7; 8]);
    }
    assert_eq!(helper.device().count(), parts.len(), "what changes something reached no disk");
    let end = helper.end(Signal::TERM);
    for minor in parts {
        let words = [&*format!("REGISTER on block device 7:{minor} is refused: it ")];
        assert_eq!((count(&end.stderr, &words), count(&end.stderr, &["7:3"])), (1, 1), "{}", end.stderr);
    }
    for (words, times) in [("it is a part of sda, and", 3), ("it lies on several devices (sda, sdb), and", 1)] {
        assert_eq!(count(&end.stderr, &[words]), times, "{}", end.stderr);
        let refusals = end.audit.iter().filter(|line| line.starts_with(&format!("CLEAR refused: {words}"))).count();
        assert_eq!(refusals, times, "{:#?}", end.audit);
    }
}

#[test]
fn a_refused_change_of_a_part_is_counted() {
    let (world, _) = parts();
    let control = world.bed().path("control");
    let settings = format!("[defaults]\ncontrol = \"{}\"\n", control.display());
    let helper = world.start(&settings, good);
    helper.connect().pr_out(node(3), 0, &keys(0, 0xa1)).expect_check(5, 0x20, 0);
    let snapshot = Control::new(control, PATIENCE).snapshot().expect("a snapshot");
    let refusals: Vec<_> = snapshot.refusals.iter().filter(|refusal| refusal.count > 0).collect();
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    assert_eq!((refusals[0].name.as_str(), refusals[0].count), ("part-of-disk", 1));
}

#[test]
fn the_settings_allow_changes_by_way_of_a_part_but_not_of_a_map() {
    let (world, parts) = parts();
    world.mapped(0, "dm-0", "mpath-36001", 2048, &["sda", "sdb"]);
    world.mapped(1, "dm-1", "LVM-def", 1024, &["dm-0"]);
    let helper = world.start("[devices]\nparts = \"allow\"\n", good);
    let client = helper.connect();
    for minor in parts {
        client.pr_out(node(minor), 0, &keys(0, 0xa1)).expect_bare(0);
    }
    assert_eq!(helper.device().count(), parts.len());
    // The paths of the map are below it, and a change on one of them is never right.
    client.pr_out(node(1), 0, &keys(0, 0xa1)).expect_check(5, 0x20, 0);
    assert_eq!(helper.device().count(), parts.len());
    // What the multipath side has to say is in the trail as well.
    let note = "; note: the disk is a part of map dm-0-map, ";
    let is_noted = |line: &String| line.starts_with("REGISTER: CHECK CONDITION") && line.contains(note);
    eventually("the note is in the trail", || helper.audit().iter().any(is_noted));
}

#[test]
fn a_whole_disk_under_another_name_is_changed() {
    let world = World::new();
    world.attribute("sda", "size", "2048\n");
    world.mapped(3, "dm-3", "LVM-abc", 2048, &["sda"]);
    world.block(4, "sdb");
    let helper = world.start("", good);
    let client = helper.connect();
    // loop5 is not in sysfs at all.
    for minor in [3, 4, 5] {
        client.pr_out(node(minor), 0, &keys(0, 0xa1)).expect_bare(0);
    }
    assert_eq!(helper.device().count(), 3);
    let end = helper.end(Signal::TERM);
    assert_eq!(end.stderr, "");
}

#[test]
fn a_device_that_may_be_a_part_is_busy_and_not_taken_for_a_disk() {
    let world = World::new();
    world.block(5, "sda");
    // Something that is there and cannot be read.
    fs::create_dir(world.bed().path("sysfs/devices/sda/partition")).expect("create a directory");
    let helper = world.start("", good);
    helper.connect().pr_out(node(5), 0, &keys(0, 0xa1)).expect_bare(8);
    assert_eq!(helper.device().count(), 0);
    helper.await_stderr("cannot tell whether this is a part of a disk");
}
