//! What the bed `multipath-random` does, and for how long.

/// How many commands a round has at most (`ROUND` of `inside/adversary/run.rs`); one in which a promise is broken ends there.
pub const ROUND: u64 = 60;

/// Everything that it may do to a host.
const TROUBLES: &[&str] = &["node", "shared-keys", "paths", "removal", "hang", "access", "multipathd", "kills"];

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
        Self { commands: 300, seed: 1, troubles, machines: 1, cases: true }
    }
}

impl Random {
    /// For the program inside.
    pub fn words(&self) -> String {
        let cases = if self.cases { "cases" } else { "" };
        format!("{} {} {} {cases}", self.rounds(), self.seed, self.troubles.join(" "))
    }

    /// How many rounds that takes.
    pub fn rounds(&self) -> u64 {
        self.commands.div_ceil(ROUND)
    }
}
