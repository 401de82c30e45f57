//! How connections end.

use std::time::Duration;

use pr_wire::Violation;
use rustix::io::Errno;

use crate::metrics::METRICS;

/// Why a connection ends.
pub enum Reason {
    /// The client has hung up between requests.
    Finished,
    /// The client broke the protocol.
    Violation(Violation),
    /// The client did not send, or take, the rest in time.
    Overdue,
    /// The connection broke.
    Broken(Errno),
    /// The program ends.
    Draining,
}

impl Reason {
    /// For the figures.
    pub fn count(&self) {
        match self {
            Self::Violation(violation) => METRICS.violation(*violation),
            Self::Overdue => METRICS.overdue.count(),
            Self::Finished | Self::Broken(_) | Self::Draining => {}
        }
    }

    /// Whether an administrator should hear of it.
    pub const fn is_complaint(&self) -> bool {
        matches!(self, Self::Violation(_) | Self::Overdue | Self::Broken(_))
    }

    /// In words; `timeout` is how long a client may owe something.
    pub fn in_words(&self, timeout: Duration) -> String {
        match self {
            Self::Finished => "the client hung up".to_owned(),
            Self::Draining => "this program ends".to_owned(),
            Self::Violation(violation) => violation.to_string(),
            Self::Overdue => format!("it left a request or an answer unfinished for {timeout:?}"),
            Self::Broken(error) => error.to_string(),
        }
    }
}
