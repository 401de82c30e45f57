//! What the subcommands share: the global options, and how one is run.

use clap::Args;

use crate::{error::Error, target::Helper};

/// The options that any subcommand takes.
#[derive(Debug, Args)]
pub struct Global {
    #[command(flatten)]
    pub helper: Helper,

    /// Print JSON
    #[arg(long, global = true, display_order = 100)]
    pub json: bool,
}

/// A subcommand.
pub trait Run {
    /// Carries it out and prints the result; the exit status.
    fn run(&self, global: &Global) -> Result<u8, Error>;

    /// Whether `--json` prints a value a line.
    fn prints_lines(&self) -> bool {
        false
    }
}
