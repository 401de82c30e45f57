//! What the library's return codes become. The library is asked for one thing only: REGISTER AND IGNORE EXISTING KEY.

use std::os::unix::net::UnixListener;

use pr_lab::prelude::*;

use crate::disk::{Op, check, conflict, good, keys, willing};
use crate::lab::{Lab, node};

/// CHECK CONDITION with this sense key and code.
type Sense = (u8, u8, u8);

const COMMUNICATION_FAILURE: Sense = (0x0b, 0x08, 0x00);

/// Codes whose answer does not depend on anything else. NO SENSE (9) would be CHECK CONDITION with a sense key that guests take for
/// success, so it is an error here.
const CHECKS: [(i32, Sense); 19] = [
    (1, COMMUNICATION_FAILURE),
    (5, (0x05, 0x26, 0x00)),
    (6, (0x06, 0x29, 0x02)),
    (7, (0x05, 0x20, 0x00)),
    (9, COMMUNICATION_FAILURE),
    (10, COMMUNICATION_FAILURE),
    (12, COMMUNICATION_FAILURE),
    (13, COMMUNICATION_FAILURE),
    (14, COMMUNICATION_FAILURE),
    (15, COMMUNICATION_FAILURE),
    (16, COMMUNICATION_FAILURE),
    (17, COMMUNICATION_FAILURE),
    (18, COMMUNICATION_FAILURE),
    (-1, COMMUNICATION_FAILURE),
    (-2, COMMUNICATION_FAILURE),
    (256, COMMUNICATION_FAILURE),
    (0x1_0000, COMMUNICATION_FAILURE),
    (i32::MAX, COMMUNICATION_FAILURE),
    (i32::MIN, COMMUNICATION_FAILURE),
];

/// Codes for which the map is asked whether it is ready; the answer if it is.
const ASKED_AGAIN: [(i32, Sense); 4] =
    [(2, (0x02, 0x04, 0x00)), (3, (0x03, 0x11, 0x00)), (4, (0x04, 0x44, 0x00)), (8, (0x0b, 0x00, 0x06))];

#[track_caller]
fn register(client: &Raw) -> Reply {
    client.pr_out(node(0), 6, &keys(0, 0xa1))
}

#[test]
fn every_code_of_the_library_has_its_scsi_answer_and_only_0_is_good() {
    let lab = Lab::new();
    let helper = lab.start(willing);
    let client = helper.connect();
    for (code, (key, additional, qualifier)) in CHECKS {
        lab.script(&format!("out return={code}"));
        let reply = register(&client);
        assert_eq!((reply.status, reply.fixed_sense()), (2, (key, additional, qualifier)), "code {code}");
    }
    lab.script("out return=11");
    register(&client).expect_bare(0x18);
    lab.script("out return=0");
    register(&client).expect_bare(0);
    let asked: Vec<_> = lab.log().into_iter().filter(|line| line != "library REGISTER-IGNORE 0>a1").collect();
    assert_eq!(asked, [""; 0], "neither the map nor a path is asked anything");
}

#[test]
fn a_library_that_does_not_start_is_an_error() {
    let lab = Lab::new();
    let helper = lab.start(willing);
    lab.script("init return=1");
    register(&helper.connect()).expect_check(0x0b, 0x08, 0x00);
    helper.await_stderr("libmpathpersist.so.0 does not initialise");
    assert_eq!(lab.log(), [""; 0]);
}

#[test]
fn what_the_map_says_of_itself_is_better_than_the_librarys_code() {
    let lab = Lab::new();
    let helper = lab.start(willing);
    let client = helper.connect();
    for (code, (key, additional, qualifier)) in ASKED_AGAIN {
        lab.script(&format!("out return={code}"));
        lab.behave(&helper, willing);
        register(&client).expect_check(key, additional, qualifier);
        assert_eq!(lab.log(), ["library REGISTER-IGNORE 0>a1", "loop0 TEST-UNIT-READY"]);

        let not_ready = |_, op| if op == Op::TestUnitReady { check(0x02, 0x04, 0x0b) } else { good() };
        lab.behave(&helper, not_ready);
        register(&client).expect_check(0x02, 0x04, 0x0b);
        lab.behave(&helper, |_, op| if op == Op::TestUnitReady { conflict() } else { good() });
        register(&client).expect_bare(0x18);
        lab.behave(&helper, |_, op| if op == Op::TestUnitReady { Outcome::Errno(libc_enodev()) } else { good() });
        register(&client).expect_check(key, additional, qualifier);
    }
}

const fn libc_enodev() -> i32 {
    rustix::io::Errno::NODEV.raw_os_error()
}

#[test]
fn codes_that_need_an_administrator_say_what_to_do() {
    let lab = Lab::new();
    let helper = lab.start(willing);
    let client = helper.connect();
    lab.script("out return=1");
    register(&client).expect_check(0x0b, 0x08, 0x00);
    helper.await_stderr("reservation_key file");
    lab.script("out return=13");
    register(&client).expect_check(0x0b, 0x08, 0x00);
    helper.await_stderr("multipathd cannot be reached; start it");
    let multipathd = UnixListener::bind(lab.bed().path("multipathd")).unwrap();
    register(&client).expect_check(0x0b, 0x08, 0x00);
    helper.await_stderr("/etc/multipath/prkeys");
    drop(multipathd);
    lab.script("out say=the-librarys-own-words return=12");
    register(&client).expect_check(0x0b, 0x08, 0x00);
    helper.await_stderr("REGISTER AND IGNORE EXISTING KEY on multipath device 7:0: CHECK CONDITION: libmpathpersist failed with code 12");
    helper.await_stderr("the-librarys-own-words");
    assert_eq!(helper.stderr().lines().count(), 4, "one line each: {}", helper.stderr());
}
