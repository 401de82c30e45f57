//! PREEMPT and PREEMPT AND ABORT: another's key on one path, one's own with all paths' keys put back.

use pr_lab::prelude::*;

use crate::disk::{
    Op, PREEMPT, PREEMPT_AND_ABORT, REGISTER_AND_IGNORE, REPORT_CAPABILITIES, check, conflict, dead, good, keys,
    willing,
};
use crate::lab::{Lab, node};

#[track_caller]
fn preempt(helper: &Helper, action: u8, victim: u64) -> Reply {
    helper.connect().pr_out(node(0), action, &keys(0xa1, victim))
}

#[test]
fn another_key_takes_one_command() {
    let lab = Lab::new();
    let helper = lab.start(willing);
    preempt(&helper, 4, 0xb2).expect_bare(0);
    assert_eq!(lab.log(), ["loop0 PREEMPT a1>b2"]);
    preempt(&helper, 5, 0xb2).expect_bare(0);
    assert_eq!(lab.log(), ["loop0 PREEMPT-ABORT a1>b2"], "and is not weakened");
}

#[test]
fn another_key_is_preempted_by_a_path_that_knows_ours() {
    let lab = Lab::new();
    for failing in [conflict(), dead()] {
        let helper = lab.start(move |minor, _| if minor == 2 { good() } else { failing.clone() });
        preempt(&helper, 4, 0xb2).expect_bare(0);
        assert_eq!(lab.log(), ["loop0 PREEMPT a1>b2", "loop1 PREEMPT a1>b2", "loop2 PREEMPT a1>b2"]);
    }
}

#[test]
fn a_key_that_nobody_has_is_a_conflict() {
    let lab = Lab::new();
    let helper = lab.start(|_, _| conflict());
    preempt(&helper, 4, 0xb2).expect_bare(0x18);
    assert_eq!(lab.log(), ["loop0 PREEMPT a1>b2", "loop1 PREEMPT a1>b2", "loop2 PREEMPT a1>b2"]);
}

#[test]
fn ones_own_key_comes_back_on_every_path() {
    for (action, name) in [(4, "PREEMPT"), (5, "PREEMPT-ABORT")] {
        // A key of zero takes an all-registrants reservation from everybody, our other paths among them.
        for victim in [0xa1, 0] {
            let lab = Lab::new();
            let helper = lab.start(willing);
            preempt(&helper, action, victim).expect_bare(0);
            let sent = format!("loop1 {name} a1>{victim:x}");
            let expected = ["loop0 CAPABILITIES", &sent, "loop1 REGISTER-IGNORE 0>a1", "loop2 REGISTER-IGNORE 0>a1"];
            assert_eq!(lab.log(), expected);
            assert_eq!(helper.stderr(), "");
        }
    }
}

#[test]
fn keys_that_outlive_a_power_loss_still_do() {
    let lab = Lab::new();
    let helper = lab.start(|_, op| match op {
        REPORT_CAPABILITIES => Answer::good(&[0, 8, 0, 0x81, 0, 0, 0, 0]).into(),
        _ => good(),
    });
    preempt(&helper, 4, 0xa1).expect_bare(0);
    assert_eq!(lab.log()[2..], ["loop1 REGISTER-IGNORE 0>a1 +1", "loop2 REGISTER-IGNORE 0>a1 +1"]);
}

#[test]
fn ones_own_key_is_preempted_by_a_path_that_knows_it() {
    for failing in [conflict(), dead()] {
        let lab = Lab::new();
        let helper = lab.start(move |minor, op| match (minor, op) {
            (1, PREEMPT | PREEMPT_AND_ABORT) => failing.clone(),
            _ => good(),
        });
        preempt(&helper, 5, 0xa1).expect_bare(0);
        let log = lab.log();
        let last = log.iter().rposition(|line| line == "loop1 PREEMPT-ABORT a1>a1").expect("the first path is asked");
        assert_eq!(log[last + 1], "loop2 PREEMPT-ABORT a1>a1");
    }
}

