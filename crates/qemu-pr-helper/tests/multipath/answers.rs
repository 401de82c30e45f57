//! What is not known to have succeeded is never GOOD.

use pr_lab::prelude::*;

use crate::disk::{Op, READ_RESERVATION, check, conflict, dead, good, keys, reserved, unreserved};
use crate::lab::{Lab, node};

/// Service action, key, service action key: everything that the disk and not the library decides.
const ORDERS: [(u8, u64, u64); 10] = [
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
];

#[test]
fn when_no_path_takes_it_no_persistent_reserve_out_is_good() {
    let lab = Lab::new();
    let helper = lab.start(|_, _| dead());
    let client = helper.connect();
    let failures = [
        conflict(),
        dead(),
        check(6, 0x29, 0),
        check(2, 4, 2),
        Answer::status(0x08).into(),
        Answer::status(0x28).into(),
        Answer::host(0x7, 0).into(),
        Answer::host(0xf, 0).into(),
        Outcome::Errno(rustix::io::Errno::NODEV.raw_os_error()),
        Outcome::Errno(rustix::io::Errno::NOTTY.raw_os_error()),
    ];
    for failure in failures {
        for reservation in [unreserved(), reserved(0xa1, 1), reserved(0xb2, 1), dead()] {
            let (out, read) = (failure.clone(), reservation.clone());
            lab.behave(&helper, move |_, op| match op {
                Op::Out(_) => out.clone(),
                READ_RESERVATION => read.clone(),
                _ => good(),
            });
            for (action, key, new) in ORDERS {
                let reply = client.pr_out(node(0), action, &keys(key, new));
                assert_ne!(reply.status, 0, "{failure:?}, {reservation:?}: {action} {key:x}>{new:x}");
                let log = lab.log();
                assert!(!log.iter().any(|line| line.starts_with("library")), "nothing is spread: {log:?}");
            }
        }
    }
}
