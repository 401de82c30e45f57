//! What each command leaves on the disk, on a map with two paths.

use pr_lab::prelude::*;

use crate::multipath::disk::{keys, keys_with};
use crate::multipath::lab::{Lab, device};
use crate::multipath::mapped::{Guest, Mapped, OTHER};

const KEY: u64 = 0xa1;
const OTHER_KEY: u64 = 0xb1;
const WRITE_EXCLUSIVE_REGISTRANTS: u8 = 5;

/// A registered guest beside another node that is registered, too.
fn registered(lab: &Lab) -> (Helper, Mapped, Guest) {
    let (helper, mapped) = Mapped::start(lab);
    let guest = Guest::of(&helper);
    mapped.act(OTHER, 0, 0, &keys(0, OTHER_KEY));
    guest.change(0, 0, &keys(0, KEY)).expect_good();
    (helper, mapped, guest)
}

#[test]
fn a_reservation_is_held_and_released_through_whichever_path() {
    let lab = Lab::new();
    let (_helper, mapped, guest) = registered(&lab);
    for group in [0, 1, 0] {
        lab.mapper().map(device(0), &[&[device(1)], &[device(2)]]);
        lab.mapper().set_group(device(0), group);
        guest.change(1, WRITE_EXCLUSIVE_REGISTRANTS, &keys(KEY, 0)).expect_good();
        assert_eq!(mapped.act(OTHER, 1, WRITE_EXCLUSIVE_REGISTRANTS, &keys(OTHER_KEY, 0)).0, 0x18);
        lab.mapper().set_group(device(0), 1 - group);
        guest.change(1, WRITE_EXCLUSIVE_REGISTRANTS, &keys(KEY, 0)).expect_good();
        guest.change(2, WRITE_EXCLUSIVE_REGISTRANTS, &keys(KEY, 0)).expect_good();
        assert!(mapped.disk().unit.reservation().is_none());
    }
}

/// The kernel's own target says GOOD to a RELEASE on a path that holds nothing, whatever the key.
#[test]
fn a_wrong_key_does_not_release_where_only_the_holding_path_looks_at_it() {
    let lab = Lab::new();
    let (helper, mapped, guest) = registered(&lab);
    guest.change(1, WRITE_EXCLUSIVE_REGISTRANTS, &keys(KEY, 0)).expect_good();
    let disk = mapped.clone();
    helper.device().behave(move |command| {
        let is_release = command.cdb[0] == PR_OUT && command.cdb[1] & 0x1f == 2;
        if is_release && command.device == device(2) { Answer::good(&[]).into() } else { disk.answer(command) }
    });
    guest.change(2, WRITE_EXCLUSIVE_REGISTRANTS, &keys(0xbad, 0)).expect_conflict();
    assert!(mapped.disk().unit.reservation().is_some());
    guest.change(2, WRITE_EXCLUSIVE_REGISTRANTS, &keys(KEY, 0)).expect_good();
    assert!(mapped.disk().unit.reservation().is_none());
}

#[test]
fn preempting_another_node_takes_its_reservation_and_nothing_of_ours() {
    let lab = Lab::new();
    let (_helper, mapped, guest) = registered(&lab);
    mapped.act(OTHER, 1, WRITE_EXCLUSIVE_REGISTRANTS, &keys(OTHER_KEY, 0));
    guest.change(1, WRITE_EXCLUSIVE_REGISTRANTS, &keys(KEY, 0)).expect_conflict();
    guest.change(4, WRITE_EXCLUSIVE_REGISTRANTS, &keys(KEY, OTHER_KEY)).expect_good();
    assert_eq!(mapped.keys(), [Some(KEY); 2]);
    assert!(mapped.disk().unit.reservation().is_some());
    assert!(lab.multipathd().kept("map0").holds, "as it would after RESERVE");
    assert_eq!(lab.mapper().calls(), [""; 0], "nothing is held back for that");
}

#[test]
fn preempting_ones_own_key_leaves_it_on_every_path_and_the_map_going() {
    let lab = Lab::new();
    let (helper, mapped, guest) = registered(&lab);
    guest.change(1, WRITE_EXCLUSIVE_REGISTRANTS, &keys(KEY, 0)).expect_good();
    for action in [4, 5] {
        guest.change(action, WRITE_EXCLUSIVE_REGISTRANTS, &keys(KEY, KEY)).expect_good();
        assert_eq!(mapped.keys(), [Some(KEY); 2]);
        assert_eq!(lab.mapper().calls(), ["suspend 7:0", "resume 7:0"], "I/O waits meanwhile");
        assert!(!lab.mapper().is_suspended(device(0)));
    }
    assert_eq!(helper.stderr(), "");
}

