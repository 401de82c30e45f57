//! The bed `multipath-random`: what it does, for how long, and with which multipathd.
//!
//! A run is several machines, each for a few rounds, because the kernel's target may stop a machine with one processor: it
//! waits for a registration to be out of use without letting anybody else run. The next machine goes on with the round after.

use std::path::Path;

use anyhow::{Result, bail};

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
    /// Whether the cases that have a name are tried.
    #[arg(skip = true)]
    pub cases: bool,
}

impl Default for Random {
    fn default() -> Self {
        let troubles = TROUBLES.iter().map(|it| (*it).to_owned()).collect();
        Self { commands: 300, seed: 1, troubles, multipath_tools: Release::default(), cases: true }
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

fn run_with(release: Release, helper: Option<&Path>, options: &Options) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut stopped = 0;
    let (mut seed, end) = (options.random.seed, options.random.seed + options.random.rounds());
    loop {
        let rounds = ROUNDS.min(end - seed);
        let random = Random {
            commands: rounds * ROUND,
            seed,
            multipath_tools: release,
            cases: options.random.cases && seed == options.random.seed,
            ..options.random.clone()
        };
        let heard = super::boot(Kind::MultipathRandom, helper, &Options { random, ..options.clone() })?;
        tally.passed += heard.tally.passed;
        tally.failed += heard.tally.failed;
        match heard.stopped_at {
            None => seed += rounds,
            Some(at) => {
                stopped += 1;
                println!("the machine stopped in the round of seed {at}");
                if stopped > 1 + options.random.rounds() / ROUNDS_FOR_A_STOP {
                    bail!("{stopped} machines have stopped");
                }
                seed = at + 1;
            }
        }
        if seed >= end {
            return Ok(tally);
        }
    }
}
