//! Limits of one client: how many connections it has, and how often it is read.

use std::{sync::Arc, time::Instant};

use super::{Policy, facts::Known};
use crate::{
    bucket::{Bucket, Rate, Shares},
    clock,
    peer::Peer,
};

/// What is kept for a connection as long as there are settings.
#[derive(Default)]
pub struct ClientState {
    /// What is known of its client.
    pub known: Box<Known>,
    bucket: Option<Arc<Bucket>>,
    /// It has waited for the next request already.
    has_waited: bool,
}

impl ClientState {
    /// Whether its client's requests have to wait for their turns.
    pub const fn is_limited(&self) -> bool {
        self.bucket.is_some()
    }
}

/// What a process and a user may have of the connections in any case, where the settings do not say.
const PROCESS: usize = 64;
const USER: usize = 256;

/// Beyond that they have more only as long as one of so many is free: a process leaves half of them to others, a user a
/// sixteenth, because all guests of a host may be one user's.
const PROCESS_LEAVES: usize = 2;
const USER_LEAVES: usize = 16;

impl Policy {
    /// A client's next request is about to be read; until when that has to wait first, if it has to.
    pub fn delay(&self, state: &mut Option<Box<ClientState>>, peer: Peer) -> Option<Instant> {
        let current = self.current()?;
        let per_second = current.settings.limits.requests_per_second?;
        let rate = Rate { per_second, burst: current.settings.limits.burst.unwrap_or(per_second) };
        let state = state.get_or_insert_default();
        if std::mem::take(&mut state.has_waited) {
            return None;
        }
        let bucket = state.bucket.get_or_insert_with(|| Shares::of(&self.buckets, peer));
        let due = bucket.book(clock::now(), rate)?;
        state.has_waited = true;
        Some(clock::instant(due))
    }

    /// Whether a client may have one more connection besides these, of so many that there may be.
    ///
    /// # Errors
    /// Whose limit is reached, in words with the limit's name.
    pub fn check_connections(
        &self,
        peer: Peer,
        connected: impl Iterator<Item = Peer>,
        capacity: usize,
    ) -> Result<(), String> {
        let limits = self.current().map(|current| current.settings.limits).unwrap_or_default();
        let (mut of_user, mut of_process, mut all) = (0, 0, 0);
        for other in connected {
            of_user += usize::from(other.uid == peer.uid);
            of_process += usize::from(other == peer && peer.pid != 0);
            all += 1;
        }
        let is_reached = |limit: Option<u32>, has: usize, least: usize, leaves: usize| match limit {
            Some(limit) => has >= limit as usize,
            None => has >= least && capacity - all.min(capacity) <= capacity / leaves,
        };
        if is_reached(limits.connections_per_process, of_process, PROCESS, PROCESS_LEAVES) {
            return Err(format!("process {} has {of_process} connections already (connections-per-process)", peer.pid));
        }
        if is_reached(limits.connections_per_user, of_user, USER, USER_LEAVES) {
            return Err(format!("user {} has {of_user} connections already (connections-per-user)", peer.uid));
        }
        Ok(())
    }
}
