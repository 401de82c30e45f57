//! How a client leaves: overdue, dismissed, handed over to the next process; and where one comes from that was.

use std::{sync::Arc, time::Instant};

use pr_wire::Decoder;
use rustix::net::{Shutdown, shutdown};
use tracing::{debug, trace, warn};

use super::{
    super::{ending::Reason, hub::Hub},
    Connection,
};
use crate::{
    boot::systemd::Kept,
    observe::{audit::Peer, limit::Limit},
};

impl Connection {
    /// A client that another process has accepted.
    pub fn taken_over(kept: Kept, client: u64, peer: Peer) -> Self {
        let decoder = if kept.has_negotiated { Decoder::between_requests() } else { Decoder::new() };
        Self { decoder, ..Self::new(kept.socket, client, peer) }
    }

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

    /// Whether there is nothing that another process would have to know.
    pub fn may_leave(&self) -> bool {
        self.decoder.is_idle() && self.unsent.is_none() && !self.overdue
    }

    /// Ends it here, for another process; `None` if it is in use here after all.
    pub fn hand_over(mut self, hub: &Hub) -> Option<Kept> {
        self.say(hub, &Reason::HandedOver);
        hub.router.forget(self.client);
        let has_negotiated = self.decoder.has_negotiated();
        // Whoever has just armed it may not have let go of it yet.
        let socket = match Arc::try_unwrap(self.socket) {
            Ok(socket) => socket,
            Err(shared) => shared.try_clone().ok()?,
        };
        Some(Kept { socket, has_negotiated })
    }

    /// Says why a connection ends, if that is worth a word.
    pub(super) fn say(&mut self, hub: &Hub, reason: &Reason) {
        static COMPLAINTS: Limit = Limit::new();
        reason.count();
        let Self { client, .. } = self;
        let why = reason.in_words(hub.request_timeout);
        if let Reason::Violation(_) = reason {
            trace!(target: "pr_helper_violation", client, rule = why);
        }
        trace!(target: "pr_helper_close", client, reason = why);
        if !reason.is_complaint() || hub.quiet {
            debug!("client {client} is gone: {why}");
        } else if let Some(more) = COMPLAINTS.admit(self.peer.into()) {
            warn!("hanging up on {}: {why}{more}", self.peer());
        }
    }

    /// Who the client is.
    fn peer(&self) -> String {
        match self.peer.pid {
            0 => format!("client {} of user {}", self.client, self.peer.uid),
            pid => format!("process {pid} of user {}", self.peer.uid),
        }
    }
}
