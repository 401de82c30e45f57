//! `cargo xtask bench`: this daemon beside Debian's C helper and beside the least that the protocol costs, in one run.
//!
//! The machine may do other things meanwhile: subjects take turns in short slices (A B B A), and what counts is the
//! ratio within a round. Nothing here is part of `cargo xtask test`, except that the instruction counts repeat exactly.
#![forbid(unsafe_code)]

mod calls;
mod dead;
mod figure;
mod goals;
mod greedy;
mod instructions;
mod isolation;
mod lun;
mod machine;
mod maps;
mod memory;
mod multipath;
mod overhead;
mod page;
mod plan;
mod plot;
mod requests;
mod start;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use e2e::{REFERENCE, our_helper};
use pr_dev::packages;
use pr_dev::workspace::{cargo, root, run as run_command, target};

use self::figure::Figure;
use self::goals::Verdict;
pub use self::instructions::run as instructions;
pub use self::multipath::works as multipath_works;
use self::page::Report;
use self::plan::{Plan, Rows};
use pr_measure::processors::{self, stay_on};
use pr_measure::subject::{BOUND, OURS, Subject, THEIRS};

/// What `cargo xtask bench` is asked to do.
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "a command line has flags")]
pub struct Options {
    /// One or two minutes instead of seven: fewer and shorter rounds
    #[arg(long)]
    quick: bool,
    /// Hold the result against the project's goals; exit with 1 if one is missed
    #[arg(long)]
    check: bool,
    /// Only these rows; what is in docs/performance/ stays as it is
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAME")]
    rows: Vec<Rows>,
    /// The helper to measure [default: this project's release build]
    #[arg(long, value_name = "PATH")]
    helper: Option<PathBuf>,
    /// Measure this daemon against itself with other options instead
    #[arg(long, conflicts_with_all = ["check", "rows"])]
    overhead: bool,
    /// Measure a polite client beside a greedy one instead, with and without limits
    #[arg(long, conflicts_with_all = ["check", "rows", "overhead", "output"])]
    greedy: bool,
    /// Measure dm-multipath maps instead, beside the C helper built with multipath (ten minutes, once)
    #[arg(long, conflicts_with_all = ["rows", "overhead", "greedy"])]
    multipath: bool,
    /// Count instructions instead, and compare with those that are recorded
    #[arg(long, conflicts_with_all = ["check", "rows", "overhead", "greedy", "multipath", "helper", "quick", "output"])]
    instructions: bool,
    /// Record them
    #[arg(long, requires = "instructions")]
    record: bool,
    /// Where to write the page, the JSON and the plots [default: docs/performance, unless --rows or --quick]
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

/// Where the result is kept.
const FOLDER: &str = "docs/performance";

/// Measures; `false` if a goal is missed and `--check` asked for it. The words are those that the options were read from.
pub fn run(options: Options, words: impl Iterator<Item = OsString>) -> Result<bool> {
    packages::install_missing(&[packages::FOR_BENCH])?;
    if options.instructions {
        return instructions(options.record);
    }
    // In a machine measures a program of its own.
    if cfg!(debug_assertions) && !options.multipath {
        return run_optimized(words);
    }
    let Options { quick, check, rows, helper, overhead, greedy, multipath, output, .. } = options;
    let whole = rows.is_empty() && !quick;
    let folder = output.or_else(|| whole.then(|| root().join(FOLDER)));
    let ours = helper.map_or_else(our_helper, |helper| {
        fs::canonicalize(&helper).with_context(|| format!("the helper {} is not there", helper.display()))
    })?;
    if multipath {
        let report = multipath::measure(&ours, quick)?;
        write(&report, "multipath", folder.as_deref())?;
        return Ok(say(&report.verdicts, check));
    }
    machine::make_room(memory::MOST)?;
    let processors = processors::usable()?;
    stay_on(&[*processors.last().context("no processor may be used")?])?;
    let plan = if quick { Plan::quick(rows, processors) } else { Plan::thorough(rows, processors) };
    if greedy {
        return greedy::run(&plan, &ours).map(|()| true);
    }
    if overhead {
        let report = overhead::measure(&plan, &ours)?;
        return write(&report, "overhead", folder.as_deref()).map(|()| true);
    }
    let subjects = [
        Subject::new(OURS, &ours),
        Subject::new(THEIRS, Path::new(REFERENCE)),
        Subject::new(BOUND, &target().join("release/bench-bound")),
    ];
    let mut report = measure(&plan, &subjects)?;
    if let Some(folder) = &folder {
        report.plots = plot::draw(&report.figures, folder)?;
    }
    write(&report, "bench", folder.as_deref())?;
    Ok(say(&report.verdicts, check))
}

/// Says how many goals are met, and which are not if that is asked for; whether they are, or it is not.
fn say(verdicts: &[Verdict], check: bool) -> bool {
    let missed: Vec<&Verdict> = verdicts.iter().filter(|verdict| !verdict.held).collect();
    if check {
        for Verdict { goal, measured, .. } in &missed {
            println!("missed: {goal}, measured {measured:.2}");
        }
    }
    println!("{} of {} goals are met", verdicts.len() - missed.len(), verdicts.len());
    !check || missed.is_empty()
}

/// The client must not be slower than what it measures: the same command once more, from a release build.
fn run_optimized(words: impl Iterator<Item = OsString>) -> Result<bool> {
    let program = optimized()?;
    let error = Command::new(&program).args(words).exec();
    Err(error).with_context(|| format!("{} cannot be started", program.display()))
}

/// The release build of the program that measures.
fn optimized() -> Result<PathBuf> {
    let package = env!("CARGO_PKG_NAME");
    run_command(cargo().args(["build", "--quiet", "--release", "--package", package, "--bins"]))?;
    Ok(target().join("release").join(package))
}

/// Measures each row once, in short: what comes out says only that all of it can be measured.
///
/// # Errors
/// A row cannot be measured.
pub fn works() -> Result<bool> {
    packages::install_missing(&[packages::FOR_BENCH])?;
    run_command(Command::new(optimized()?).arg("--quick")).map(|()| true)
}

fn measure(plan: &Plan, subjects: &[Subject]) -> Result<Report> {
    let mut figures: Vec<Figure> = Vec::new();
    let mut which = BTreeMap::new();
    let mut add = |rows: Rows, measure: &mut dyn FnMut() -> Result<Vec<Figure>>| -> Result<()> {
        if plan.wants(rows) {
            println!("measuring: {rows:?}");
            figures.extend(measure()?);
        }
        Ok(())
    };
    add(Rows::Requests, &mut || requests::measure(plan, subjects))?;
    add(Rows::Connect, &mut || requests::measure_coming(plan, subjects))?;
    add(Rows::Calls, &mut || {
        let (figures, detail) = calls::measure(plan, subjects)?;
        which = detail;
        Ok(figures)
    })?;
    add(Rows::Start, &mut || start::measure(plan, subjects))?;
    add(Rows::Memory, &mut || memory::measure(subjects))?;
    add(Rows::Isolation, &mut || isolation::measure(plan, subjects))?;
    add(Rows::Growth, &mut || memory::measure_growth(plan, subjects))?;
    add(Rows::Lun, &mut || lun::measure(plan, subjects))?;
    // Last: it moves this thread to another processor.
    add(Rows::TwoProcessors, &mut || requests::measure_on_two(plan, subjects))?;
    Ok(Report {
        title: "This daemon, the C helper, and the least that the protocol costs".to_owned(),
        machine: machine::description(plan.processors.len()),
        method: method(plan),
        subjects: subjects.iter().map(|subject| subject.name.clone()).collect(),
        compared: [THEIRS, BOUND].map(|other| (OURS.to_owned(), other.to_owned())).to_vec(),
        verdicts: goals::judge(&figures),
        figures,
        calls: which,
        plots: Vec::new(),
    })
}

fn method(plan: &Plan) -> String {
    format!(
        "Made by `cargo xtask bench`. {} interleaved rounds (A B B A) of {} ms each; one client program with one \
         outstanding request per connection, in one thread; client and server on the same processor unless a row \
         says otherwise. On one processor the second in \"requests/s\" is one of processor time, client's and \
         server's together: what a machine that does nothing else shows by the clock, and a busy one as well. Unless \
         a row says otherwise the descriptor is /dev/null's, on which `SG_IO` fails at once: what is measured is the \
         helper, not a disk. Values are medians; ratios are medians of the ratios within a round, with their \
         quartiles. \"{OURS}\" is the release build with its default options; \"{BOUND}\" is the smallest \
         single-threaded server that speaks the protocol (`crates/pr-bench/bound`), which one dead disk would stop. The \
         machine does other things as well: absolute values are this machine's at that time, ratios are what to look \
         at.",
        plan.rounds.count,
        plan.rounds.slice.as_millis()
    )
}

/// Shows the page, and writes it and the JSON if there is a place for them.
fn write(report: &Report, name: &str, folder: Option<&Path>) -> Result<()> {
    let page = report.markdown();
    println!("{page}");
    if let Some(folder) = folder {
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        for (ending, content) in [("md", page), ("json", report.json()?)] {
            let path = folder.join(format!("{name}.{ending}"));
            fs::write(&path, content).with_context(|| format!("{} cannot be written", path.display()))?;
        }
    }
    Ok(())
}
