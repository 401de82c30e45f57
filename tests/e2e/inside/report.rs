//! The report: one line per check, as soon as it is made.

use anyhow::{Error, Result};
use pr_measure::turn::Sample;

/// Counts the checks and prints them.
#[derive(Default)]
pub struct Report {
    passed: u32,
    failed: u32,
    /// How many checks failed that are there to show what a helper lacks.
    pub lacking: u32,
}

impl Report {
    /// Makes one check.
    pub fn check(&mut self, name: &str, check: impl FnOnce() -> Result<()>) {
        match check() {
            Ok(()) => {
                self.passed += 1;
                println!("ok {name}");
            }
            Err(error) => self.fail(name, &error),
        }
    }

    /// Makes a check of a helper that is known not to hold them all: what fails is information.
    pub fn show(&mut self, name: &str, check: impl FnOnce() -> Result<()>) {
        match check() {
            Ok(()) => self.check(name, || Ok(())),
            Err(error) => {
                self.lacking += 1;
                known_weakness(name, &one_line(&error));
            }
        }
    }

    /// Reports what kept a check from being made, or how it failed. One line, whatever the error says.
    pub fn fail(&mut self, name: &str, error: &Error) {
        self.failed += 1;
        println!("FAIL {name}: {}", one_line(error));
    }

    /// The last line: without it, the report is known to be cut short.
    pub fn end(&self) {
        println!("end {} {}", self.passed, self.failed);
    }
}

fn one_line(error: &Error) -> String {
    format!("{error:#}").replace(['\n', '\r'], " | ")
}

/// Reports a weakness of the reference helper that was seen to be there.
pub fn known_weakness(name: &str, seen: &str) {
    println!("known weakness shown: {name}: {seen}");
}

/// Tells a reader what happens next.
pub fn story(text: &str) {
    println!("story {text}");
}

/// Shows what somebody would see on the screen of one of the two hosts.
pub fn screen(host: char, text: &str) {
    println!("screen {host}: {text}");
}

/// Tells what was measured in one turn.
pub fn sample(row: &str, load: u32, subject: &str, value: f64) {
    let sample = Sample { row: row.to_owned(), load, subject: subject.to_owned(), value };
    println!("sample {}", serde_json::json!(sample));
}

/// Remarks on what was measured.
pub fn remark(text: &str) {
    println!("{text}");
}
