//! How a connection ends, and what is logged about that.

use std::time::{Duration, Instant};

use qemu_pr_protocol::Violation;
use rustix::{
    io::Errno,
    net::{Shutdown, shutdown},
};
use tracing::{debug, trace, warn};

use super::{super::shared::Shared, Connection};
use crate::{metrics::Metrics, peer::Origin};

/// Why a connection ends.
pub enum Reason {
    /// The client has closed it between requests.
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
    /// For the metrics.
    fn count(&self, metrics: &Metrics) {
        match self {
            Self::Violation(violation) => metrics.violation(*violation),
            Self::Overdue => metrics.overdue.count(),
            Self::Finished | Self::Broken(_) | Self::Draining => {}
        }
    }

    /// Whether an administrator should know.
    pub const fn is_complaint(&self) -> bool {
        matches!(self, Self::Violation(_) | Self::Overdue | Self::Broken(_))
    }

    /// In words; `timeout` is `--request-timeout`.
    pub fn in_words(&self, timeout: Duration) -> String {
        match self {
            Self::Finished => "the client closed the connection".to_owned(),
            Self::Draining => "this program shuts down".to_owned(),
            Self::Violation(violation) => violation.to_string(),
            Self::Overdue => format!("it left a request or an answer unfinished for {timeout:?}"),
            Self::Broken(error) => error.to_string(),
        }
    }
}

impl Connection {
    /// Closes it if the client's time is over; whether it has a deadline.
    pub fn expire(&mut self, now: Instant) -> bool {
        let Some(deadline) = self.deadline else { return false };
        if now >= deadline && !self.is_overdue {
            self.is_overdue = true;
            // The socket reports this like anything else that happens to it.
            let _ = shutdown(&self.socket, Shutdown::Both);
        }
        true
    }

    /// Reads no request any more that is not on its way already, if the connection is between requests; whether it is. A client that sends one now gets an error before any of it is sent, and QEMU then connects again. If
    /// the connection were just closed, the request could have been sent and would never be read: that is a failure,
    /// which the guest sees.
    pub fn close_if_idle(&self) -> bool {
        let is_idle = self.decoder.is_idle() && self.unsent.is_none();
        if is_idle {
            // The socket reports this like anything else that happens to it.
            let _ = shutdown(&self.socket, Shutdown::Read);
        }
        is_idle
    }

    /// Logs why it ends.
    pub fn log_close(&self, shared: &Shared, reason: &Reason) {
        reason.count(&shared.metrics);
        let client = self.origin.client;
        let why = reason.in_words(shared.request_timeout);
        if let Reason::Violation(_) = reason {
            trace!(target: "pr_helper_violation", client, rule = why);
        }
        trace!(target: "pr_helper_close", client, reason = why);
        if !reason.is_complaint() || shared.quiet {
            debug!("client {client} is disconnected: {why}");
        } else if let Some(more) = shared.complaints.admit(self.origin.peer.into()) {
            warn!("closing the connection of {}: {why}{more}", self.peer());
        }
    }

    /// Who the client is.
    fn peer(&self) -> String {
        let Origin { client, peer, .. } = self.origin;
        match peer.pid {
            0 => format!("client {client} of user {}", peer.uid),
            pid => format!("process {pid} of user {}", peer.uid),
        }
    }
}
