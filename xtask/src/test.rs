//! `cargo xtask test`: what every change has to pass, and with `--all` what a release has to; at the end how each step went
//! and how long it took, and one line that says how they went.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use e2e::{Kind, Version};
use pr_dev::arch::Name;
use pr_dev::packages;
use pr_dev::tools;
use pr_dev::workspace::{cargo, run as run_command};
use pr_dist::archive;
use pr_dist::image;
use pr_dist::schemas;

use crate::arch;
use crate::completions;
use crate::coverage;
use crate::fuzz;
use crate::man;
use crate::observability;
use crate::sanitize;

/// How much is tested.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// What every change has to pass: a quarter of an hour on two processors, downloads included.
    Short,
    /// What a release has to pass: hours.
    All,
}

/// When a step is run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    /// It takes too long for every change.
    Release,
}

/// A step's name, when it is run, and what it does; false is a failure.
type Step = (When, &'static str, Box<dyn Fn() -> Result<bool>>);

/// How a step went.
struct Outcome {
    name: &'static str,
    held: bool,
    took: Duration,
}

/// Every check there is, in order: cheap ones first, and what uses a build soon after it.
fn steps(size: Size) -> Vec<Step> {
    use When::{Always, Release};
    let all = size == Size::All;
    vec![
        (Always, "packages", Box::new(|| packages::install_missing(NEEDED).map(|()| true))),
        (Always, "formatting", cargo_with("fmt --all --check")),
        (Always, "formatting of the fuzzers", cargo_with("fmt --manifest-path fuzz/Cargo.toml --check")),
        (Always, "tests", Box::new(tests)),
        (Always, "examples in the documentation", cargo_with("test --quiet --workspace --doc")),
        (Always, "documentation of the published crates", Box::new(documentation)),
        (Always, "published crates without their features", cargo_with(BARE)),
        (Always, "lints", cargo_with("clippy --quiet --workspace --all-targets -- -D warnings")),
        (Always, "man pages", Box::new(man::lint)),
        (Always, "completions in their shells", Box::new(completions::check)),
        (Always, "alerts and the exporter's page", Box::new(observability::run)),
        (Always, "manifests and the bill of materials", Box::new(schemas::run)),
        (Always, "instruction counts", Box::new(|| pr_bench::instructions(false))),
        (Always, "VM test kernel", vm_test(Kind::Kernel, None, all)),
        (Always, "VM test kernel with Debian's helper", vm_test(Kind::Kernel, Some(e2e::REFERENCE), all)),
        (Always, "VM test libiscsi", vm_test(Kind::Libiscsi, None, all)),
        (Always, "VM test libiscsi with Debian's helper", vm_test(Kind::Libiscsi, Some(e2e::REFERENCE), all)),
        (Always, "VM test guest", vm_test(Kind::Guest, None, all)),
        (Always, "VM test guest with Debian's helper", vm_test(Kind::Guest, Some(e2e::REFERENCE), all)),
        (Release, "VM test cluster", vm_test(Kind::Cluster, None, all)),
        (Release, "VM test cluster with Debian's helper", vm_test(Kind::Cluster, Some(e2e::REFERENCE), all)),
        (Release, "VM test migration", vm_test(Kind::Migration, None, all)),
        (Release, "VM test migration with Debian's helper", vm_test(Kind::Migration, Some(e2e::REFERENCE), all)),
        // Debian's helper has no multipath: what it lacks is known, and takes minutes to show.
        (Always, "VM test multipath", vm_test(Kind::Multipath, None, all)),
        (Always, "VM test multipath-random, its named cases", Box::new(move || named_cases(!all))),
        (Always, "VM test doctor", vm_test(Kind::Doctor, None, all)),
        (Always, "VM test multipath-guest", vm_test(Kind::MultipathGuest, None, all)),
        (Always, "lints of the fuzzers", Box::new(lints_of_fuzzers)),
        (Always, "fuzzers", Box::new(move || fuzz::check(if all { 60 } else { 15 }))),
        // That a dependency is new is noticed by a test. What looks at its licence is built for minutes.
        (Release, "dependencies", Box::new(|| dependencies("."))),
        (Release, "dependencies of the fuzzers", Box::new(|| dependencies("fuzz"))),
        (Release, "address sanitizer", Box::new(sanitize::address)),
        (Release, "thread sanitizer", Box::new(sanitize::thread)),
        (Release, "coverage", Box::new(coverage::run)),
        // The short test has no room for another compiler, its libraries, and a build for each architecture.
        (Release, "compiling for arm64 and s390x", Box::new(|| arch::check(&[Name::Arm, Name::S390]))),
        (Release, "every architecture", Box::new(|| arch::run(&[]))),
        (Release, "packages for users, made twice", Box::new(archive::run_twice)),
        (Release, "container image", image(image::SUITE)),
        (Release, "container image for virt-handler", image("forky")),
        // The same checks on other kernels. User Mode Linux has neither Landlock nor two processors.
        (Release, "VM test kernel on Debian 12's kernel", emulated(Kind::Kernel, Version::Debian12)),
        (Release, "VM test kernel on the newest kernel", emulated(Kind::Kernel, Version::Newest)),
        (Release, "VM test guest on Debian 12's kernel", emulated(Kind::Guest, Version::Debian12)),
        (Release, "VM test multipath on Debian 12's kernel", emulated(Kind::Multipath, Version::Debian12)),
        (Release, "VM test multipath on the newest kernel", emulated(Kind::Multipath, Version::Newest)),
        (Release, "VM test multipath-random at length, with every multipath-tools", Box::new(random_at_length)),
        (Release, "VM test multipath-random with QEMU's helper, built with multipath", Box::new(random_against_c)),
        // Nothing timed is tested: only that what measures still works.
        (Release, "what the bench measures, in small", Box::new(pr_bench::works)),
        (Release, "what the bench measures on maps, in small", Box::new(pr_bench::multipath_works)),
        (Release, "VM test selinux", vm_test(Kind::Selinux, None, all)),
        (Release, "VM test kubevirt", vm_test(Kind::Kubevirt, None, all)),
        (Release, "VM test host", vm_test(Kind::Host, None, all)),
        (Release, "VM tests host and manual on newer Debians", Box::new(newer_debians)),
        (Release, "VM test host with Debian's helper", vm_test(Kind::Host, Some(e2e::REFERENCE), all)),
        (Release, "VM test manual", vm_test(Kind::Manual, None, all)),
    ]
}

/// Both are `no_std` then.
const BARE: &str =
    "check --quiet --package scsi-persistent-reservations --package qemu-pr-protocol --no-default-features";

/// What the steps start or copy.
const NEEDED: &[&[(&str, &str)]] =
    &[packages::FOR_BEDS, packages::SHELLS, packages::FOR_BENCH, packages::FOR_MANUAL, packages::FOR_IMAGE];

/// Runs the steps of this size; one that fails does not keep the next ones from running.
pub fn run(size: Size) -> bool {
    let steps = steps(size).into_iter().filter(|(when, ..)| size == Size::All || *when == When::Always);
    let outcomes: Vec<Outcome> = steps
        .map(|(_, name, step)| {
            println!("--- {name}");
            let started = Instant::now();
            let result = step();
            if let Err(error) = &result {
                println!("{error:#}");
            }
            let outcome = Outcome { name, held: result.is_ok_and(|held| held), took: started.elapsed() };
            println!("{outcome}");
            outcome
        })
        .collect();
    println!("{}", summary(&outcomes));
    outcomes.iter().all(|outcome| outcome.held)
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.held { "ok" } else { "FAIL" };
        write!(f, "{word:4} {:7.1} s  {}", self.took.as_secs_f64(), self.name)
    }
}

