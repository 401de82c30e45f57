//! The rounds of the bed `multipath-random`.
//!
//! A run is several machines, each for a few rounds, because the kernel's target may stop a machine with one processor: it
//! waits for a registration to be out of use without letting anybody else run. The next machine goes on with the round after.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Result, bail, ensure};

use crate::boot::boot;
use crate::kind::Kind;
use crate::options::Options;
use crate::random::{ROUND, Random};
use crate::vm::{Figures, Heard, Tally};

/// How many rounds a machine has.
const ROUNDS: u64 = 20;

/// In how many rounds one machine may stop.
const ROUNDS_FOR_A_STOP: u64 = 12;

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

/// Runs it, with multipath-tools of one release of Debian.
pub fn run(helper: Option<&Path>, options: &Options) -> Result<Tally> {
    let random = options.random.clone();
    ensure!(random.machines > 0, "no machine has no rounds; use --machines 1");
    let due = vec![(random.seed, random.seed + random.rounds())];
    let (tally, figures) = (Tally::default(), Figures::default());
    let rounds = Mutex::new(Rounds { due, cases: random.cases, tally, figures, machines: 0, stopped: 0 });
    let lock = || rounds.lock().unwrap_or_else(PoisonError::into_inner);
    let one_after_the_other = || -> Result<()> {
        loop {
            let Some(next) = lock().next(&random) else { return Ok(()) };
            let heard = boot(Kind::MultipathRandom, helper, &Options { random: next.clone(), ..options.clone() })?;
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
    println!("multipath-tools of {}: {machines} machines, of which {stopped} stopped\n{figures}", options.suite);
    result.map(|()| tally)
}
