//! What the helper tells of itself: the audit log, the control socket, and the names in both.

mod control;
mod names;
mod records;

use pr_control::{Record, Told};
use pr_lab::{keys, prelude::*};

use crate::ours;

/// A helper with a control socket.
fn launch(bed: &Bed) -> Launch {
    bed.launch().arg("--control").arg(bed.control_path())
}

/// So many records from here on.
fn records(follow: &mut pr_control::Follow, count: usize) -> Vec<Record> {
    let told = follow.take(count).map(|told| match told.expect("a trail") {
        Told::Record(record) => *record,
        Told::Lost(count) => panic!("{count} records were lost"),
    });
    told.collect()
}
