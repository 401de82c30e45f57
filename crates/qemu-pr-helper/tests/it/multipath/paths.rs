//! Paths that hang, that cannot be opened, and that come and go.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pr_lab::prelude::*;

use crate::multipath::disk::{READ_KEYS, dead, good, keys_with};
use crate::multipath::lab::{Lab, device, node, worker};
use crate::multipath::mapped::{Guest, Mapped, OTHER, key_of};

const KEY: u64 = 0xa1;

#[test]
fn a_path_that_hangs_costs_its_share_of_the_time_and_is_failed() {
    let lab = Lab::new();
    let mapped = Mapped::default();
    let helper = mapped.launch(&lab).args(["--command-timeout", "4"]).start();
    let guest = Guest::of(&helper);
    guest.change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    mapped.hangs(1);
    guest.change(0, 0, &keys_with(0, KEY, 0xa2)).expect_good();
    assert_eq!(mapped.keys(), [Some(0xa2), None], "the old key is nowhere");
    assert!(!lab.mapper().is_active(device(2)), "a path that may lack the key carries no I/O");
    helper.await_stderr("path loop2");
    // It comes back with its answers; then it is given the key, without anybody asking.
    helper.device().release(Answer::host(3, 0));
    mapped.comes_back(&lab, 1);
    eventually("it has the key", || mapped.keys() == [Some(0xa2); 2]);
}

/// The first path hangs from the moment at which somebody sends such a command.
fn hangs_at(helper: &Helper, mapped: &Mapped, action: u8) {
    let disk = mapped.clone();
    helper.device().behave(move |command| {
        if command.is_out() && command.cdb[1] & 0x1f == action {
            disk.hangs(0);
        }
        disk.answer(command)
    });
}

#[test]
fn a_path_that_hangs_while_the_map_is_suspended_is_not_waited_for_longer_than_guests_wait() {
    // PREEMPT, and PREEMPT AND ABORT, which elsewhere gets all of the time that the command has.
    for action in [4, 5] {
        let lab = Lab::new();
        let mapped = Mapped::default();
        let helper = mapped.launch(&lab).args(["--command-timeout", "300"]).start();
        let guest = Guest::of(&helper);
        guest.change(0, 0, &keys_with(0, 0, KEY)).expect_good();
        guest.change(1, 5, &keys_with(0, KEY, 0)).expect_good();
        hangs_at(&helper, &mapped, action);
        lab.mapper().calls();
        guest.begin(action, 5, &keys_with(0, KEY, KEY));
        assert_eq!(guest.end(), (0, [0; 3]), "the other path takes it: {}", helper.stderr());
        assert!(!lab.mapper().is_suspended(device(0)));
        assert_eq!(lab.mapper().calls(), ["suspend 7:0", "resume 7:0", "fail_path 7:1"]);
        assert_eq!(mapped.keys(), [None, Some(KEY)]);
        // What hung was not carried out; when the path is back, it is given the key.
        helper.device().release(dead());
        mapped.replace(&helper);
        mapped.comes_back(&lab, 0);
        eventually("both paths have the key", || mapped.keys() == [Some(KEY); 2]);
    }
}

#[test]
fn a_path_that_hangs_does_not_cost_preempt_and_abort_all_of_its_time() {
    let lab = Lab::new();
    let mapped = Mapped::default();
    let helper = mapped.launch(&lab).args(["--command-timeout", "300"]).start();
    let guest = Guest::of(&helper);
    guest.change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    mapped.act(OTHER, 0, 0, &keys_with(0, 0, 0xb1));
    hangs_at(&helper, &mapped, 5);
    guest.begin(5, 5, &keys_with(0, KEY, 0xb1));
    assert_eq!(guest.end(), (0, [0; 3]), "the other path does it: {}", helper.stderr());
    assert_eq!(key_of(&mapped.disk().unit, OTHER), None);
    helper.device().release(dead());
}