#[test]
fn ones_own_key_is_preempted_again_where_only_the_answer_was_lost() {
    let lab = Lab::new();
    let mut lost = true;
    let helper = lab.start(move |minor, op| match (minor, op) {
        (1, PREEMPT) if std::mem::take(&mut lost) => dead(),
        // The first one took effect: to every other path the key is gone.
        (2, PREEMPT) => conflict(),
        _ => good(),
    });
    preempt(&helper, 4, 0xa1).expect_bare(0);
    let expected =
        ["loop1 PREEMPT a1>a1", "loop1 PREEMPT a1>a1", "loop1 REGISTER-IGNORE 0>a1", "loop2 REGISTER-IGNORE 0>a1"];
    assert_eq!(lab.log()[1..], expected);
}

#[test]
fn a_wrong_key_registers_nothing() {
    let lab = Lab::new();
    let helper = lab.start(|_, op| if op == PREEMPT { conflict() } else { good() });
    preempt(&helper, 4, 0xa1).expect_bare(0x18);
    assert_eq!(lab.log(), ["loop0 CAPABILITIES", "loop1 PREEMPT a1>a1", "loop2 PREEMPT a1>a1"]);
}

#[test]
fn what_the_disk_says_is_the_answer() {
    let lab = Lab::new();
    let helper = lab.start(|_, op| if matches!(op, Op::Out(_)) { check(5, 0x26, 0) } else { good() });
    preempt(&helper, 4, 0).expect_check(5, 0x26, 0);
    assert_eq!(lab.log(), ["loop0 CAPABILITIES", "loop1 PREEMPT a1>0"]);
}

#[test]
fn a_path_that_loses_its_key_is_reported() {
    let lab = Lab::new();
    let helper = lab.start(|minor, op| match (minor, op) {
        (2, REGISTER_AND_IGNORE) => dead(),
        _ => good(),
    });
    preempt(&helper, 4, 0xa1).expect_bare(0);
    helper.await_stderr("path loop2 has lost the key");
    assert_eq!(helper.stderr().lines().count(), 1, "{}", helper.stderr());
}

#[test]
fn a_map_that_cannot_be_suspended_is_preempted_all_the_same() {
    let lab = Lab::new();
    let helper = Lab::with_control(lab.launch(willing)).start();
    preempt(&helper, 4, 0xa1).expect_bare(0);
    let expected =
        ["loop0 CAPABILITIES", "loop1 PREEMPT a1>a1", "loop1 REGISTER-IGNORE 0>a1", "loop2 REGISTER-IGNORE 0>a1"];
    assert_eq!(lab.log(), expected);
    assert_eq!(helper.stderr(), "");
}

#[test]
fn without_the_paths_nodes_the_map_is_asked() {
    let lab = Lab::without_maps();
    lab.map(0, &[99]);
    let helper = lab.start(willing);
    preempt(&helper, 4, 0xa1).expect_bare(0);
    // The library may find paths where we do not; and if it fails, that is said.
    assert_eq!(lab.log(), ["loop0 CAPABILITIES", "loop0 PREEMPT a1>a1", "library REGISTER-IGNORE 0>a1"]);
}

#[test]
fn news_that_comes_while_it_asks_is_told_to_the_guest() {
    // A device tells a unit attention once; what is asked on the guest's behalf must not use it up.
    let lab = Lab::new();
    let mut told = false;
    let helper = lab.start(move |_, _| {
        if told {
            return good();
        }
        told = true;
        check(6, 0x2a, 3)
    });
    preempt(&helper, 4, 0xa1).expect_check(6, 0x2a, 3);
    assert_eq!(lab.log(), ["loop0 CAPABILITIES"], "nothing has been done yet");
    preempt(&helper, 4, 0xa1).expect_bare(0);
}
