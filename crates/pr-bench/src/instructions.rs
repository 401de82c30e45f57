//! How many instructions the work of a request takes, without its system calls: the one figure of a program's speed
//! that is the same on a busy machine, so that a test may hold it.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use pr_dev::workspace::{cargo, output, root, run as run_command, target};
use serde::{Deserialize, Serialize};

/// What the example of qemu-pr-protocol can do, and what that is.
const PARTS: [(&str, &str); 4] = [
    ("decode-in", "a PR IN, decoded"),
    ("decode-out", "a PR OUT, decoded"),
    ("understand", "a PR IN and a PR OUT, understood"),
    ("answer", "an answer, encoded"),
];

/// So much more or less than recorded is no news: the C library chooses its copying by the processor.
const TOLERANCE: f64 = 0.03;

/// The work is done so often, and twice as often: the difference is without the start of the program.
const TIMES: u64 = 1000;

/// What was recorded.
#[derive(Debug, Deserialize, Serialize)]
struct Record {
    /// The compiler, without which the counts mean little.
    compiler: String,
    /// Instructions by architecture and part.
    instructions: BTreeMap<String, BTreeMap<String, f64>>,
}

fn file() -> PathBuf {
    root().join("docs/performance/instructions.json")
}

/// Counts, and compares with what is recorded; or records.
pub fn run(record: bool) -> Result<bool> {
    let compiler = output(Command::new("rustc").arg("--version"))?.trim().to_owned();
    let program = build()?;
    let mut counted = BTreeMap::new();
    for (part, what) in PARTS {
        let twice = count(&program, part, 2 * TIMES)?;
        let once = count(&program, part, TIMES)?;
        #[expect(clippy::cast_precision_loss, reason = "far from 2^53")]
        counted.insert(what.to_owned(), (twice - once) as f64 / TIMES as f64);
    }
    if record {
        let record = Record { compiler, instructions: BTreeMap::from([(ARCH.to_owned(), counted)]) };
        fs::write(file(), serde_json::to_string_pretty(&record)? + "\n").context("the counts cannot be recorded")?;
        return Ok(true);
    }
    let text = fs::read_to_string(file()).with_context(|| format!("{} cannot be read", file().display()))?;
    let record: Record = serde_json::from_str(&text)?;
    let recorded = record.instructions.get(ARCH).with_context(|| {
        format!("no counts are recorded for {ARCH}; record them with 'cargo xtask bench --instructions --record'")
    })?;
    let differences = compare(&counted, recorded);
    for (what, count) in &counted {
        println!("{count:8.1} instructions for {what}");
    }
    for difference in &differences {
        println!("{difference}");
    }
    if !differences.is_empty() {
        println!("recorded with {}, counted with {compiler}", record.compiler);
        println!("if that is as it should be: cargo xtask bench --instructions --record");
    }
    Ok(differences.is_empty())
}

/// As the daemon is shipped, whatever the environment makes of a release build.
fn build() -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--quiet", "--release", "--package", "qemu-pr-protocol", "--example", "instructions"]);
    build.env("CARGO_PROFILE_RELEASE_LTO", "fat").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1");
    run_command(&mut build)?;
    Ok(target().join("release/examples/instructions"))
}

fn count(program: &Path, part: &str, times: u64) -> Result<u64> {
    let folder = tempfile::tempdir()?;
    let result = folder.path().join("counts");
    let mut valgrind = Command::new("/usr/bin/valgrind");
    valgrind.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", result.display()));
    output(valgrind.arg(program).arg(part).arg(times.to_string()))?;
    total(&fs::read_to_string(&result)?).context("callgrind wrote no total")
}

/// The line `summary: 12345` of callgrind's file.
fn total(counts: &str) -> Option<u64> {
    counts.lines().find_map(|line| line.strip_prefix("summary:"))?.trim().parse().ok()
}

/// What is not as recorded, in words.
fn compare(counted: &BTreeMap<String, f64>, recorded: &BTreeMap<String, f64>) -> Vec<String> {
    let mut differences = Vec::new();
    for (what, count) in counted {
        match recorded.get(what) {
            None => differences.push(format!("{what}: nothing is recorded")),
            Some(before) if (count - before).abs() > before * TOLERANCE => {
                differences.push(format!("{what}: {count:.1} instructions, {before:.1} are recorded"));
            }
            Some(_) => {}
        }
    }
    differences
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    fn counts(decode: f64) -> BTreeMap<String, f64> {
        BTreeMap::from([("decode".to_owned(), decode)])
    }

    #[test]
    fn more_and_fewer_instructions_are_both_told_and_a_few_are_not() {
        assert_eq!(compare(&counts(102.0), &counts(100.0)), Vec::<String>::new());
        assert_eq!(compare(&counts(104.0), &counts(100.0)), ["decode: 104.0 instructions, 100.0 are recorded"]);
        assert_eq!(compare(&counts(96.0), &counts(100.0)), ["decode: 96.0 instructions, 100.0 are recorded"]);
    }

    #[test]
    fn what_nobody_recorded_is_told() {
        assert_eq!(compare(&counts(1.0), &BTreeMap::new()), ["decode: nothing is recorded"]);
    }

    #[test]
    fn the_total_of_callgrind_is_found() {
        assert_eq!(total("events: Ir\nsummary: 123456\n\nfn=(1) main\n"), Some(123_456));
        assert_eq!(total("events: Ir\n"), None);
    }
}
