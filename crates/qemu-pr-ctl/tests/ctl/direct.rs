//! Without a helper.

use std::path::Path;

use crate::{
    run::run,
    stand_in::{StandIn, good},
};

const NOWHERE: &str = "/nonexistent/pr.sock";

#[test]
fn what_is_no_scsi_disk_is_said_to_be_so_without_a_helper() {
    let nowhere = Path::new(NOWHERE);
    run(nowhere, &["keys", "/dev/null", "--direct"]).expect_error(15, &["/dev/null is not a SCSI disk", "SG_IO"]);
    let words = ["register", "/dev/null", "--new-key", "1", "--direct"];
    run(nowhere, &words).expect_error(15, &["not a SCSI disk"]);
    run(nowhere, &["compare", "/dev/null"]).expect_error(15, &["No such file or directory"]);
}

#[test]
fn a_helper_that_sends_what_qemu_would_abort_its_guest_for_makes_no_sense() {
    let helper = StandIn::answering(|_| Some(good([0; 8])));
    let disk = helper.disk();
    run(&helper.socket(), &["register", &disk, "--new-key", "1"])
        .expect_error(97, &["the reply to a PERSISTENT RESERVE OUT has data"]);
}
