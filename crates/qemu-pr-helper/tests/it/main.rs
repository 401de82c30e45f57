//! The helper as a program: what it does for its clients, and beside QEMU's C helper.
//!
//! One module for each subject. How a test stands to the C helper is in what it calls: [`both`](pr_lab::both) runs it on
//! either, [`better`](better::better) has it pass here and fail there, [`ours`] runs it on this program alone.

#![expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]

mod activation;
mod answers;
mod attacks;
mod audit;
mod better;
mod blocked_outputs;
mod cli;
mod daemonize;
mod descriptor_kinds;
mod devices;
mod differential;
mod faults;
mod limits;
mod load;
mod logging;
mod managed;
mod memory;
mod multipath;
mod options;
mod ownership;
mod passing;
mod pidfile;
mod policy;
mod process;
mod protocol;
mod sandbox;
mod sg_io;
mod shutdown;
mod signals;
mod socket;
mod stalls;
mod start;
mod status;
mod systemd;
mod timeouts;
mod trace;
mod vmm;

use std::os::fd::AsFd;
use std::time::Duration;

use pr_lab::prelude::*;

/// The program.
const OURS: &str = env!("CARGO_BIN_EXE_qemu-pr-helper");

/// Something that the C helper has not.
fn ours(test: impl Fn(&Bed)) {
    pr_lab::ours(OURS, test);
}

/// A client that asks a helper for more than a socket buffer holds and reads nothing, when the helper has stopped at that.
fn client_that_never_reads(helper: &Helper) -> Raw {
    let client = helper.connect();
    let device = null();
    for _ in 0..60 {
        client.send_with(&Raw::cdb_in(0, 8192), &[device.as_fd()]);
    }
    eventually("the connection stalls", || {
        let before = helper.device().count();
        std::thread::sleep(Duration::from_millis(150));
        before > 0 && helper.device().count() == before
    });
    client
}
