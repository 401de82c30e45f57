//! CLEAR, and the actions that a map does not have.

use pr_lab::prelude::*;

use crate::disk::{CLEAR, check, conflict, dead, good, keys, willing};
use crate::lab::{Lab, node};

#[track_caller]
fn clear(helper: &Helper) -> Reply {
    helper.connect().pr_out(node(0), 3, &keys(0xa1, 0))
}

#[test]
fn one_path_clears_and_the_library_forgets() {
    let lab = Lab::new();
    let helper = lab.start(willing);
    clear(&helper).expect_bare(0);
    assert_eq!(lab.log(), ["loop0 CLEAR a1>0", "library REGISTER-IGNORE 0>0"]);
    assert_eq!(helper.stderr(), "");
}

#[test]
fn what_is_cleared_is_cleared_even_if_the_library_cannot_forget() {
    let lab = Lab::new();
    let helper = lab.start(willing);
    lab.script("out return=13");
    clear(&helper).expect_bare(0);
    helper.await_stderr("CLEAR on multipath device 7:0: GOOD: multipathd cannot be reached");
}

#[test]
fn a_path_that_knows_the_key_clears() {
    let lab = Lab::new();
    for failing in [conflict(), dead()] {
        let helper = lab.start(move |minor, op| match (minor, op) {
            (0 | 1, CLEAR) => failing.clone(),
            _ => good(),
        });
        clear(&helper).expect_bare(0);
        let expected = ["loop0 CLEAR a1>0", "loop1 CLEAR a1>0", "loop2 CLEAR a1>0", "library REGISTER-IGNORE 0>0"];
        assert_eq!(lab.log(), expected);
    }
}

#[test]
fn what_is_not_cleared_is_not_forgotten() {
    let lab = Lab::new();
    let helper = lab.start(|_, _| conflict());
    clear(&helper).expect_bare(0x18);
    assert_eq!(lab.log(), ["loop0 CLEAR a1>0", "loop1 CLEAR a1>0", "loop2 CLEAR a1>0"]);
    lab.behave(&helper, |_, _| dead());
    clear(&helper).expect_check(0xb, 5, 0);
    assert_eq!(lab.log(), ["loop0 CLEAR a1>0", "loop1 CLEAR a1>0", "loop2 CLEAR a1>0"]);
    lab.behave(&helper, |_, _| check(2, 4, 1));
    clear(&helper).expect_check(2, 4, 1);
    assert_eq!(lab.log(), ["loop0 CLEAR a1>0"]);
}

#[test]
fn what_is_about_one_nexus_and_what_makes_no_sense_is_refused_without_the_disk() {
    let lab = Lab::new();
    let helper = lab.start(willing);
    let client = helper.connect();
    for action in [7, 8, 9, 0x1f] {
        client.pr_out(node(0), action, &keys(0xa1, 0xb2)).expect_check(5, 0x24, 0);
    }
    for action in 0..=6 {
        for length in [1, 23] {
            client.pr_out(node(0), action, &keys(0xa1, 0xb2)[..length]).expect_check(5, 0x1a, 0);
        }
    }
    assert_eq!(lab.log(), [""; 0]);
}