/// A line for each step, the sum of their times, and the line that continuous integration reads.
fn summary(outcomes: &[Outcome]) -> String {
    let total: Duration = outcomes.iter().map(|outcome| outcome.took).sum();
    let passed = outcomes.iter().filter(|outcome| outcome.held).count();
    let mut lines = vec!["---".to_owned()];
    lines.extend(outcomes.iter().map(Outcome::to_string));
    lines.push(format!("     {:7.1} s  in all", total.as_secs_f64()));
    lines.push(format!("{passed} passed, {} failed", outcomes.len() - passed));
    lines.join("\n")
}

fn cargo_with(words: &'static str) -> Box<dyn Fn() -> Result<bool>> {
    Box::new(move || holds(cargo().args(words.split(' '))))
}

/// Runs a command whose failure is the step's.
fn holds(command: &mut Command) -> Result<bool> {
    run_command(command).map(|()| true)
}

/// What docs.rs will show; a link that leads nowhere is an error.
fn documentation() -> Result<bool> {
    let published = ["scsi-persistent-reservations", "qemu-pr-protocol", "pr-sim", "pr-multipath"]
        .into_iter()
        .flat_map(|name| ["--package", name]);
    holds(cargo().args(["doc", "--quiet", "--no-deps"]).args(published).env("RUSTDOCFLAGS", "-D warnings"))
}

fn tests() -> Result<bool> {
    let mut command = cargo();
    if tools::has("nextest") {
        // Most tests wait for what they have started.
        let threads = 2 * thread::available_parallelism()?.get();
        command.args(["nextest", "run", "--workspace", "--no-fail-fast", "--test-threads", &threads.to_string()]);
    } else {
        // Cargo's own runner does as well, one test after the other: many tests measure their process.
        command.args("test --workspace --no-fail-fast --lib --bins --tests -- --test-threads=1".split(' '));
    }
    holds(&mut command)
}

