//! multipathd, as it may be.

use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use pr_lab::{Manners, prelude::*};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};

use crate::multipath::disk::keys_with;
use crate::multipath::lab::Lab;
use crate::multipath::mapped::{Guest, Mapped, OTHER, PATHS};

const KEY: u64 = 0xa1;
const NEW: u64 = 0xa2;

const REGISTER_AND_IGNORE_EXISTING_KEY: u8 = 6;

/// A registration is GOOD all the same, because this program looks after paths itself; the log says what is wrong.
#[track_caller]
fn is_good_and_says(lab: &Lab, words: &[&str]) {
    let (helper, mapped) = Mapped::start(lab);
    Guest::of(&helper).change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    assert_eq!(mapped.keys(), [Some(KEY); 2]);
    for word in words.iter().chain(&["only this program looks after paths of map map0"]) {
        helper.await_stderr(word);
    }
    assert_eq!(helper.stderr().lines().count(), 1, "{}", helper.stderr());
}

#[test]
fn absent() {
    let lab = Lab::without_multipathd();
    lab.map(0, &[1, 2]);
    is_good_and_says(&lab, &["multipathd cannot be reached (No such file or directory", "start it"]);
}

#[test]
fn one_that_was_away_is_told_when_it_is_back() {
    let mut lab = Lab::without_multipathd();
    lab.map(0, &[1, 2]);
    let (helper, _mapped) = Mapped::start(&lab);
    Guest::of(&helper).change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    lab.start_multipathd();
    let deadline = Instant::now() + PATIENCE;
    while !lab.multipathd().kept("map0").registers {
        assert!(Instant::now() < deadline, "nobody tells it of the key");
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(lab.multipathd().kept("map0").key.as_deref(), Some("0xa1"));
}

/// Whoever started it has started it again by the time at which anybody looks whether it is there.
#[test]
fn one_that_dies_before_it_answers_is_told_again() {
    let lab = Lab::new();
    lab.multipathd().behave(Manners::Dying);
    let (helper, _mapped) = Mapped::start(&lab);
    Guest::of(&helper).change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    assert!(!lab.multipathd().kept("map0").registers);
    lab.multipathd().behave(Manners::Willing);
    eventually("it is told of the key", || lab.multipathd().kept("map0").registers);
    assert_eq!(lab.multipathd().kept("map0").key.as_deref(), Some("0xa1"));
}

/// It is stopped, and those that it has not looked at fill its queue.
#[test]
fn one_that_accepts_no_connections_is_not_taken_for_absent() {
    let lab = Lab::without_multipathd();
    lab.map(0, &[1, 2]);
    let place = lab.bed().path("multipathd");
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("a socket");
    bind(&socket, &SocketAddrUnix::new(&place).expect("an address")).expect("bind");
    listen(&socket, 0).expect("listen");
    let _first = UnixStream::connect(&place).expect("connect");
    is_good_and_says(&lab, &["multipathd cannot be reached (timed out)"]);
}

/// What it was told may be done by half.
#[test]
fn one_that_did_not_answer_is_told_again() {
    let lab = Lab::new();
    lab.multipathd().behave(Manners::Silent);
    let (helper, _mapped) = Mapped::start(&lab);
    Guest::of(&helper).change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    lab.multipathd().behave(Manners::Willing);
    eventually("it is told of the key", || lab.multipathd().kept("map0").registers);
    assert_eq!(lab.multipathd().kept("map0").key.as_deref(), Some("0xa1"));
}

/// It says so itself, after as long as it would be waited for: it is not waited for once more.
#[test]
fn one_that_did_not_come_to_it_is_told_again() {
    let lab = Lab::new();
    lab.multipathd().behave(Manners::Busy);
    let (helper, _mapped) = Mapped::start(&lab);
    Guest::of(&helper).change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    helper.await_stderr("multipathd does not answer 'setprkey map map0 key 0xa1' (timed out)");
    lab.multipathd().behave(Manners::Willing);
    eventually("it is told of the key", || lab.multipathd().kept("map0").registers);
    assert_eq!(lab.multipathd().kept("map0").key.as_deref(), Some("0xa1"));
}

#[test]
fn a_key_that_one_which_was_away_has_given_to_a_path_is_taken_from_it() {
    let lab = Lab::new();
    let (helper, mapped) = Mapped::start(&lab);
    let guest = Guest::of(&helper);
    guest.change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    lab.multipathd().behave(Manners::Dying);
    guest.change(0, 0, &keys_with(0, KEY, NEW)).expect_good();
    guest.change(0, 0, &keys_with(0, NEW, 0)).expect_good();
    // It starts with the key that it was told last.
    mapped.act(PATHS[1], REGISTER_AND_IGNORE_EXISTING_KEY, 0, &keys_with(0, 0, KEY));
    lab.multipathd().behave(Manners::Willing);
    eventually("it is told to forget the key", || !lab.multipathd().kept("map0").registers);
    eventually("the path has no key", || mapped.keys() == [None; 2]);
}

/// A path was away for a moment, and before 0.13 it looks for the key and not for its owner.
#[test]
fn a_key_that_it_has_given_to_a_path_again_after_a_fence_is_taken_from_it() {
    let lab = Lab::new();
    let (helper, mapped) = Mapped::start(&lab);
    Guest::of(&helper).change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    mapped.act(OTHER, 0, 0, &keys_with(0, 0, KEY));
    mapped.act(OTHER, 1, 5, &keys_with(0, KEY, 0));
    mapped.act(OTHER, 4, 5, &keys_with(0, KEY, KEY));
    assert_eq!(mapped.keys(), [None; 2], "both nodes have the same key, and one has preempted it");
    mapped.act(PATHS[1], REGISTER_AND_IGNORE_EXISTING_KEY, 0, &keys_with(0, 0, KEY));
    eventually("no path has it", || mapped.keys() == [None; 2]);
    assert!(mapped.disk().unit.reservation().is_some());
}

#[test]
fn a_key_that_one_which_was_away_has_taken_from_a_path_is_given_to_it_again() {
    let lab = Lab::new();
    lab.multipathd().behave(Manners::Dying);
    let (helper, mapped) = Mapped::start(&lab);
    Guest::of(&helper).change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    // One that knows of no key of the map takes whatever a path has.
    mapped.act(PATHS[1], REGISTER_AND_IGNORE_EXISTING_KEY, 0, &keys_with(0, 0, 0));
    assert_eq!(mapped.keys(), [Some(KEY), None]);
    lab.multipathd().behave(Manners::Willing);
    eventually("both paths have the key", || mapped.keys() == [Some(KEY); 2]);
}

#[test]
fn refusing() {
    let lab = Lab::new();
    lab.multipathd().behave(Manners::Refusing);
    is_good_and_says(&lab, &["multipathd answers 'setprkey map map0 key 0xa1' with 'fail'", "/etc/multipath/prkeys"]);
}

#[test]
fn with_a_key_of_its_own() {
    let lab = Lab::new();
    lab.multipathd().behave(Manners::OtherKey(0xabc));
    is_good_and_says(&lab, &["multipathd has the key 0xabc for the map", "reservation_key file"]);
}

#[test]
fn silent() {
    let lab = Lab::new();
    lab.multipathd().behave(Manners::Silent);
    let start = Instant::now();
    is_good_and_says(&lab, &["multipathd does not answer 'setprkey map map0 key 0xa1'"]);
    assert!(start.elapsed() < PATIENCE, "it is waited for within bounds");
}

#[test]
fn with_an_answer_that_is_too_long() {
    let lab = Lab::new();
    lab.multipathd().behave(Manners::Long);
    is_good_and_says(&lab, &["multipathd does not answer 'setprkey map map0 key 0xa1'"]);
}

#[test]
fn with_an_answer_that_does_not_end() {
    let lab = Lab::new();
    lab.multipathd().behave(Manners::Trickling);
    // The guest does not wait for it as long as it goes on.
    is_good_and_says(&lab, &["multipathd does not answer 'setprkey map map0 key 0xa1' (timed out)"]);
}

#[test]
fn slow() {
    let lab = Lab::new();
    lab.multipathd().behave(Manners::Slow(200));
    let (helper, mapped) = Mapped::start(&lab);
    Guest::of(&helper).change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    assert_eq!(mapped.keys(), [Some(KEY); 2]);
    assert!(lab.multipathd().kept("map0").registers);
    assert_eq!(helper.stderr(), "");
}

#[test]
fn of_an_old_release() {
    let lab = Lab::new();
    lab.multipathd().behave(Manners::Old);
    let (helper, mapped) = Mapped::start(&lab);
    let guest = Guest::of(&helper);
    guest.change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    let kept = lab.multipathd().kept("map0");
    assert!(kept.registers && kept.registered.is_empty(), "{kept:?}");
    guest.change(1, 5, &keys_with(0, KEY, 0)).expect_good();
    guest.change(2, 5, &keys_with(0, KEY, 0)).expect_good();
    guest.change(3, 0, &keys_with(0, KEY, 0)).expect_good();
    assert_eq!(mapped.keys(), [None; 2]);
    assert_eq!(helper.stderr(), "", "what it does not know is not missed");
    // It is asked once: each of its answers to what it does not know is in its log.
    let asked = lab.multipathd().heard().iter().filter(|command| command.contains("pathlist")).count();
    assert_eq!(asked, 1);
}

/// It would register them again, while somebody else may be preempting them.
#[test]
fn it_knows_which_paths_have_the_key() {
    let lab = Lab::new();
    let (helper, _mapped) = Mapped::start(&lab);
    Guest::of(&helper).change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    assert_eq!(lab.multipathd().kept("map0").registered, ["7:1", "7:2"]);
}

#[test]
fn it_knows_whether_the_map_holds_a_reservation() {
    let lab = Lab::new();
    let (helper, _mapped) = Mapped::start(&lab);
    let guest = Guest::of(&helper);
    guest.change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    guest.change(1, 5, &keys_with(0, KEY, 0)).expect_good();
    assert!(lab.multipathd().kept("map0").holds);
    guest.change(2, 5, &keys_with(0, KEY, 0)).expect_good();
    assert!(!lab.multipathd().kept("map0").holds);
}

#[test]
fn a_map_whose_name_is_two_words_goes_by_its_number() {
    let lab = Lab::without_maps();
    lab.map(0, &[1, 2]);
    std::fs::write(lab.bed().path("sysfs/7:0/dm/name"), "two words\n").unwrap();
    let (helper, _mapped) = Mapped::start(&lab);
    Guest::of(&helper).change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    assert_eq!(lab.multipathd().kept("dm-0").key.as_deref(), Some("0xa1"));
}
