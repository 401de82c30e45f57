//! One client's share: how many connections it has, and how often it is read.

use std::{sync::Arc, time::Instant};

use super::{hub::Hub, policy::Known};
use crate::{
    bucket::{Bucket, Rate},
    clock,
    metrics::METRICS,
    peer::Peer,
};

/// What is kept for a connection as long as there are settings.
#[derive(Default)]
pub struct Share {
    /// What is known of its client.
    pub known: Box<Known>,
    bucket: Option<Arc<Bucket>>,
    /// It has waited for the next request already.
    has_waited: bool,
}

impl Share {
    /// Whether its client's requests have to wait for their turns.
    pub const fn is_limited(&self) -> bool {
        self.bucket.is_some()
    }

    /// The connection is about to be read; until when it has to wait first, if it has to.
    pub fn wait(share: &mut Option<Box<Self>>, hub: &Hub, peer: Peer) -> Option<Instant> {
        let current = hub.policy.current()?;
        let per_second = current.settings.limits.requests_per_second?;
        let rate = Rate { per_second, burst: current.settings.limits.burst.unwrap_or(per_second) };
        let share = share.get_or_insert_default();
        if std::mem::take(&mut share.has_waited) {
            return None;
        }
        let bucket = share.bucket.get_or_insert_with(|| hub.rates.bucket(peer));
        let due = bucket.book(clock::now(), rate)?;
        share.has_waited = true;
        METRICS.paused.count();
        Some(clock::instant(due))
    }
}

/// What a process and a user may have of the places in any case, where the settings do not say.
const PROCESS: usize = 64;
const USER: usize = 256;

/// Beyond that they have more only as long as one of so many places is free: a process leaves half of them to others, a
/// user a sixteenth, because all guests of a host may be one user's.
const PROCESS_LEAVES: usize = 2;
const USER_LEAVES: usize = 16;

/// Whose share of connections is used up, if a client may not have one more: in words, with the limit's name.
pub fn crowded(hub: &Hub, peer: Peer) -> Option<String> {
    let limits = hub.policy.current().map(|current| current.settings.limits).unwrap_or_default();
    let (mut of_user, mut of_process, mut all) = (0, 0, 0);
    for other in hub.slots.all().filter_map(|slot| slot.flight.peer()) {
        of_user += usize::from(other.uid == peer.uid);
        of_process += usize::from(other == peer && peer.pid != 0);
        all += 1;
    }
    let capacity = hub.slots.capacity();
    let is_used_up = |limit: Option<u32>, has: usize, least: usize, leaves: usize| match limit {
        Some(limit) => has >= limit as usize,
        None => has >= least && capacity - all.min(capacity) <= capacity / leaves,
    };
    if is_used_up(limits.connections_per_process, of_process, PROCESS, PROCESS_LEAVES) {
        return Some(format!("process {} has {of_process} connections already (connections-per-process)", peer.pid));
    }
    is_used_up(limits.connections_per_user, of_user, USER, USER_LEAVES)
        .then(|| format!("user {} has {of_user} connections already (connections-per-user)", peer.uid))
}
