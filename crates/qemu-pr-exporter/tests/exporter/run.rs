//! Running the exporter to its end.

use std::{
    path::Path,
    process::{Command, Output},
};

pub use pr_lab::Run;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_qemu-pr-exporter");

/// What came of a run.
pub fn finished(output: Output) -> Run {
    Run::of(PROGRAM, output)
}

/// Runs the exporter with these words.
pub fn run(words: &[&str]) -> Run {
    finished(Command::new(PROGRAM).args(words).output().expect("run the exporter"))
}

/// Runs the exporter with these words, then the helper's control socket.
pub fn run_control(control: &Path, words: &[&str]) -> Run {
    finished(Command::new(PROGRAM).args(words).arg("--control").arg(control).output().expect("run the exporter"))
}
