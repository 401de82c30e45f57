//! Running the exporter to its end.

use std::{
    path::Path,
    process::{Command, Output},
};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_qemu-pr-exporter");

/// The exit status and the output of a run.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("words");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// Runs the exporter with these words.
pub fn run(words: &[&str]) -> Run {
    Command::new(PROGRAM).args(words).output().expect("run the exporter").into()
}

/// Runs the exporter with these words, then the helper's control socket.
pub fn run_control(control: &Path, words: &[&str]) -> Run {
    let output = Command::new(PROGRAM).args(words).arg("--control").arg(control).output();
    output.expect("run the exporter").into()
}

impl Run {
    /// Asserts success, without a word of complaint; what was printed.
    #[track_caller]
    pub fn expect_done(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        self.stdout
    }

    /// Asserts this exit status, nothing on standard output, and one line of complaint with all of these words.
    #[track_caller]
    pub fn expect_error(self, code: i32, words: &[&str]) {
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""), "{self:?}");
        assert!(self.stderr.starts_with("qemu-pr-exporter: ") && self.stderr.lines().count() == 1, "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {}", self.stderr);
        }
    }
}