#[test]
fn a_map_that_somebody_else_holds_back_stays_so() {
    let lab = Lab::new();
    let (_helper, _mapped, guest) = registered(&lab);
    guest.change(1, WRITE_EXCLUSIVE_REGISTRANTS, &keys(KEY, 0)).expect_good();
    lab.mapper().set_suspended(device(0), true);
    guest.change(4, WRITE_EXCLUSIVE_REGISTRANTS, &keys(KEY, KEY));
    assert!(lab.mapper().is_suspended(device(0)));
    assert_eq!(lab.mapper().calls(), [""; 0]);
}

#[test]
fn a_map_that_cannot_be_held_back_is_said_to_be_so() {
    let lab = Lab::new();
    let (helper, mapped, guest) = registered(&lab);
    guest.change(1, WRITE_EXCLUSIVE_REGISTRANTS, &keys(KEY, 0)).expect_good();
    lab.mapper().set_stuck(true);
    let said = guest.change(4, WRITE_EXCLUSIVE_REGISTRANTS, &keys(KEY, KEY)).0;
    if said.0 == 0 {
        assert_eq!(mapped.keys(), [Some(KEY); 2]);
    }
    helper.await_stderr("suspended");
}

/// As multipathd is while I/O is on its way on a path in transition: the kernel lets no signal end what waits for it.
#[test]
fn somebody_else_who_is_about_to_hold_the_map_back_keeps_no_command_waiting() {
    let lab = Lab::new();
    let (helper, mapped, guest) = registered(&lab);
    guest.change(1, WRITE_EXCLUSIVE_REGISTRANTS, &keys(KEY, 0)).expect_good();
    lab.mapper().set_locked(true);
    for _ in 0..2 {
        guest.change(4, WRITE_EXCLUSIVE_REGISTRANTS, &keys(KEY, KEY)).expect_good();
        assert_eq!(mapped.keys(), [Some(KEY); 2]);
    }
    helper.await_stderr("cannot be suspended");
    assert_eq!(lab.mapper().calls(), [""; 0]);
    lab.mapper().set_locked(false);
    let mut calls = Vec::new();
    eventually("what is held back after all goes on", || {
        calls.extend(lab.mapper().calls());
        calls == ["suspend 7:0", "resume 7:0"]
    });
    assert!(!lab.mapper().is_suspended(device(0)));
}

#[test]
fn clearing_takes_every_key_and_multipathd_forgets() {
    let lab = Lab::new();
    let (_helper, mapped, guest) = registered(&lab);
    guest.change(1, WRITE_EXCLUSIVE_REGISTRANTS, &keys(KEY, 0)).expect_good();
    guest.change(3, 0, &keys(KEY, 0)).expect_good();
    assert_eq!(mapped.disk().unit.registrations().len(), 0);
    let kept = lab.multipathd().kept("map0");
    assert_eq!((kept.key, kept.registers), (None, false));
}

#[test]
fn the_properties_of_a_registration_survive_what_is_done_to_it() {
    let lab = Lab::new();
    let (_helper, mapped, guest) = registered(&lab);
    guest.change(0, 0, &keys_with(1, KEY, KEY)).expect_good();
    assert!(mapped.disk().unit.persists_through_power_loss());
    guest.change(1, WRITE_EXCLUSIVE_REGISTRANTS, &keys(KEY, 0)).expect_good();
    guest.change(4, WRITE_EXCLUSIVE_REGISTRANTS, &keys(KEY, KEY)).expect_good();
    assert!(mapped.disk().unit.persists_through_power_loss());
    guest.change(0, 0, &keys_with(0, KEY, 0xa2)).expect_good();
    assert!(!mapped.disk().unit.persists_through_power_loss());
}

#[test]
fn a_guest_is_not_told_of_its_own_doing() {
    let lab = Lab::new();
    let (_helper, _mapped, guest) = registered(&lab);
    for kind in [6, 5] {
        guest.change(1, kind, &keys(KEY, 0)).expect_good();
        guest.begin(2, kind, &keys(KEY, 0));
        assert_eq!(guest.end(), (0, [0; 3]));
        for _ in 0..3 {
            assert_eq!(guest.read().status, 0);
        }
    }
}

/// Write Exclusive and Exclusive Access: the disk takes the other path for another initiator.
#[test]
fn a_reservation_that_one_path_alone_may_write_under_is_in_the_log() {
    let lab = Lab::new();
    let (helper, _mapped, guest) = registered(&lab);
    for (kind, name) in [(1, "Write Exclusive"), (3, "Exclusive Access")] {
        guest.change(1, kind, &keys(KEY, 0)).expect_good();
        helper.await_stderr(&format!("{name} admits path loop1 alone"));
        guest.change(2, kind, &keys(KEY, 0)).expect_good();
    }
    let said = helper.stderr();
    guest.change(1, WRITE_EXCLUSIVE_REGISTRANTS, &keys(KEY, 0)).expect_good();
    guest.change(2, WRITE_EXCLUSIVE_REGISTRANTS, &keys(KEY, 0)).expect_good();
    assert_eq!(helper.stderr(), said, "a type for registrants admits both");
}
