//! A key is on every path of a map, or on none; and multipathd knows it.

use pr_lab::prelude::*;

use crate::multipath::disk::keys_with;
use crate::multipath::lab::Lab;
use crate::multipath::mapped::{Guest, Mapped, OTHER};

const KEY: u64 = 0xa1;
const NEW_KEY: u64 = 0xa2;

#[test]
fn a_registration_is_on_every_path_and_multipathd_keeps_it_for_others() {
    let lab = Lab::new();
    let (helper, mapped) = Mapped::start(&lab);
    let guest = Guest::of(&helper);
    for (action, from, to, flags, kept) in
        [(0, 0, KEY, 0, "0xa1"), (0, KEY, NEW_KEY, 1, "0xa2:aptpl"), (6, 0, KEY, 0, "0xa1")]
    {
        guest.change(action, 0, &keys_with(flags, from, to)).expect_good();
        assert_eq!(mapped.keys(), [Some(to); 2]);
        let kept_now = lab.multipathd().kept("map0");
        assert_eq!((kept_now.key.as_deref(), kept_now.registers), (Some(kept), true));
    }
    guest.change(0, 0, &keys_with(0, KEY, 0)).expect_good();
    assert_eq!(mapped.keys(), [None; 2]);
    let kept = lab.multipathd().kept("map0");
    assert_eq!((kept.key, kept.registers), (None, false));
    assert_eq!(helper.stderr(), "");
}

#[test]
fn a_wrong_key_is_the_disks_to_refuse_and_changes_nothing() {
    let lab = Lab::new();
    let (helper, mapped) = Mapped::start(&lab);
    let guest = Guest::of(&helper);
    guest.change(0, 0, &keys_with(0, KEY, NEW_KEY)).expect_conflict();
    guest.change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    guest.change(0, 0, &keys_with(0, 0, NEW_KEY)).expect_conflict();
    guest.change(0, 0, &keys_with(0, NEW_KEY, 0)).expect_conflict();
    assert_eq!(mapped.keys(), [Some(KEY); 2]);
    assert_eq!(lab.multipathd().kept("map0").key.as_deref(), Some("0xa1"));
}

#[test]
fn a_path_that_was_away_is_given_the_key_before_the_next_command() {
    let lab = Lab::new();
    let (helper, mapped) = Mapped::start(&lab);
    let guest = Guest::of(&helper);
    mapped.goes(1);
    guest.change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    assert_eq!(mapped.keys(), [Some(KEY), None]);
    assert!(!lab.mapper().is_active(crate::multipath::lab::device(2)), "a path without the key carries no I/O");
    mapped.comes_back(&lab, 1);
    eventually("it has the key", || mapped.keys() == [Some(KEY); 2]);
}

#[test]
fn a_fenced_guest_stays_fenced_when_a_path_comes_back() {
    let lab = Lab::new();
    let (helper, mapped) = Mapped::start(&lab);
    let guest = Guest::of(&helper);
    guest.change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    mapped.goes(1);
    guest.change(0, 0, &keys_with(0, KEY, NEW_KEY)).expect_good();
    mapped.act(OTHER, 0, 0, &keys_with(0, 0, 0xb1));
    mapped.act(OTHER, 4, 5, &keys_with(0, 0xb1, NEW_KEY));
    mapped.comes_back(&lab, 1);
    let is_settled = within(PATIENCE, || mapped.keys() == [None; 2]);
    assert!(is_settled, "the path keeps a key: {:?}; {}", mapped.keys(), helper.stderr());
    guest.change(1, 5, &keys_with(0, NEW_KEY, 0)).expect_conflict();
}

#[test]
fn a_key_left_on_a_path_is_taken_when_it_answers_whether_the_map_uses_it_by_then_or_not() {
    let lab = Lab::new();
    let (helper, mapped) = Mapped::start(&lab);
    let guest = Guest::of(&helper);
    guest.change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    mapped.goes(1);
    guest.change(0, 0, &keys_with(0, KEY, 0)).expect_good();
    assert_eq!(mapped.keys(), [None, Some(KEY)]);
    mapped.answers(1);
    eventually("it has none", || mapped.keys() == [None; 2]);
    assert!(!lab.mapper().is_active(crate::multipath::lab::device(2)), "only multipathd says that it is used again");
}
