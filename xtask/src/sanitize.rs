//! `cargo xtask sanitize`: the integration tests with a helper whose every access to memory is checked, and at whose end
//! leaks are looked for.
//!
//! The helper alone is instrumented; tests, and the C helper that some of them run as well, are not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::tools;
use crate::workspace::{cargo, run, target};

/// Named, so that build scripts and macros are not instrumented.
const TRIPLE: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };

/// What an instrumented program calls first.
const MARK: &[u8] = b"__asan_init";

/// What is left out, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("binary(soak)", "looks at the helper's memory, to which the sanitizer adds its own"),
    ("binary(confinement)", "looks at the walls, which are not there: the sanitizer opens files and looks around"),
    ("binary(faults)", "counts the helper's system calls, to which the sanitizer adds its own"),
    ("test(/^faults::/)", "the same on a multipath map"),
    ("test(two_hundred_commands_on_eight_maps)", "looks at the helper's memory"),
];

/// What is run without a look for leaks, and why.
const WITHOUT_LEAKS: &[(&str, &str)] = &[
    (
        "test(at_the_end_what_hangs_is_named)",
        "a thread hangs in the kernel at the end, and cannot be stopped to be looked at",
    ),
    ("test(w13_a_hung_command)", "the same"),
];

/// Builds the helper anew and runs the tests; false if any fails, or anything was reported.
pub fn all() -> Result<bool> {
    if !tools::has("nextest") {
        bail!("cargo-nextest is missing, which chooses the tests: cargo install cargo-nextest --locked");
    }
    let helper = build()?;
    let reports = tempfile::tempdir().context("a directory for reports")?;
    // The helper may be another user by the time that it has something to report.
    fs::set_permissions(reports.path(), fs::Permissions::from_mode(0o777))?;
    for (name, why) in LEFT_OUT {
        println!("left out: {name}: {why}");
    }
    for (name, why) in WITHOUT_LEAKS {
        println!("without a look for leaks: {name}: {why}");
    }
    let any = |list: &[(&str, &str)]| list.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" | ");
    let first = format!("kind(test) & not ({}) & not ({})", any(LEFT_OUT), any(WITHOUT_LEAKS));
    let mut held = true;
    for (leaks, filter) in [(1, first), (0, any(WITHOUT_LEAKS))] {
        let result = run(&mut tests(&helper, reports.path(), leaks, &filter));
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
    println!("{count} reports of the sanitizers");
    Ok(held && count == 0)
}

fn build() -> Result<std::path::PathBuf> {
    let folder = target().join("sanitize");
    println!("building the helper with rustc's address sanitizer");
    let mut build = cargo();
    build.args(["build", "--quiet", "--package", "qemu-pr-helper", "--bin", "qemu-pr-helper", "--target", TRIPLE]);
    // Sanitizers are unstable; this has the stable compiler take the flag.
    build.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address").env("CARGO_TARGET_DIR", &folder);
    run(&mut build)?;
    let helper = folder.join(TRIPLE).join("debug/qemu-pr-helper");
    // A build without would pass every test.
    let program = fs::read(&helper)?;
    if !program.windows(MARK.len()).any(|bytes| bytes == MARK) {
        bail!("{} is not instrumented: does this rustc take -Zsanitizer=address?", helper.display());
    }
    Ok(helper)
}

fn tests(helper: &Path, reports: &Path, leaks: u8, filter: &str) -> Command {
    let mut tests = cargo();
    tests.args(["nextest", "run", "--package", "qemu-pr-helper", "--no-fail-fast", "-E", filter]);
    tests.env("PR_LAB_OURS", helper).env("PR_LAB_OURS_ARGS", "--sandbox off").env("PR_LAB_SUBJECT", "ours");
    let options = format!("detect_leaks={leaks}:log_path={}", reports.join("report").display());
    tests.env("ASAN_OPTIONS", options);
    tests
}
