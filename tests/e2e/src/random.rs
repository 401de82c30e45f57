//! The bed `multipath-random`: what it does, for how long, and with which multipathd.
//!
//! A run is several machines, each for a few rounds, because the kernel's target may stop a machine with one processor: it
//! waits for a registration to be out of use without letting anybody else run. The next machine goes on with the round after.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Result, bail, ensure};
use clap::ValueEnum as _;

use super::vm::{Figures, Heard};
use super::{Kind, Options, Tally};

/// How many commands a round has at most (`ROUND` of `inside/adversary/run.rs`); one in which a promise is broken ends there.
const ROUND: u64 = 60;

/// How many rounds a machine has.
const ROUNDS: u64 = 20;

/// In how many rounds one machine may stop.
const ROUNDS_FOR_A_STOP: u64 = 12;

/// Everything that it may do to a host.
const TROUBLES: &[&str] = &["node", "shared-keys", "paths", "removal", "hang", "access", "multipathd", "kills"];

/// A release of multipath-tools: one for each suite of Debian that has a different one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Release {
    /// Debian 12's
    #[default]
    #[value(name = "0.9.4")]
    Bookworm,
    /// Debian 13's
    #[value(name = "0.11.1")]
    Trixie,
    /// That of Debian forky
    #[value(name = "0.15.1")]
    Forky,
    /// All of them, one after the other
    All,
}

impl Release {
    /// The suite that has it, unless it is the host's own.
    pub fn suite(self) -> Option<&'static str> {
        match self {
            Self::Bookworm | Self::All => None,
            Self::Trixie => Some("trixie"),
            Self::Forky => Some("forky"),
        }
    }
}

/// How many commands from which seed, and what happens meanwhile.
#[derive(Clone, Debug, clap::Args)]
pub struct Random {
    /// How many commands the bed multipath-random sends at most; 0 for the cases that have a name alone
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub commands: u64,
    /// The seed of its first round; each round has the next one, and a broken promise is told with its round's
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// What happens meanwhile, separated by commas; "" for nothing
    #[arg(long, value_name = "KINDS", value_delimiter = ',', default_values = TROUBLES)]
    pub troubles: Vec<String>,
    /// The release of multipath-tools, with the C library, udev and iSCSI tools of its suite
    #[arg(long, value_enum, default_value_t)]
    pub multipath_tools: Release,
    /// How many machines share the rounds, at the same time: they wait most of the time
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub machines: usize,
    /// Whether the cases that have a name are tried.
    #[arg(skip = true)]
    pub cases: bool,
}

impl Default for Random {
    fn default() -> Self {
        let troubles = TROUBLES.iter().map(|it| (*it).to_owned()).collect();
        Self { commands: 300, seed: 1, troubles, multipath_tools: Release::default(), machines: 1, cases: true }
    }
}

impl Random {
    /// For the program inside.
    pub fn words(&self) -> String {
        let cases = if self.cases { "cases" } else { "" };
        format!("{} {} {} {cases}", self.rounds(), self.seed, self.troubles.join(" "))
    }

    fn rounds(&self) -> u64 {
        self.commands.div_ceil(ROUND)
    }
}

/// Runs it, with one release of multipath-tools or with each.
pub fn run(helper: Option<&Path>, options: &Options) -> Result<Tally> {
    let releases: &[Release] = match options.random.multipath_tools {
        Release::All => &[Release::Bookworm, Release::Trixie, Release::Forky],
        ref one => std::slice::from_ref(one),
    };
    let mut tally = Tally::default();
    for release in releases {
        let with = run_with(*release, helper, options)?;
        tally.passed += with.passed;
        tally.failed += with.failed;
    }
    Ok(tally)
}

/// The rounds that no machine has yet, and what came of the others.
struct Rounds {
    /// From which seed up to which.
    due: Vec<(u64, u64)>,
    cases: bool,
    tally: Tally,
    figures: Figures,
    machines: u64,
    stopped: u64,
}

impl Rounds {
    /// Takes some for a machine.
    fn next(&mut self, random: &Random) -> Option<Random> {
        let (seed, end) = self.due.pop()?;
        // Each machine gets its share, where there are fewer than a machine may have.
        let share = random.rounds().div_ceil(random.machines as u64);
        let rounds = ROUNDS.min(share).min(end - seed);
        if seed + rounds < end {
            self.due.push((seed + rounds, end));
        }
        self.machines += 1;
        let cases = std::mem::take(&mut self.cases);
        Some(Random { commands: rounds * ROUND, seed, cases, ..random.clone() })
    }

    /// Takes note of what came of them; what is left of them is for another machine.
    fn heard(&mut self, of: &Random, heard: Heard) {
        self.tally.passed += heard.tally.passed;
        self.tally.failed += heard.tally.failed;
        self.figures.add(heard.figures);
        if let Some(at) = heard.stopped_at {
            self.stopped += 1;
            println!("the machine stopped in the round of seed {at}");
            let end = of.seed + of.rounds();
            if at + 1 < end {
                self.due.push((at + 1, end));
            }
        }
    }
}

fn run_with(release: Release, helper: Option<&Path>, options: &Options) -> Result<Tally> {
    let random = Random { multipath_tools: release, ..options.random.clone() };
    ensure!(random.machines > 0, "no machine has no rounds; use --machines 1");
    let due = vec![(random.seed, random.seed + random.rounds())];
    let (tally, figures) = (Tally::default(), Figures::default());
    let rounds = Mutex::new(Rounds { due, cases: random.cases, tally, figures, machines: 0, stopped: 0 });
    let lock = || rounds.lock().unwrap_or_else(PoisonError::into_inner);
    let one_after_the_other = || -> Result<()> {
        loop {
            let Some(next) = lock().next(&random) else { return Ok(()) };
            let heard =
                super::boot(Kind::MultipathRandom, helper, &Options { random: next.clone(), ..options.clone() })?;
            let mut rounds = lock();
            rounds.heard(&next, heard);
            if rounds.stopped > 1 + random.rounds() / ROUNDS_FOR_A_STOP {
                bail!("{} machines have stopped", rounds.stopped);
            }
        }
    };
    let result = thread::scope(|scope| {
        let threads: Vec<_> = (0..random.machines).map(|_| scope.spawn(one_after_the_other)).collect();
        threads.into_iter().try_for_each(|it| it.join().unwrap_or_else(|_| bail!("a thread panicked")))
    });
    let Rounds { tally, figures, machines, stopped, .. } = rounds.into_inner().unwrap_or_else(PoisonError::into_inner);
    let name = release.to_possible_value().map(|it| it.get_name().to_owned()).unwrap_or_default();
    println!("multipath-tools {name}: {machines} machines, of which {stopped} stopped\n{figures}");
    result.map(|()| tally)
}
