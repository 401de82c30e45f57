//! `cargo xtask sanitize`: the integration tests with a helper that one of rustc's sanitizers watches. `address` checks
//! every access to memory and looks for leaks at the end; `thread` looks for data races and locks taken in two orders.
//!
//! The helper alone is instrumented; tests, and the C helper that some of them run as well, are not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use pr_dev::tools;
use pr_dev::workspace::{cargo, run, target};

use crate::nightly::Nightly;

/// Named, so that build scripts and macros are not instrumented.
const TRIPLE: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };

/// A test or several, as nextest's filters name them, and the reason for what is done with them.
type Exception = (&'static str, &'static str);

/// What no sanitizer can run, and why.
const LEFT_OUT: &[Exception] = &[
    ("test(/^memory::/)", "looks at the helper's memory, to which the sanitizer adds its own"),
    ("test(/^sandbox::/)", "looks at the walls, which are not there: the sanitizer opens files and looks around"),
    ("test(the_walls_are_as_high_as_the_file_says)", "the same"),
    ("test(/^faults::/)", "counts the helper's system calls, to which the sanitizer adds its own"),
    ("test(/^multipath::faults::/)", "the same on a multipath map"),
    ("test(a_hundred_commands_on_three_maps_leave_nothing_behind)", "looks at the helper's memory"),
    (
        "test(a_helper_started_with_only_k_has_a_control_socket_where_the_file_says)",
        "looks at the command line, which has --sandbox off in it",
    ),
];

/// What cannot run with the thread sanitizer either.
const LEFT_OUT_FOR_THREADS: &[Exception] = &[
    (
        "test(the_daemon_keeps_one_capability_and_the_broker_two)",
        "looks at every thread, and a process that was forked has one of the sanitizer's own",
    ),
    ("test(w5_when_the_parent_succeeds_all_is_ready)", "the same"),
];

/// What is run without a look for leaks, and why.
const WITHOUT_LEAKS: &[Exception] = &[
    (
        "test(at_the_end_what_hangs_is_named)",
        "a thread hangs in the kernel at the end, and cannot be stopped to be looked at",
    ),
    ("test(w13_a_hung_command)", "the same"),
    ("test(limits_and_times_are_those_of_the_file)", "the same"),
];

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sanitizer {
    /// Accesses to memory that is not the program's, and memory that is never given back
    Address,
    /// Data races; needs a nightly toolchain, and is skipped without one
    Thread,
}

/// Runs one of them; false if a test fails, or anything was reported.
pub fn run_as(sanitizer: Sanitizer) -> Result<bool> {
    match sanitizer {
        Sanitizer::Address => address(),
        Sanitizer::Thread => thread(),
    }
}

/// Address and leak sanitizer, which come with the stable compiler.
pub fn address() -> Result<bool> {
    let mut build = cargo();
    // Sanitizers are unstable; this has the stable compiler take the flag.
    build.arg("build").env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address");
    let helper = built(build, "address", b"__asan_init")?;
    for (name, why) in WITHOUT_LEAKS {
        println!("without a look for leaks: {name}: {why}");
    }
    let most = format!("not ({})", any(WITHOUT_LEAKS));
    let parts = [("detect_leaks=1", most), ("detect_leaks=0", any(WITHOUT_LEAKS))];
    tested(&helper, "ASAN_OPTIONS", LEFT_OUT, &parts)
}

/// Thread sanitizer. Accesses and locks inside a standard library that is not instrumented would be unseen, and races
/// be reported that are none: it is built as well, and that takes a nightly toolchain.
pub fn thread() -> Result<bool> {
    let (toolchain, source) = match Nightly::find()? {
        Nightly::Usable(toolchain, source) => (toolchain, source),
        Nightly::Missing(what) => {
            println!("skipped: {what}");
            return Ok(true);
        }
    };
    let mut build = Nightly::cargo(&toolchain, source.as_deref());
    build.args(["build", "-Zbuild-std"]).env("RUSTFLAGS", "-Zsanitizer=thread --cfg thread_sanitizer");
    let helper = built(build, "thread", b"__tsan_init")?;
    let left_out = [LEFT_OUT, LEFT_OUT_FOR_THREADS].concat();
    tested(&helper, "TSAN_OPTIONS", &left_out, &[("second_deadlock_stack=1", "all()".to_owned())])
}