fn lints_of_fuzzers() -> Result<bool> {
    holds(fuzz::cargo_with("clippy --quiet --locked")?.args(["--", "-D", "warnings"]))
}

/// Licences, sources and duplicates. Advisories are left out: their database is no package of any registry.
fn dependencies(folder: &str) -> Result<bool> {
    let mut command = tools::cargo_deny()?;
    command.args(["--manifest-path", &format!("{folder}/Cargo.toml"), "--config", "deny.toml"]);
    holds(command.args(["check", "bans", "licenses", "sources"]))
}

fn image(suite: &'static str) -> Box<dyn Fn() -> Result<bool>> {
    Box::new(move || image::run(&image::Options { suite: suite.to_owned(), serve: true }))
}

/// A VM test, with debug builds in the short test: the tests before it have made them.
fn vm_test(kind: Kind, helper: Option<&'static str>, release: bool) -> Box<dyn Fn() -> Result<bool>> {
    let amount = if release { e2e::Amount::Full } else { e2e::Amount::Short };
    machine_test(kind, helper.map(PathBuf::from), e2e::Options { debug: !release, amount, ..e2e::Options::default() })
}

/// A VM test on an emulated machine with this kernel.
fn emulated(kind: Kind, kernel: Version) -> Box<dyn Fn() -> Result<bool>> {
    machine_test(kind, None, e2e::Options { kernel: Some(kernel), ..e2e::Options::default() })
}

/// The cases with a name, without random commands.
fn named_cases(debug: bool) -> Result<bool> {
    let random = e2e::Random { commands: 0, ..e2e::Random::default() };
    machine_test(Kind::MultipathRandom, None, e2e::Options { debug, random, ..e2e::Options::default() })()
}

/// Ten thousand commands.
fn random_at_length() -> Result<bool> {
    let random = e2e::Random { commands: 3400, ..e2e::Random::default() };
    let suite = e2e::Suite::All;
    machine_test(Kind::MultipathRandom, None, e2e::Options { random, suite, ..e2e::Options::default() })()
}

/// The package and the manual, with the libvirt, QEMU and systemd of newer releases: what they differ in is no matter of
/// the machine.
fn newer_debians() -> Result<bool> {
    let machine = Some(e2e::Machine::Uml);
    for (kind, suite) in
        [(Kind::Host, e2e::Suite::Trixie), (Kind::Manual, e2e::Suite::Trixie), (Kind::Host, e2e::Suite::Forky)]
    {
        if !machine_test(kind, None, e2e::Options { suite, machine, ..e2e::Options::default() })()? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Of QEMU's helper is counted what does not hold: the bed has to find it.
fn random_against_c() -> Result<bool> {
    let helper = e2e::c_helper::program()?;
    machine_test(Kind::MultipathRandom, Some(helper), e2e::Options::default())()
}

fn machine_test(kind: Kind, helper: Option<PathBuf>, options: e2e::Options) -> Box<dyn Fn() -> Result<bool>> {
    Box::new(move || {
        let succeeds = || match e2e::run(kind, helper.as_deref(), &options) {
            Ok(tally) => tally.succeeded(),
            Err(error) => {
                println!("{error:#}");
                false
            }
        };
        // A whole machine, emulated, on a host that does other things as well: what fails is tried once more, as the
        // tests are, and it shows.
        Ok(succeeds() || {
            println!("--- once more");
            succeeds()
        })
    })
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use std::collections::BTreeSet;

    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_kind_of_vm_test_is_a_step_and_no_two_steps_have_one_name() {
        let names: Vec<_> = steps(Size::All).iter().map(|(_, name, _)| *name).collect();
        for kind in Kind::value_variants() {
            let name = format!("VM test {}", kind.word());
            let is_it =
                |step: &&str| step.strip_prefix(&name).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
            assert!(names.iter().any(is_it), "{}", kind.word());
        }
        let unique: BTreeSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len(), "{names:?}");
    }

    #[test]
    fn the_last_line_says_how_many_passed_and_the_lines_before_how_long_each_took() {
        let outcome = |name, held, seconds| Outcome { name, held, took: Duration::from_secs_f64(seconds) };
        assert_eq!(
            summary(&[outcome("formatting", true, 0.96), outcome("tests", false, 812.0)]),
            "---\n\
             ok       1.0 s  formatting\n\
             FAIL   812.0 s  tests\n     \
             \x20 813.0 s  in all\n\
             1 passed, 1 failed"
        );
    }
}
