//! What the bed `multipath-random` does, for how long, and with which multipathd.

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
}

impl Release {
    /// The suite that has it, unless it is the host's own.
    pub fn suite(self) -> Option<&'static str> {
        match self {
            Self::Bookworm => None,
            Self::Trixie => Some("trixie"),
            Self::Forky => Some("forky"),
        }
    }
}

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
    /// The release of multipath-tools, with the C library, udev and iSCSI tools of its suite
    #[arg(long, value_enum, default_value_t)]
    pub multipath_tools: Release,
}

impl Default for Random {
    fn default() -> Self {
        let troubles = TROUBLES.iter().map(|it| (*it).to_owned()).collect();
        Self { commands: 300, seed: 1, troubles, multipath_tools: Release::default() }
    }
}

impl Random {
    /// For the program inside.
    pub fn words(&self) -> String {
        format!("{} {} {}", self.commands, self.seed, self.troubles.join(" "))
    }
}
