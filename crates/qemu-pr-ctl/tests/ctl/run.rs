//! Running the tool to its end.

use std::{
    path::Path,
    process::{Command, Output},
};

pub use pr_lab::Run;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_qemu-pr-ctl");

/// What came of a run.
pub fn finished(output: Output) -> Run {
    Run::of(PROGRAM, output)
}

/// Runs the tool with these words, then the helper's socket.
pub fn run(socket: &Path, words: &[&str]) -> Run {
    finished(Command::new(PROGRAM).args(words).arg("--socket").arg(socket).output().expect("run the tool"))
}

/// Runs the tool with these words, then the helper's control socket.
pub fn run_control(control: &Path, words: &[&str]) -> Run {
    finished(Command::new(PROGRAM).args(words).arg("--control").arg(control).output().expect("run the tool"))
}
