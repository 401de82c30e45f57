//! Everything a developer of this project runs: `cargo xtask demo`, `cargo xtask test`, `cargo xtask bed`,
//! `cargo xtask bench`.
#![deny(unsafe_code)]

mod arch;
mod completions;
mod coverage;
mod demo;
mod dist;
mod fuzz;
mod man;
mod mutants;
mod nightly;
mod observability;
mod pictures;
mod sanitize;
mod test;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use pr_dev::arch::Name;
use pr_dev::{packages, workspace};
use pr_dist::{archive, image, manual, schemas};

/// Runs the project: shows it, tests it, and boots the machines it is tested in.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Tell the story of two hosts and one disk
    Demo {
        /// On a real kernel with a real QEMU guest instead of the simulated disk (about half a minute)
        #[arg(long)]
        guest: bool,
        /// The helper to show [default: this project's release build]
        #[arg(long, value_name = "PATH", requires = "guest")]
        helper: Option<PathBuf>,
    },
    /// Run what every change has to pass: formatting, lints, tests, fuzzers, and virtual machines (a quarter of an hour)
    Test {
        /// Run what a release has to pass as well (hours)
        #[arg(long)]
        all: bool,
    },
    /// Build the programs for every architecture, and try them on two
    Arch {
        /// Which [default: all]
        #[arg(value_enum)]
        names: Vec<Name>,
        /// Only see whether the programs compile
        #[arg(long)]
        check: bool,
    },
    /// Play what can happen to a multipath map, and look for what breaks the map engine's promises
    Explore {
        /// Everything at once as well, and up to three events in a command by chance: what breaks a promise is printed
        #[arg(long)]
        deep: bool,
        /// Long plays by chance as well, with two to four paths and an event in each command
        #[arg(long)]
        chance: bool,
        /// What the logic before the map engine gets wrong, as a table: the explorer is able to find that
        #[arg(long, conflicts_with_all = ["deep", "chance"])]
        before: bool,
        /// With the way to each counterexample
        #[arg(long, requires = "before")]
        stories: bool,
        /// What has these words in its name, of everything that there is
        #[arg(long, value_name = "WORDS", conflicts_with_all = ["deep", "chance", "before"])]
        only: Option<String>,
    },
    /// Feed what outsiders send with bytes that a fuzzer makes up
    Fuzz(fuzz::Options),
    /// Have one tenant attack a helper in every way at once, and see what another one notices
    Soak {
        /// For how long it is attacked, in seconds; with what that is compared to it takes two and a half times as long
        #[arg(long, value_name = "N", default_value_t = 600)]
        seconds: u32,
    },
    /// Measure the helper beside the C helper and beside the least that the protocol costs
    Bench(pr_bench::Options),
    /// Write the man pages and the shell completions of the programs to docs/, and have mandoc read the pages
    Dist {
        /// Make what users install as well: packages for Debian and for RPM, a tarball, a bill of materials and
        /// checksums, in target/dist
        #[arg(long)]
        packages: bool,
        /// For which architecture the packages are; may be given several times [default: this machine's]
        #[arg(long, value_enum, requires = "packages")]
        arch: Vec<Name>,
        /// Make the packages of the last commit twice, in different places, and compare them
        #[arg(long)]
        reproducible: bool,
    },
    /// Make pages for a browser of the manual in docs/manual
    Manual,
    /// Try the shell completions in bash, fish and zsh
    Completions,
    /// Run the helper's integration tests with a helper that one of the compiler's sanitizers watches
    Sanitize {
        /// What it looks for
        #[arg(value_enum, default_value_t = sanitize::Sanitizer::Address)]
        sanitizer: sanitize::Sanitizer,
    },
    /// Count how much of the code the quick tests run, and write it into docs/testing.md
    Coverage,
    /// Make mistakes in the code, one at a time, and find those that no test notices
    Mutants(mutants::Options),
    /// Check the dashboard's alerts, and have the exporter's page read by others' parsers
    Observability {
        /// Draw the dashboard for the manual instead, with a helper that has something to tell (nine minutes, as root)
        #[arg(long)]
        pictures: bool,
    },
    /// Hold the Kubernetes manifests and the bill of materials against others' schemas
    Schemas,
    /// Make the container image for KubeVirt's nodes, without a container engine
    Image(image::Options),
    /// Boot a virtual machine with a real SCSI stack and try a helper in it
    Bed {
        /// Which machine to boot
        #[arg(value_enum)]
        bed: e2e::Kind,
        /// The helper to try [default: this project's release build]
        #[arg(long, value_name = "PATH")]
        helper: Option<PathBuf>,
        /// Keep the root image and the kernel's console log
        #[arg(long)]
        keep: bool,
        /// Take debug builds, which take seconds to make; a package has release builds all the same
        #[arg(long)]
        debug: bool,
        /// Do what is repeated as often as a release has to pass
        #[arg(long)]
        full: bool,
        /// The kind of machine [default: uml, or tcg where that does not start or cannot do the work]
        #[arg(long, value_enum)]
        machine: Option<e2e::Machine>,
        /// The kernel of --machine tcg [default: 6.1]
        #[arg(long, value_enum)]
        kernel: Option<e2e::Version>,
        /// The release of Debian whose programs the beds host, manual and multipath-random have; 0.15.1, say, for the one
        /// that has that release of multipath-tools
        #[arg(long, value_enum, default_value_t, visible_alias = "multipath-tools")]
        suite: e2e::Suite,
        /// Take QEMU's own helper, built with multipath (ten minutes, once), and only count what does not hold
        #[arg(long, conflicts_with = "helper")]
        against_c: bool,
        #[command(flatten)]
        random: e2e::Random,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one subcommand; `false` means that it ran and something in it failed.
fn run(command: Command) -> Result<bool> {
    match command {
        Command::Demo { guest: false, .. } => demo::simulated(),
        Command::Demo { guest: true, helper } => demo::guest(helper.as_deref()),
        Command::Test { all } => Ok(test::run(if all { test::Size::All } else { test::Size::Short })),
        Command::Arch { names, check: true } => arch::check(&names),
        Command::Arch { names, check: false } => arch::run(&names),
        Command::Explore { deep, chance, before, stories, only } => {
            let mut command = workspace::cargo();
            command.args(["run", "--quiet", "--release", "--package", "pr-explore", "--"]);
            let words = [(deep, "--deep"), (chance, "--chance"), (before, "--before"), (stories, "--stories")];
            command.args(words.iter().filter(|(wanted, _)| *wanted).map(|(_, word)| word));
            command.args(only.iter().flat_map(|words| ["--only", words]));
            Ok(workspace::run(&mut command).is_ok())
        }
        Command::Fuzz(options) => fuzz::run_as(&options),
        Command::Soak { seconds } => {
            let mut command = workspace::cargo();
            command.args(["test", "--quiet", "--release", "--package", "qemu-pr-helper", "--test", "attacks", "--"]);
            command.args(["--ignored", "--nocapture", "soak::"]).env("PR_SOAK_SECONDS", seconds.to_string());
            Ok(workspace::run(&mut command).is_ok())
        }
        Command::Sanitize { sanitizer } => sanitize::run_as(sanitizer),
        Command::Coverage => coverage::run(),
        Command::Mutants(options) => mutants::run(&options),
        Command::Observability { pictures: true } => pictures::run(),
        Command::Observability { pictures: false } => observability::run(),
        Command::Schemas => schemas::run(),
        Command::Image(options) => image::run(&options),
        // After the program's name and the command's.
        Command::Bench(options) => pr_bench::run(options, env::args_os().skip(2)),
        Command::Dist { reproducible: true, .. } => archive::run_twice(),
        Command::Dist { packages: true, arch, .. } => Ok(dist::run()? && archive::run_all(&arch)?),
        Command::Dist { .. } => Ok(dist::run()? && man::lint()?),
        Command::Manual => manual::run_all(),
        Command::Completions => {
            packages::install_missing(&[packages::SHELLS])?;
            completions::check()
        }
        Command::Bed { bed, helper, keep, debug, full, machine, kernel, suite, against_c, random } => {
            packages::install_missing(&[packages::FOR_BEDS])?;
            let amount = if full { e2e::Amount::Full } else { e2e::Amount::Short };
            let options = e2e::Options { keep, story: false, debug, amount, machine, kernel, suite, random };
            let helper = if against_c { Some(e2e::c_helper::program()?) } else { helper };
            let tally = e2e::run(bed, helper.as_deref(), &options)?;
            Ok(tally.succeeded())
        }
    }
}
