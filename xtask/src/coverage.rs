//! `cargo xtask coverage`: how much of each crate the tests run, with the stable compiler's own instrumentation.
//!
//! Most tests start the daemon as a program, which is killed, becomes another user and loses its files; a profile that is
//! written at the end would not be. So the counters lie in a file that all processes of a program map ("continuous mode"):
//! what has run is counted, whatever happens to the process, and no system call is made for it after the start.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use pr_dev::packages::{self, suite};
use pr_dev::tools;
use pr_dev::workspace::{output, root, run as run_command};
use serde::Deserialize;

/// Has the compiler address counters by way of a variable, so that they can be in a mapped file.
const FLAGS: &str = "-Cllvm-args=-runtime-counter-relocation";

/// Continuous mode (`%c`), and one file for all processes of a program (`%m`).
const PROFILE: &str = "%m%c.profraw";

/// Which crates are counted: what is shipped, and the simulated disk in it. The others are there for tests.
#[rustfmt::skip]
const CRATES: &[&str] = &[
    "scsi-persistent-reservations",
    "syscall-names",
    "qemu-pr-protocol",
    "pr-sim",
    "pr-multipath",
    "pr-control",
    "pr-conformance",
    "pr-sys",
    "pr-device",
    "pr-sandbox",
    "pr-broker",
    "pr-resolver",
    "qemu-pr-ctl",
    "qemu-pr-exporter",
    "qemu-pr-helper",
];

/// Tests that are left out, and why.
const LEFT_OUT: &[(&str, &str)] = &[(
    "test(a_call_of_the_daemons_start_fails)",
    "has each system call of a start fail, also those that open the profile",
)];

/// The page that the table is written to, and what stands around it there.
const PAGE: &str = "docs/testing.md";
const MARKS: [&str; 2] = ["<!-- cargo xtask coverage -->\n", "<!-- end -->\n"];

/// What `llvm-cov export` prints.
#[derive(Deserialize)]
struct Export {
    data: Vec<Data>,
}

#[derive(Deserialize)]
struct Data {
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    filename: PathBuf,
    summary: Summary,
}

#[derive(Clone, Copy, Default, Deserialize)]
struct Summary {
    lines: Count,
    functions: Count,
    regions: Count,
}

#[derive(Clone, Copy, Default, Deserialize)]
struct Count {
    count: u64,
    covered: u64,
}

/// Runs the quick tests, prints the table and writes it to the page; false if a test fails.
pub fn run() -> Result<bool> {
    if !tools::has("nextest") {
        bail!("cargo-nextest is missing, which runs the tests: cargo install cargo-nextest --locked");
    }
    let llvm = llvm()?;
    let cargo_llvm_cov = || {
        let mut command = tools::cargo_llvm_cov()?;
        command.env("RUSTFLAGS", FLAGS).env("LLVM_PROFILE_FILE_NAME", PROFILE);
        // It would install what is missing, and ask nobody.
        command.env("CARGO_LLVM_COV_SETUP", "no").envs(llvm.iter().map(|(name, program)| (name, program)));
        anyhow::Ok(command)
    };
    for (name, why) in LEFT_OUT {
        println!("left out: {name}: {why}");
    }
    // What was counted before does not count.
    run_command(cargo_llvm_cov()?.args(["clean", "--profraw-only"]))?;
    let mut tests = cargo_llvm_cov()?;
    tests.args(["nextest", "--workspace", "--no-report", "--no-fail-fast"]);
    let names = LEFT_OUT.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" | ");
    tests.args(["-E", &format!("not ({names})")]);
    let held = run_command(&mut tests);
    if let Err(error) = &held {
        println!("{error:#}");
    }
    let table = table(&output(cargo_llvm_cov()?.args(["report", "--json", "--summary-only"]))?)?;
    print!("{table}");
    let page = root().join(PAGE);
    let text = fs::read_to_string(&page).with_context(|| format!("{} cannot be read", page.display()))?;
    fs::write(&page, replaced(&text, &table)?)?;
    println!("{PAGE} has the table");
    Ok(held.is_ok())
}