/// Builds the helper with a Cargo that has been told how to instrument it.
fn built(mut build: Command, name: &str, mark: &[u8]) -> Result<PathBuf> {
    if !tools::has("nextest") {
        bail!("cargo-nextest is missing, which chooses the tests: cargo install cargo-nextest --locked");
    }
    println!("building the helper with rustc's {name} sanitizer");
    let folder = target().join("sanitize").join(name);
    build.args(["--quiet", "--package", "qemu-pr-helper", "--bin", "qemu-pr-helper", "--target", TRIPLE]);
    run(build.env("CARGO_TARGET_DIR", &folder))?;
    let helper = folder.join(TRIPLE).join("debug/qemu-pr-helper");
    // A build without would pass every test.
    let program = fs::read(&helper)?;
    if !program.windows(mark.len()).any(|bytes| bytes == mark) {
        bail!("{} is not instrumented: does this rustc take -Zsanitizer={name}?", helper.display());
    }
    Ok(helper)
}

/// Runs the tests, in as many parts as there are options for the sanitizer; false if one fails or there is a report.
fn tested(helper: &Path, variable: &str, left_out: &[Exception], parts: &[(&str, String)]) -> Result<bool> {
    let reports = tempfile::tempdir().context("a directory for reports")?;
    // The helper may be another user by the time that it has something to report.
    fs::set_permissions(reports.path(), fs::Permissions::from_mode(0o777))?;
    for (name, why) in left_out {
        println!("left out: {name}: {why}");
    }
    let mut held = true;
    for (options, filter) in parts {
        let mut tests = cargo();
        tests.args(["nextest", "run", "--package", "qemu-pr-helper", "--no-fail-fast"]);
        tests.args(["-E", &format!("kind(test) & not ({}) & ({filter})", any(left_out))]);
        tests.env("PR_LAB_OURS", helper).env("PR_LAB_OURS_ARGS", "--sandbox off").env("PR_LAB_SUBJECT", "ours");
        tests.env(variable, format!("{options}:log_path={}", reports.path().join("report").display()));
        let result = run(&mut tests);
        if let Err(error) = &result {
            println!("{error:#}");
        }
        held &= result.is_ok();
    }
    let mut count = 0;
    for report in fs::read_dir(reports.path())? {
        println!("{}", fs::read_to_string(report?.path())?);
        count += 1;
    }
    println!("{count} reports of the sanitizer");
    Ok(held && count == 0)
}

fn any(list: &[Exception]) -> String {
    list.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;
    use pr_dev::workspace::root;

    /// All files of the helper's tests, and their texts.
    fn sources(directory: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(directory).expect("a directory of tests") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a test's source");
                found.push((path, text));
            }
        }
    }

    #[test]
    fn what_is_left_out_exists() {
        let tests = root().join("crates/qemu-pr-helper/tests");
        let mut files = Vec::new();
        sources(&tests, &mut files);
        for (name, why) in [LEFT_OUT, LEFT_OUT_FOR_THREADS, WITHOUT_LEAKS].concat() {
            let inner = |kind: &str| name.strip_prefix(kind)?.strip_suffix(')');
            let exists = if let Some(module) = inner("test(/^").and_then(|rest| rest.strip_suffix("::/")) {
                let file = tests.join("it").join(module.replace("::", "/"));
                file.join("mod.rs").exists() || file.with_extension("rs").exists()
            } else {
                // nextest takes a part of a name as well.
                let part = inner("test(").unwrap_or_else(|| panic!("{name} is of another kind"));
                let is_test = |line: &str| line.trim_start().starts_with("fn ") && line.contains(part);
                files.iter().any(|(_, text)| text.lines().any(is_test))
            };
            assert!(exists, "{name}, left out because it {why}, is not there");
        }
    }
}
