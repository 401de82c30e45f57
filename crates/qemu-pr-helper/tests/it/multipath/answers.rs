//! What is not known to have succeeded is never GOOD.

use pr_lab::prelude::*;

use crate::multipath::disk::{Op, check, conflict, keys, reserved, unreserved};
use crate::multipath::disk::{READ_RESERVATION, good};
use crate::multipath::lab::{Lab, node};

/// Service action, key, service action key.
const ORDERS: [(u8, u64, u64); 11] = [
    (0, 0, 0xa1),
    (0, 0xa1, 0xb2),
    (0, 0xa1, 0),
    (1, 0xa1, 0),
    (2, 0xa1, 0),
    (3, 0xa1, 0),
    (4, 0xa1, 0xb2),
    (4, 0xa1, 0xa1),
    (5, 0xa1, 0),
    (5, 0xa1, 0xa1),
    (6, 0, 0xa1),
];

#[test]
fn when_no_path_takes_it_no_persistent_reserve_out_is_good() {
    let lab = Lab::new();
    let helper = lab.launch(|_, _| good()).args(["--command-timeout", "2"]).start();
    let client = helper.connect();
    let failures = [
        conflict(),
        check(6, 0x29, 0),
        check(2, 4, 2),
        check(5, 0x20, 0),
        Answer::status(0x08).into(),
        Answer::status(0x28).into(),
    ];
    for failure in failures {
        for reservation in [unreserved(), reserved(0xa1, 1), reserved(0xb2, 1)] {
            let (out, read) = (failure.clone(), reservation.clone());
            lab.behave(&helper, move |_, op| match op {
                Op::Out(_) => out.clone(),
                READ_RESERVATION => read.clone(),
                _ => good(),
            });
            for (action, key, new) in ORDERS {
                let reply = client.pr_out(node(0), action, &keys(key, new));
                assert_ne!(reply.status, 0, "{failure:?}, {reservation:?}: {action} {key:x}>{new:x}");
            }
        }
    }
}

#[test]
fn a_list_that_is_no_basic_parameter_list_goes_nowhere() {
    let lab = Lab::new();
    let helper = lab.start(|_, _| good());
    let client = helper.connect();
    client.pr_out(node(0), 0, &[0; 8]).expect_check(5, 0x1a, 0);
    for action in [7, 8] {
        client.pr_out(node(0), action, &keys(0xa1, 0xb2)).expect_check(5, 0x24, 0);
    }
    client.pr_out(node(0), 9, &keys(0xa1, 0xb2)).expect_check(5, 0x24, 0);
    assert_eq!(lab.log(), [""; 0]);
}
