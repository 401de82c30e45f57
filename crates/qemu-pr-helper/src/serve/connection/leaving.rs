//! How a client leaves: overdue, or dismissed.

use std::time::Instant;

use rustix::net::{Shutdown, shutdown};
use tracing::{debug, trace, warn};

use super::{
    super::{ending::Reason, hub::Hub},
    Connection,
};
use crate::{log::RateLimit, peer::Origin};

impl Connection {
    /// Hangs up if the client's time is over; whether it has a deadline.
    pub fn check_deadline(&mut self, now: Instant) -> bool {
        let Some(deadline) = self.deadline else { return false };
        if now >= deadline && !self.overdue {
            self.overdue = true;
            // The socket reports this like anything else that happens to it.
            let _ = shutdown(&self.socket, Shutdown::Both);
        }
        true
    }

    /// Takes no request any more that is not on its way already, unless the client is owed something or owes it; whether
    /// that is so. A client that sends one now gets an error before any of it is sent, and QEMU then connects anew. If
    /// the connection were just closed, the request could have been sent and nobody would read it: that is a failure,
    /// which the guest sees.
    pub fn dismiss(&self) -> bool {
        let may_go = self.decoder.is_idle() && self.unsent.is_none();
        if may_go {
            // The socket reports this like anything else that happens to it.
            let _ = shutdown(&self.socket, Shutdown::Read);
        }
        may_go
    }

    /// Says why a connection ends, if that is worth a word.
    pub(super) fn say(&mut self, hub: &Hub, reason: &Reason) {
        static COMPLAINTS: RateLimit = RateLimit::new();
        reason.count();
        let client = self.origin.client;
        let why = reason.in_words(hub.request_timeout);
        if let Reason::Violation(_) = reason {
            trace!(target: "pr_helper_violation", client, rule = why);
        }
        trace!(target: "pr_helper_close", client, reason = why);
        if !reason.is_complaint() || hub.quiet {
            debug!("client {client} is gone: {why}");
        } else if let Some(more) = COMPLAINTS.admit(self.origin.peer.into()) {
            warn!("hanging up on {}: {why}{more}", self.peer());
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
