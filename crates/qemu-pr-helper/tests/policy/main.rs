//! Who may do what, and how much of it: the settings file.

#![expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]

mod disks;
mod files;
mod limits;
mod rate;
mod reload;
mod rules;
mod tenants;

use std::{fs, path::PathBuf};

use pr_control::{Control, Follow, Told, What};
use pr_lab::{keys, prelude::*};

const OURS: &str = env!("CARGO_BIN_EXE_qemu-pr-helper");

fn ours(test: impl Fn(&Bed)) {
    pr_lab::ours(OURS, test);
}

/// A helper with these settings and a control socket, to which everybody may connect.
fn launch(bed: &Bed, settings: &str) -> Launch {
    let path = bed.path("settings.toml");
    fs::write(&path, settings).unwrap();
    let launch = bed.launch().arg("--config").arg(path).args(["--socket-mode", "666"]);
    launch.arg("--control").arg(control_path(bed))
}

fn control_path(bed: &Bed) -> PathBuf {
    bed.path("control")
}

fn control(bed: &Bed) -> Control {
    Control::new(control_path(bed), PATIENCE)
}

/// How often requests were refused for this reason.
fn refusals(bed: &Bed, name: &str) -> u64 {
    let snapshot = control(bed).snapshot().expect("an answer");
    snapshot.refusals.iter().find(|named| named.name == name).expect("a counter").count
}

/// The next record, which has to be a refusal: its action and why.
#[track_caller]
fn refusal(trail: &mut Follow) -> (String, String) {
    let Some(Ok(Told::Record(record))) = trail.next() else { panic!("no record") };
    let What::Refusal { command, reason, outcome, .. } = record.what else { panic!("{record}") };
    assert!(["CHECK CONDITION", "BUSY"].contains(&outcome.status.as_str()), "{}", outcome.status);
    (command.action, reason)
}

/// ILLEGAL REQUEST, ACCESS DENIED - NO ACCESS RIGHTS.
const DENIED: (u8, u8, u8) = (0x5, 0x20, 0x02);

#[track_caller]
fn expect_denied(reply: &Reply) {
    let (key, code, qualifier) = DENIED;
    reply.expect_check(key, code, qualifier);
}
