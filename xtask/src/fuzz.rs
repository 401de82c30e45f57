//! `cargo xtask fuzz`: the fuzzers of `fuzz/`, built with the address sanitizer and run side by side.
//!
//! The layout is cargo-fuzz's, and `RUSTC_BOOTSTRAP=1 cargo fuzz run decoder` works as well. It is not used here: all it
//! does is to call Cargo with these flags, and a fresh machine would build it for two minutes first.

use std::{
    env, fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use pr_dev::workspace::{cargo, output, root, run, target};

/// What the compiler is told: to count which code runs and what is compared with what, to have every memory access
/// checked, and to keep the checks of a debug build.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares -Zsanitizer=address -Cdebug-assertions \
                     -Ccodegen-units=1";

/// How much of a failure is shown, in lines: what happened, and most of where.
const SHOWN: usize = 40;

/// What is fuzzed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Target {
    /// The protocol's decoder, its bytes cut anywhere
    Decoder,
    /// Every parser of commands, parameter lists, answers and sense data
    Vocabulary,
    /// The settings file
    Settings,
    /// -T, its patterns and its files
    TracePatterns,
    /// The unit of a process, by its control group
    Units,
    /// What the program's own processes, and the control socket, say to each other
    BrokerReplies,
    /// The whole server, and clients that do anything
    Session,
}

/// How to fuzz.
#[derive(clap::Args)]
pub struct Options {
    /// What to fuzz [default: everything]
    #[arg(value_enum)]
    target: Option<Target>,
    /// How long each, in seconds
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// Only repeat what these bytes do
    #[arg(long, value_name = "FILE", requires = "target")]
    input: Option<PathBuf>,
}

/// Runs one fuzzer or all, or repeats one input; false if something was found.
pub fn run_as(options: &Options) -> Result<bool> {
    build()?;
    match (options.target, &options.input) {
        (Some(target), Some(input)) => Ok(target.command()?.arg(fs::canonicalize(input)?).status()?.success()),
        (Some(target), None) => run_all(&[target], options.seconds),
        (None, _) => run_all(Target::value_variants(), options.seconds),
    }
}

/// Runs all for so many seconds each; false if something was found.
pub fn check(seconds: u32) -> Result<bool> {
    build()?;
    run_all(Target::value_variants(), seconds)
}

/// Cargo for the package of the fuzzers, with the fuzzers' flags. `RUSTC_BOOTSTRAP` because the sanitizers' switch is
/// not a stable one, though the sanitizers come with the stable compiler.
pub fn cargo_with(words: &str) -> Result<Command> {
    let mut command = cargo();
    command
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", FLAGS)
        .env("CARGO_TARGET_DIR", folder())
        .args(words.split(' '));
    // A target of its own keeps the flags away from build scripts.
    command.args(["--release", "--target", &host()?, "--manifest-path", "fuzz/Cargo.toml"]);
    Ok(command)
}

fn build() -> Result<()> {
    run(&mut cargo_with("build --quiet --locked")?)
}

fn folder() -> PathBuf {
    target().join("fuzz")
}

/// The machine's own target.
fn host() -> Result<String> {
    let version = output(Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV does not say what the host is")
}

/// As many side by side as there are processors.
fn run_all(targets: &[Target], seconds: u32) -> Result<bool> {
    let mut held = true;
    for some in targets.chunks(thread::available_parallelism()?.get()) {
        let started: Vec<_> = some.iter().map(|target| target.start(seconds)).collect();
        for (target, child) in some.iter().zip(started) {
            held &= target.report(child?)?;
        }
    }
    Ok(held)
}

impl Target {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The longest input that is worth trying, in bytes.
    const fn longest(self) -> u32 {
        match self {
            // A whole parameter list.
            Self::Decoder => 8400,
            Self::Vocabulary => 1024,
            Self::TracePatterns | Self::Units => 512,
            Self::Settings | Self::BrokerReplies | Self::Session => 4096,
        }
    }

    /// The fuzzer, with the limits that hold whatever it runs.
    fn command(self) -> Result<Command> {
        let (name, folder) = (self.name(), folder());
        let artifacts = folder.join("artifacts").join(&name);
        let temporary = folder.join("tmp");
        for folder in [&artifacts, &temporary] {
            fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        }
        let mut command = Command::new(folder.join(host()?).join("release").join(&name));
        // libFuzzer shows where it was.
        command
            .current_dir(root())
            .env("TMPDIR", temporary)
            .env("RUST_BACKTRACE", "0")
            // On a busy machine a fuzzer may stand still for longer than any input takes.
            .args(["-timeout=60", "-rss_limit_mb=2048"]);
        command.arg(format!("-artifact_prefix={}/", artifacts.display()));
        Ok(command)
    }

    /// Starts it with what it has learnt so far, and what the repository has for it.
    fn start(self, seconds: u32) -> Result<Child> {
        let name = self.name();
        let learnt = folder().join("corpus").join(&name);
        fs::create_dir_all(&learnt).with_context(|| format!("{} cannot be made", learnt.display()))?;
        let mut command = self.command()?;
        command.arg(format!("-max_total_time={seconds}")).arg(format!("-max_len={}", self.longest()));
        command.arg("-print_final_stats=1");
        let dictionary = root().join("fuzz/dict").join(format!("{name}.dict"));
        if dictionary.exists() {
            command.arg(format!("-dict={}", dictionary.display()));
        }
        let log = fs::File::create(self.log())?;
        command.arg(learnt).arg(root().join("fuzz/corpus").join(&name));
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        child.with_context(|| format!("the fuzzer {name} cannot be started"))
    }

    fn log(self) -> PathBuf {
        folder().join(format!("{}.log", self.name()))
    }

    /// Waits for its end, and says what came of it.
    fn report(self, mut child: Child) -> Result<bool> {
        let status = child.wait()?;
        let log = String::from_utf8_lossy(&fs::read(self.log())?).into_owned();
        let name = self.name();
        let stat = |what: &str| {
            log.lines()
                .find_map(|line| line.strip_prefix(what))
                .map_or("?", |value| value.trim_start_matches(':').trim())
        };
        if status.success() {
            let coverage =
                log.lines().rev().find_map(|line| line.split("cov: ").nth(1)).and_then(|rest| rest.split(' ').next());
            println!(
                "{name}: {} runs, {} a second, {} places in the code",
                stat("stat::number_of_executed_units"),
                stat("stat::average_exec_per_sec"),
                coverage.unwrap_or("?")
            );
            return Ok(true);
        }
        println!("{name}: {status}; all that it said is in {}", self.log().display());
        // What comes before the failure are the fuzzer's own remarks.
        let failures = ["panicked at", "ERROR: ", "ALARM: "];
        let lines = log.lines().skip_while(|line| !failures.iter().any(|failure| line.contains(failure)));
        lines.take(SHOWN).for_each(|line| println!("  {line}"));
        if let Some(input) = log.lines().find_map(|line| line.split("Test unit written to ").nth(1)) {
            println!("again: cargo xtask fuzz {name} --input {}", input.trim());
        }
        Ok(false)
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    #[test]
    fn each_target_is_a_program_of_the_fuzzers_and_has_inputs() {
        let fuzz = root().join("fuzz");
        for target in Target::value_variants() {
            let name = target.name();
            assert!(fuzz.join(format!("fuzz_targets/{name}.rs")).is_file(), "{name}");
            assert!(fuzz.join("corpus").join(&name).is_dir(), "{name}");
        }
    }
}