#[test]
fn preempt_and_abort_is_waited_for_as_long_as_its_path_answers() {
    let lab = Lab::new();
    let mapped = Mapped::default();
    let helper = mapped.launch(&lab).args(["--command-timeout", "300"]).start();
    let guest = Guest::of(&helper);
    guest.change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    let (disk, probes) = (mapped.clone(), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&probes);
    helper.device().behave(move |command| {
        if command.is_out() && command.cdb[1] & 0x1f == 5 {
            return Outcome::Hang;
        }
        seen.fetch_add(usize::from(command.cdb[0] == 0), Ordering::Relaxed);
        disk.answer(command)
    });
    guest.begin(5, 5, &keys_with(0, KEY, 0xb1));
    eventually("the path is asked more than once", || probes.load(Ordering::Relaxed) > 1);
    helper.device().release(good());
    assert_eq!(guest.end(), (0, [0; 3]), "{}", helper.stderr());
}

#[test]
fn when_the_path_in_use_hangs_another_one_is_asked() {
    let lab = Lab::new();
    let mapped = Mapped::default();
    let helper = mapped.launch(&lab).args(["--command-timeout", "4"]).start();
    let guest = Guest::of(&helper);
    guest.change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    mapped.hangs(0);
    let reply = guest.read();
    assert_eq!((reply.status, &reply.payload[8..16]), (0, &KEY.to_be_bytes()[..]));
    helper.device().release(dead());
}

#[test]
fn a_map_all_of_whose_paths_hang_is_answered_in_time_and_goes_on_when_they_do() {
    let lab = Lab::new();
    let mapped = Mapped::default();
    let helper = mapped.launch(&lab).args(["--command-timeout", "1"]).start();
    let guest = Guest::of(&helper);
    let process = {
        guest.change(0, 0, &keys_with(0, 0, KEY)).expect_good();
        worker(&helper)
    };
    mapped.hangs(0);
    mapped.hangs(1);
    let said = guest.change(1, 5, &keys_with(0, KEY, 0)).0;
    assert_ne!(said.0, 0, "{said:?}");
    let reply = guest.read();
    assert_ne!(reply.status, 0);
    mapped.comes_back(&lab, 0);
    mapped.comes_back(&lab, 1);
    helper.device().release(dead());
    eventually("the guest goes on", || guest.change(1, 5, &keys_with(0, KEY, 0)).0 == (0, [0; 3]));
    assert_eq!(worker(&helper), process, "nobody had to be killed for it");
}

#[test]
fn reading_does_not_wait_for_a_change_that_takes_long() {
    let lab = Lab::new();
    let mapped = Mapped::default();
    let helper = mapped.launch(&lab).args(["--command-timeout", "300"]).start();
    let (guest, other) = (Guest::of(&helper), Guest::of(&helper));
    guest.change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    mapped.hangs(0);
    // PREEMPT AND ABORT waits for others' commands to end.
    guest.begin(5, 5, &keys_with(0, KEY, 0xb1));
    let before = helper.device().count();
    helper.device().await_count(before + 1);
    mapped.disk().paths[0] = crate::multipath::mapped::Way::Up;
    let reply = other.read();
    assert_eq!((reply.status, &reply.payload[8..16]), (0, &KEY.to_be_bytes()[..]));
    helper.device().release(good());
    guest.end();
}

#[test]
fn reading_beside_a_change_sends_nothing_that_changes() {
    let lab = Lab::new();
    let mapped = Mapped::default();
    let helper = mapped.launch(&lab).args(["--command-timeout", "300"]).start();
    let (guest, other) = (Guest::of(&helper), Guest::of(&helper));
    guest.change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    let disk = mapped.clone();
    let changes = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&changes);
    helper.device().behave(move |command| {
        if !command.is_out() {
            return disk.answer(command);
        }
        // Of the change itself, which goes no further.
        seen.fetch_add(1, Ordering::Relaxed);
        Outcome::Hang
    });
    guest.begin(5, 5, &keys_with(0, KEY, 0xb1));
    eventually("the change is under way", || changes.load(Ordering::Relaxed) > 0);
    let before = changes.load(Ordering::Relaxed);
    assert_eq!(other.read().status, 0);
    assert_eq!(changes.load(Ordering::Relaxed), before, "what was begun is not for whoever reads to finish");
    mapped.replace(&helper);
    helper.device().release(good());
    guest.end();
}

