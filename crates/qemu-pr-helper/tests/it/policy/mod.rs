//! Who may do what, and how much of it: the settings file.

mod disks;
mod files;
mod limits;
mod rate;
mod reload;
mod rules;
mod tenants;

use pr_control::{Follow, Told, What};
use pr_lab::{keys, prelude::*};

use crate::ours;

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
