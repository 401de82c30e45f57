//! RESERVE: any path that knows the key will do, and the holder may repeat it.

use pr_lab::prelude::*;

use crate::disk::{
    Op, PREEMPT, READ_RESERVATION, REGISTER, REPORT_CAPABILITIES, RESERVE, check, conflict, dead, good, keys, reserved,
    unreserved, willing,
};
use crate::lab::{Lab, node};

const ON_EVERY_PATH: [&str; 3] = ["loop0 RESERVE a1>0", "loop1 RESERVE a1>0", "loop2 RESERVE a1>0"];

fn with(more: &[&str]) -> Vec<String> {
    ON_EVERY_PATH.iter().chain(more).map(ToString::to_string).collect()
}

#[track_caller]
fn reserve(helper: &Helper) -> Reply {
    helper.connect().pr_out(node(0), 1, &keys(0xa1, 0))
}

#[test]
fn one_path_is_enough() {
    let lab = Lab::new();
    let helper = lab.start(willing);
    reserve(&helper).expect_bare(0);
    assert_eq!(lab.log(), ON_EVERY_PATH[..1]);
}

#[test]
fn a_path_that_does_not_know_the_key_is_not_the_last_word() {
    let lab = Lab::new();
    let helper = lab.start(|minor, op| if minor == 2 { willing(minor, op) } else { conflict() });
    reserve(&helper).expect_bare(0);
    assert_eq!(lab.log(), ON_EVERY_PATH);
    lab.behave(&helper, |minor, op| if minor == 2 { willing(minor, op) } else { dead() });
    reserve(&helper).expect_bare(0);
    assert_eq!(lab.log(), ON_EVERY_PATH);
}

#[test]
fn what_a_device_says_counts_more_than_what_the_way_to_it_says() {
    let lab = Lab::new();
    let helper = lab.start(|minor, op| match (minor, op) {
        (_, READ_RESERVATION) => unreserved(),
        (1, _) => conflict(),
        _ => dead(),
    });
    reserve(&helper).expect_bare(0x18);
    assert_eq!(lab.log()[..3], ON_EVERY_PATH);
    lab.behave(&helper, |_, _| dead());
    reserve(&helper).expect_check(0xb, 5, 0);
    assert_eq!(lab.log(), ON_EVERY_PATH);
    lab.behave(&helper, |_, _| check(5, 0x24, 0));
    reserve(&helper).expect_check(5, 0x24, 0);
    assert_eq!(lab.log(), ON_EVERY_PATH[..1]);
}

#[test]
fn a_unit_attention_of_the_map_is_the_guests_and_one_of_a_path_is_not() {
    let lab = Lab::new();
    let helper = lab.start(|_, _| check(6, 0x29, 0));
    reserve(&helper).expect_check(6, 0x29, 0);
    assert_eq!(lab.log(), ON_EVERY_PATH[..1]);
    let mut asked = 0;
    lab.behave(&helper, move |minor, _| {
        asked += 1;
        match (minor, asked) {
            (0, _) => conflict(),
            (_, 4..) => good(),
            _ => check(6, 0x29, 0),
        }
    });
    reserve(&helper).expect_bare(0);
    let path = ON_EVERY_PATH[1];
    assert_eq!(lab.log(), [ON_EVERY_PATH[0], path, path, path]);
}

#[test]
fn the_holder_may_repeat_it_when_its_path_is_away() {
    let lab = Lab::new();
    let helper = lab.start(|_, op| match op {
        RESERVE => conflict(),
        READ_RESERVATION => reserved(0xa1, 1),
        _ => good(),
    });
    reserve(&helper).expect_bare(0);
    assert_eq!(lab.log(), with(&["loop0 READ-RESERVATION", "loop0 CAPABILITIES", "loop0 REGISTER a1>a1"]));
    helper.await_stderr("the reservation is held already, by a path that is away");

    // The proof must not change whether registrations outlive a power loss.
    lab.behave(&helper, |_, op| match op {
        RESERVE => conflict(),
        READ_RESERVATION => reserved(0xa1, 1),
        REPORT_CAPABILITIES => Answer::good(&[0, 8, 0, 0x81, 0, 0, 0, 0]).into(),
        _ => good(),
    });
    reserve(&helper).expect_bare(0);
    assert_eq!(lab.log()[5], "loop0 REGISTER a1>a1 +1");
}

#[test]
fn nobody_else_may() {
    // Another's reservation, one of another type, of another scope, one without a holder's key, none.
    for held in [reserved(0xb2, 1), reserved(0xa1, 3), reserved(0xa1, 0x11), reserved(0, 1), unreserved(), dead()] {
        let lab = Lab::new();
        let now = held.clone();
        let helper = lab.start(move |_, op| match op {
            RESERVE => conflict(),
            READ_RESERVATION => now.clone(),
            _ => good(),
        });
        reserve(&helper).expect_bare(0x18);
        let log = lab.log();
        assert!(log[3..].iter().all(|line| line.ends_with("READ-RESERVATION")), "{held:?}: {log:?}");
    }
}

#[test]
fn a_key_that_is_not_ours_proves_nothing() {
    for proof in [conflict(), dead(), check(5, 0x24, 0)] {
        let lab = Lab::new();
        let helper = lab.start(move |_, op| match op {
            RESERVE => conflict(),
            READ_RESERVATION => reserved(0xa1, 1),
            REGISTER => proof.clone(),
            PREEMPT | Op::Out(_) => panic!("nothing else may be sent"),
            _ => good(),
        });
        reserve(&helper).expect_bare(0x18);
        assert_eq!(lab.log().last().unwrap(), "loop0 REGISTER a1>a1");
    }
}

#[test]
fn news_instead_of_a_proof_is_no_conflict() {
    // A guest that is told of a conflict may start fencing; one that is told news asks again.
    for speaks_of in [READ_RESERVATION, REPORT_CAPABILITIES, REGISTER] {
        let lab = Lab::new();
        let mut told = false;
        let helper = lab.start(move |_, op| match op {
            RESERVE => conflict(),
            _ if op == speaks_of && !told => {
                told = true;
                check(6, 0x2a, 3)
            }
            READ_RESERVATION => reserved(0xa1, 1),
            _ => good(),
        });
        reserve(&helper).expect_check(6, 0x2a, 3);
        reserve(&helper).expect_bare(0);
    }
}