#[test]
fn a_path_whose_node_is_missing_or_another_device_is_named_when_it_matters() {
    let lab = Lab::without_maps();
    // There is no node for the second, and that of the third is another device.
    lab.map(0, &[1, 99]);
    let mapped = Mapped::default();
    let helper = mapped.launch(&lab).start();
    let guest = Guest::of(&helper);
    let said = guest.change(0, 0, &keys_with(0, 0, KEY)).0;
    assert_eq!(said, (2, [0xb, 8, 0]), "a key that cannot be on every path is on none");
    assert_eq!(mapped.keys(), [None; 2]);
    helper.await_stderr("path loop99 cannot be");
    lab.mapper().set_active(device(99), false);
    guest.change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    assert_eq!(mapped.keys(), [Some(KEY), None]);

    fs::write(lab.bed().path("sysfs/7:99/uevent"), "DEVNAME=loop2\n").unwrap();
    assert_eq!(guest.read().status, 0);
    lab.mapper().set_active(device(99), true);
    let said = guest.change(0, 0, &keys_with(0, KEY, 0xa2)).0;
    assert_eq!(said, (2, [0xb, 8, 0]));
    helper.await_stderr("the node in /dev is another device");
}

#[test]
fn a_path_that_is_added_gets_the_key_and_the_next_command() {
    let lab = Lab::without_maps();
    lab.map(0, &[1]);
    let (helper, mapped) = Mapped::start(&lab);
    let guest = Guest::of(&helper);
    guest.change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    assert_eq!(mapped.keys(), [Some(KEY), None]);
    fs::create_dir(lab.bed().path("sysfs/7:2")).unwrap();
    fs::write(lab.bed().path("sysfs/7:2/uevent"), "DEVNAME=loop2\n").unwrap();
    lab.mapper().map(device(0), &[&[device(1), device(2)]]);
    eventually("it has the key", || mapped.keys() == [Some(KEY); 2]);
    guest.change(0, 0, &keys_with(0, KEY, 0xa2)).expect_good();
    assert_eq!(mapped.keys(), [Some(0xa2); 2]);
}

#[test]
fn paths_of_the_group_in_use_are_asked_first() {
    let lab = Lab::without_maps();
    lab.map(0, &[1, 2, 3]);
    lab.mapper().map(device(0), &[&[device(1), device(2)], &[device(3)]]);
    lab.mapper().set_group(device(0), 1);
    let helper = lab.start(|_, _| Answer::good(&[7; 8]).into());
    assert_eq!(helper.connect().pr_in(node(0), 0, 8).payload, [7; 8]);
    assert_eq!(lab.log(), ["loop3 READ-KEYS"]);
    lab.behave(&helper, |minor, op| if (minor, op) == (3, READ_KEYS) { dead() } else { good() });
    assert_eq!(helper.connect().pr_in(node(0), 0, 8).status, 0);
    assert_eq!(lab.log(), ["loop3 READ-KEYS", "loop1 READ-KEYS"]);
}

/// It was removed before the helper was started, and multipathd has not taken it out of the map.
#[test]
fn a_path_whose_disk_is_gone_for_good_keeps_no_command_from_being_carried_out() {
    let lab = Lab::new();
    lab.mapper().map(device(0), &[&[device(1), device(2), device(3)]]);
    lab.mapper().set_active(device(3), false);
    let (helper, mapped) = Mapped::start(&lab);
    mapped.act(OTHER, 0, 0, &keys_with(0, 0, 0xb1));
    mapped.act(OTHER, 1, 5, &keys_with(0, 0xb1, 0));
    Guest::of(&helper).change(6, 0, &keys_with(0, 0, KEY)).expect_good();
    assert_eq!(mapped.keys(), [Some(KEY); 2]);
}
