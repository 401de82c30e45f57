//! A program that was run to its end.

use std::path::Path;
use std::process::Output;

/// The exit status and the output of a run.
#[derive(Debug)]
pub struct Run {
    /// What it is called in its own messages.
    program: String,
    /// The exit status, unless a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Run {
    /// What came of running the program at this path.
    pub fn of(program: &str, output: Output) -> Self {
        let name = Path::new(program).file_name().expect("a program has a name");
        let text = |bytes| String::from_utf8(bytes).expect("words");
        Self {
            program: name.display().to_string(),
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Asserts success, without a word of complaint; what was printed.
    #[track_caller]
    pub fn expect_done(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        self.stdout
    }

    /// Asserts this exit status, nothing on standard output, and one line of complaint with all of these words.
    #[track_caller]
    pub fn expect_error(self, code: i32, words: &[&str]) {
        let Self { program, stderr, .. } = &self;
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""), "{self:?}");
        assert!(stderr.starts_with(&format!("{program}: ")) && stderr.lines().count() == 1, "{stderr}");
        for word in words {
            assert!(stderr.contains(word), "no {word:?} in {stderr}");
        }
    }
}
