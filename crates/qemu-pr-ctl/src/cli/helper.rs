//! The commands about a helper instead of a disk: they go to its control socket.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use super::{DEFAULT_CONTROL, trial};

/// Which helper.
#[derive(Debug, Args)]
pub struct Helper {
    /// The control socket of the helper, or a folder with no other in it
    #[arg(long, value_name = "PATH", default_value = DEFAULT_CONTROL)]
    pub control: PathBuf,
}

/// Which settings.
#[derive(Debug, Args)]
pub struct Reload {
    /// The settings file [default: the one that the helper has]
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,

    #[command(flatten)]
    pub helper: Helper,
}

/// What `state` is to show.
#[derive(Debug, Args)]
pub struct State {
    #[command(flatten)]
    pub helper: Helper,

    /// Show it again and again, until interrupted
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2",
        value_parser = trial::time
    )]
    pub watch: Option<Duration>,
}

/// What is to be traced.
#[derive(Debug, Subcommand)]
pub enum Trace {
    /// Trace these events from now on
    Enable(Patterns),
    /// No longer trace these events
    Disable(Patterns),
    /// List the events that are traced now
    List(Helper),
}

/// Some events.
#[derive(Debug, Args)]
pub struct Patterns {
    /// An event, or several with * and ? (qemu-pr-helper -T help lists all)
    #[arg(value_name = "PATTERN", required = true, value_parser = pattern)]
    pub patterns: Vec<String>,

    #[command(flatten)]
    pub helper: Helper,
}

/// Where the figures come from, where they are served, and as whom.
#[derive(Debug, Args)]
#[command(after_long_help = EXPORTER)]
pub struct Exporter {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9437", value_parser = address)]
    pub listen: SocketAddr,

    /// The user to serve as, if this is started as root [default: nobody]
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,

    /// The control socket of a helper; may be repeated
    #[arg(long, value_name = "PATH", default_value = DEFAULT_CONTROL)]
    pub control: Vec<PathBuf>,
}

const EXPORTER: &str = "\
Pages:
  /metrics  OpenMetrics text; text/plain gets that of Prometheus 0.0.4
  /healthz  the exporter itself is well
  /         where the others are

A helper that cannot be asked has qemu_pr_helper_up 0. With several --control
every metric has a label helper with the path.

It needs no privileges but those to use the control socket: start the helper
with --control-group GROUP, and this as a member of that group. Started as root
it keeps the sockets' groups and becomes USER before it answers anybody.
";

fn pattern(text: &str) -> Result<String, String> {
    match text.as_bytes() {
        [] => Err("it is the name of an event".to_owned()),
        [b'-', ..] => Err("no event begins with a hyphen; 'trace disable' disables".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "it is an address in numbers and a port, 127.0.0.1:9437 or [::1]:9437".to_owned())
}
