//! What every integration test begins with.
#![allow(dead_code, unused_imports, reason = "each test program uses its own part")]

pub use pr_lab::{
    Answer, Bed, Command, Direction, Helper, Launch, ListenPid, Outcome, PATIENCE, PR_IN, PR_OUT, Process, Raw, Reply,
    Stream, Subject, eventually, null, within,
};

const OURS: &str = env!("CARGO_BIN_EXE_qemu-pr-helper");

/// A behaviour of the reference that ours shares.
pub fn both(test: impl Fn(&Bed)) {
    pr_lab::both(OURS, |subject| test(&Bed::new(subject)));
}

/// A weakness of the reference, which shows there in a failure that contains `weakness`, and which ours does not have.
pub fn better(weakness: &str, test: impl Fn(&Bed)) {
    pr_lab::better(OURS, weakness, |subject| test(&Bed::new(subject)));
}

/// A behaviour of ours alone.
pub fn ours(test: impl Fn(&Bed)) {
    pr_lab::ours(OURS, |subject| test(&Bed::new(subject)));
}
