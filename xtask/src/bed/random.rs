//! What the bed `multipath-random` does, and for how long.

/// Everything that it may do to a host.
const TROUBLES: &[&str] =
    &["node", "shared-keys", "paths", "removal", "hang", "access", "multipathd", "kills"];

/// How many commands from which seed, and what happens meanwhile.
#[derive(Clone, Debug, clap::Args)]
pub struct Random {
    /// How many commands the bed multipath-random sends
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub commands: usize,
    /// The seed of its first round; each round has the next one, and a broken promise is told with its round's
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// What happens meanwhile, separated by commas; "" for nothing
    #[arg(long, value_name = "KINDS", value_delimiter = ',', default_values = TROUBLES)]
    pub troubles: Vec<String>,
}

impl Default for Random {
    fn default() -> Self {
        Self { commands: 300, seed: 1, troubles: TROUBLES.iter().map(|it| (*it).to_owned()).collect() }
    }
}

impl Random {
    /// For the program inside.
    pub fn words(&self) -> String {
        format!("{} {} {}", self.commands, self.seed, self.troubles.join(" "))
    }
}