/// LLVM's own readers of what the compiler has written: rustup's component if it is there, or else Debian's package of
/// the same release, which needs a newer C library than the host may have and is run with its own.
fn llvm() -> Result<Vec<(&'static str, PathBuf)>> {
    let sysroot = PathBuf::from(output(Command::new("rustc").args(["--print", "sysroot"]))?.trim_end());
    let version = output(Command::new("rustc").arg("-vV"))?;
    let field = |name: &str| version.lines().find_map(|line| line.strip_prefix(name));
    let host = field("host: ").context("rustc -vV does not say what the host is")?;
    if sysroot.join("lib/rustlib").join(host).join("bin/llvm-cov").exists() {
        return Ok(Vec::new());
    }
    let release = field("LLVM version: ").and_then(|version| version.split('.').next());
    let release = release.context("rustc -vV does not say which LLVM it has")?;
    let package = format!("llvm-{release}");
    let unpacked = suite::unpack_programs("coverage", packages::NEWEST, &[&package])?.canonicalize()?;
    let program = |variable: &'static str, name: &str| {
        let wrapper = unpacked.join(name);
        let words = suite::words(&unpacked, &format!("usr/lib/{package}/bin/{name}"))?;
        let words = words.map(|word| format!("'{}'", word.display())).join(" ");
        fs::write(&wrapper, format!("#!/bin/sh\nexec {words} \"$@\"\n"))?;
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))?;
        anyhow::Ok((variable, wrapper))
    };
    Ok(vec![program("LLVM_COV", "llvm-cov")?, program("LLVM_PROFDATA", "llvm-profdata")?])
}

/// A table of the crates and of all together.
fn table(export: &str) -> Result<String> {
    let export: Export = serde_json::from_str(export).context("llvm-cov prints something unknown")?;
    let files: Vec<File> = export.data.into_iter().flat_map(|data| data.files).collect();
    let mut table = String::from("| crate | lines | functions | regions |\n|---|---|---|---|\n");
    let mut all = Summary::default();
    for name in CRATES {
        let sources = root().canonicalize()?.join("crates").join(name).join("src");
        let of = files.iter().filter(|file| file.filename.starts_with(&sources));
        let sum = of.fold(Summary::default(), |sum, file| sum.and(file.summary));
        if sum.lines.covered == 0 {
            bail!("no line of {name} has run: is it counted?");
        }
        table.push_str(&sum.row(name));
        all = all.and(sum);
    }
    table.push_str(&all.row("all"));
    Ok(table)
}

impl Summary {
    const fn and(self, other: Self) -> Self {
        Self {
            lines: self.lines.and(other.lines),
            functions: self.functions.and(other.functions),
            regions: self.regions.and(other.regions),
        }
    }

    fn row(self, name: &str) -> String {
        let [lines, functions, regions] = [self.lines, self.functions, self.regions].map(Count::cell);
        format!("| {name} | {lines} | {functions} | {regions} |\n")
    }
}

impl Count {
    const fn and(self, other: Self) -> Self {
        Self { count: self.count + other.count, covered: self.covered + other.covered }
    }

    /// Rounded down: what is not whole must not look whole.
    fn cell(self) -> String {
        let tenths = (self.covered * 1000).checked_div(self.count).unwrap_or_default();
        format!("{}.{} % ({} of {})", tenths / 10, tenths % 10, self.covered, self.count)
    }
}

/// The page with another table.
fn replaced(page: &str, table: &str) -> Result<String> {
    let [first, last] = MARKS;
    let parts = page.split_once(first).and_then(|(before, rest)| Some((before, rest.split_once(last)?.1)));
    let (before, after) = parts.with_context(|| format!("{PAGE} has no place for the table"))?;
    Ok(format!("{before}{first}{table}{last}{after}"))
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    /// Crates for developers: they are in no program that is shipped.
    const FOR_DEVELOPERS: [&str; 6] = ["pr-bench", "pr-dev", "pr-dist", "pr-explore", "pr-lab", "pr-measure"];

    #[test]
    fn every_crate_that_is_shipped_is_in_the_table() {
        let folders = fs::read_dir(root().join("crates")).expect("the crates");
        let mut present: Vec<String> =
            folders.map(|entry| entry.expect("a crate").file_name().into_string().expect("a name")).collect();
        let mut known: Vec<&str> = CRATES.iter().copied().chain(FOR_DEVELOPERS).collect();
        present.sort();
        known.sort_unstable();
        assert_eq!(present, known);
    }

    #[test]
    fn a_table_takes_the_place_of_the_one_before_and_of_nothing_else() {
        let page = format!("before\n{}old\n{}after\n", MARKS[0], MARKS[1]);
        let new = replaced(&page, "new\n").expect("marks");
        assert_eq!(new, page.replace("old", "new"));
        assert!(replaced("no marks", "new\n").is_err());
    }

    #[test]
    fn a_share_is_rounded_down() {
        assert_eq!(Count { count: 2000, covered: 1999 }.cell(), "99.9 % (1999 of 2000)");
        assert_eq!(Count { count: 0, covered: 0 }.cell(), "0.0 % (0 of 0)");
    }
}
