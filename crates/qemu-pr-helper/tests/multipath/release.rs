//! RELEASE: the path that holds the reservation releases it, and nobody else's reservation is touched.

use pr_lab::prelude::*;

use crate::disk::{
    Op, PREEMPT, READ_RESERVATION, REGISTER, RELEASE, check, conflict, dead, good, keys, reserved, unreserved, willing,
};
use crate::lab::{Lab, node};

#[track_caller]
fn release(helper: &Helper) -> Reply {
    helper.connect().pr_out(node(0), 2, &keys(0xa1, 0))
}

/// A disk whose reservation (key a1, type 1) is held by way of this loop device.
fn held_by(holder: u32) -> impl FnMut(u32, Op) -> Outcome {
    let mut held = true;
    move |minor, op| match op {
        READ_RESERVATION if held => reserved(0xa1, 1),
        READ_RESERVATION => unreserved(),
        RELEASE if minor == holder => {
            held = false;
            good()
        }
        _ => good(),
    }
}

#[test]
fn nothing_and_what_all_registrants_hold_takes_one_command() {
    // An all-registrants reservation has no holder's key. Any path releases it; a second RELEASE might meet a newer one.
    for held in [unreserved(), reserved(0, 7), reserved(0, 8)] {
        let lab = Lab::new();
        let now = held.clone();
        let helper = lab.start(move |_, op| if op == READ_RESERVATION { now.clone() } else { good() });
        release(&helper).expect_bare(0);
        assert_eq!(lab.log(), ["loop0 READ-RESERVATION", "loop0 RELEASE a1>0"], "{held:?}");
    }
}

const OF_ANOTHER: [&str; 4] =
    ["loop0 READ-RESERVATION", "loop0 RELEASE a1>0", "loop1 RELEASE a1>0", "loop2 RELEASE a1>0"];

#[test]
fn another_nodes_reservation_is_left_to_the_disk() {
    let lab = Lab::new();
    let helper = lab.start(|_, op| match op {
        READ_RESERVATION => reserved(0xb2, 1),
        RELEASE => good(),
        _ => panic!("nothing else may be sent"),
    });
    release(&helper).expect_bare(0);
    assert_eq!(lab.log(), OF_ANOTHER);
    for refused in [conflict(), check(5, 0x26, 4)] {
        let answer = refused.clone();
        lab.behave(&helper, move |_, op| if op == READ_RESERVATION { reserved(0xb2, 1) } else { answer.clone() });
        assert_ne!(release(&helper).status, 0, "{refused:?}");
    }
}

#[test]
fn a_wrong_key_for_a_reservation_of_ours_is_a_conflict() {
    // The kernel's own target looks at the key on the path that holds, and nowhere else.
    for (proof, status) in [(conflict(), 0x18), (good(), 0)] {
        let lab = Lab::new();
        let helper = lab.start(move |minor, op| match (minor, op) {
            (_, READ_RESERVATION) => reserved(0xb2, 1),
            (1, RELEASE) => conflict(),
            (_, REGISTER) => proof.clone(),
            _ => good(),
        });
        release(&helper).expect_bare(status);
        assert_eq!(lab.log()[..3], OF_ANOTHER[..3]);
    }
}

#[test]
fn ours_is_released_by_the_path_that_holds_it() {
    let expected = [
        "loop0 READ-RESERVATION",
        "loop0 RELEASE a1>0",
        "loop0 READ-RESERVATION",
        "loop1 RELEASE a1>0",
        "loop0 READ-RESERVATION",
        "loop2 RELEASE a1>0",
        "loop0 READ-RESERVATION",
    ];
    for (holder, steps) in [(0, 3), (1, 5), (2, 7)] {
        let lab = Lab::new();
        let helper = lab.start(held_by(holder));
        release(&helper).expect_bare(0);
        assert_eq!(lab.log(), expected[..steps]);
    }
}

#[test]
fn a_path_that_conflicts_or_is_dead_does_not_end_the_search() {
    for failing in [conflict(), dead()] {
        let lab = Lab::new();
        let mut disk = held_by(2);
        let helper = lab.start(move |minor, op| match (minor, op) {
            (0 | 1, RELEASE) => failing.clone(),
            _ => disk(minor, op),
        });
        release(&helper).expect_bare(0);
        let out: Vec<_> = lab.log().into_iter().filter(|line| line.contains("RELEASE")).collect();
        assert_eq!(out, ["loop0 RELEASE a1>0", "loop1 RELEASE a1>0", "loop2 RELEASE a1>0"]);
    }
}

