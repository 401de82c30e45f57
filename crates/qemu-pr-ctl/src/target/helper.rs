//! The helper, as the command line names it.

use std::{path::PathBuf, time::Duration};

use clap::{
    Args,
    builder::{NonEmptyStringValueParser, TypedValueParser},
};
use pr_sim::InitiatorPort;

/// Where a helper listens, and how long to wait for it.
#[derive(Debug, Args)]
pub struct Helper {
    /// Unix socket of the helper
    #[arg(
        short = 'k',
        long,
        value_name = "PATH",
        global = true,
        display_order = 100,
        default_value = DEFAULT_SOCKET
    )]
    pub socket: PathBuf,

    #[arg(
        long,
        value_name = "SECONDS",
        global = true,
        display_order = 100,
        help = "Time to wait for an answer [default: 90; at a control socket: 5]",
        value_parser = seconds
    )]
    timeout: Option<Duration>,

    /// Name of the initiator to act as, with a simulated disk
    #[arg(long = "as", value_name = "NAME", global = true, display_order = 100, value_parser = initiator())]
    pub initiator: Option<InitiatorPort>,
}

/// Where the C helper listens by default, and so does this one.
pub const DEFAULT_SOCKET: &str = "/var/run/qemu-pr-helper.sock";

impl Helper {
    /// A helper that is not named on the command line.
    pub const fn at(socket: PathBuf, timeout: Duration) -> Self {
        Self { socket, timeout: Some(timeout), initiator: None }
    }

    /// How long to wait for a command. The default is longer than the helper lets any take by its own defaults.
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_secs(90))
    }

    /// How long to wait at a control socket, where no disk is waited for.
    pub fn control_timeout(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_secs(5))
    }
}

/// An initiator by its name: a simulated disk knows it by a number that is made of that.
fn initiator() -> impl TypedValueParser<Value = InitiatorPort> {
    NonEmptyStringValueParser::new().map(|name| InitiatorPort::named(&name))
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("expected a whole number of seconds from 1 to 86400".to_owned()),
    }
}