#[test]
fn when_the_holder_is_away_the_reservation_is_taken_over_and_released() {
    let lab = Lab::new();
    let helper = lab.start(held_by(99));
    release(&helper).expect_bare(0);
    let log = lab.log();
    let expected = [
        "loop0 CAPABILITIES",
        "loop1 PREEMPT a1>a1",
        "loop1 RELEASE a1>0",
        "loop1 REGISTER-IGNORE 0>a1",
        "loop2 REGISTER-IGNORE 0>a1",
    ];
    assert_eq!(log[7..], expected, "{log:?}");
    let taken = helper.device().seen().into_iter().find(|command| command.is_out() && command.cdb[1] == 4).unwrap();
    assert_eq!(taken.cdb[2], 1, "the type that the reservation has");
}

#[test]
fn a_holder_that_is_away_and_cannot_be_replaced_is_an_error() {
    for failing in [conflict(), dead(), check(5, 0x24, 0)] {
        let lab = Lab::new();
        let mut disk = held_by(99);
        let helper = lab.start(move |minor, op| if op == PREEMPT { failing.clone() } else { disk(minor, op) });
        assert_ne!(release(&helper).status, 0);
        helper.await_stderr("the path that holds the reservation is away");
        let log = lab.log();
        assert!(log.last().unwrap().contains("PREEMPT"), "nothing follows: {log:?}");
    }
}

#[test]
fn a_release_that_fails_after_the_takeover_is_an_error_and_the_keys_come_back() {
    let lab = Lab::new();
    let mut taken = false;
    let helper = lab.start(move |_, op| {
        taken |= op == PREEMPT;
        match op {
            READ_RESERVATION => reserved(0xa1, 1),
            RELEASE if taken => check(5, 0x26, 4),
            _ => good(),
        }
    });
    release(&helper).expect_check(5, 0x26, 4);
    assert_eq!(lab.log()[10..], ["loop1 REGISTER-IGNORE 0>a1", "loop2 REGISTER-IGNORE 0>a1"]);
}

#[test]
fn a_path_that_does_not_know_the_key_keeps_the_reservation_from_being_taken_over() {
    let lab = Lab::new();
    let mut disk = held_by(99);
    let helper = lab.start(move |minor, op| match (minor, op) {
        (1, RELEASE) => conflict(),
        (_, PREEMPT) => panic!("taken over"),
        _ => disk(minor, op),
    });
    release(&helper).expect_bare(0x18);
}

#[test]
fn what_the_disk_says_is_the_answer() {
    let lab = Lab::new();
    let helper = lab.start(|_, op| if op == READ_RESERVATION { reserved(0xa1, 1) } else { check(5, 0x26, 4) });
    release(&helper).expect_check(5, 0x26, 4);
    assert_eq!(lab.log(), ["loop0 READ-RESERVATION", "loop0 RELEASE a1>0"]);
}

/// The first time it is held by another path of ours; after that it cannot be seen whether it is.
fn unreadable_after(came: Outcome) -> impl FnMut(u32, Op) -> Outcome {
    let mut asked = 0;
    move |_, op| match op {
        READ_RESERVATION => {
            asked += 1;
            if asked == 1 { reserved(0xa1, 1) } else { came.clone() }
        }
        _ => good(),
    }
}

#[test]
fn a_release_that_cannot_be_seen_is_not_good() {
    for came in [dead(), check(2, 4, 1), check(6, 0x29, 0), conflict(), Answer::status(0x08).into()] {
        let lab = Lab::new();
        let helper = lab.start(unreadable_after(came.clone()));
        assert_ne!(release(&helper).status, 0, "{came:?}");
    }
}

#[test]
fn what_a_release_tells_our_other_paths_is_no_news() {
    let lab = Lab::new();
    let mut asked = 0;
    let helper = lab.start(move |_, op| {
        asked += u32::from(op == READ_RESERVATION);
        match (op, asked) {
            (READ_RESERVATION, 1) => reserved(0xa1, 5),
            // The map has moved on to another path: RESERVATIONS RELEASED.
            (READ_RESERVATION, 2) => check(6, 0x2a, 4),
            _ => good(),
        }
    });
    release(&helper).expect_bare(0);
    let expected = ["loop0 READ-RESERVATION", "loop0 RELEASE a1>0", "loop0 READ-RESERVATION", "loop0 READ-RESERVATION"];
    assert_eq!(lab.log(), expected);
}

#[test]
fn a_reservation_that_cannot_be_read_is_not_released() {
    let lab = Lab::new();
    for (came, sense) in [(dead(), (0xb, 5, 0)), (check(6, 0x29, 0), (6, 0x29, 0)), (check(2, 4, 3), (2, 4, 3))] {
        let helper = lab.start(move |minor, op| if op == READ_RESERVATION { came.clone() } else { willing(minor, op) });
        let reply = release(&helper);
        assert_eq!((reply.status, reply.fixed_sense()), (2, sense));
        let log = lab.log();
        assert!(log.iter().all(|line| line.ends_with("READ-RESERVATION")), "{log:?}");
    }
}
