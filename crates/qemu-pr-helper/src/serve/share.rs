//! One client's share: how many connections it has, and how often it is read.

use std::{sync::Arc, time::Instant};

use super::{
    hub::Hub,
    policy::Known,
    rate::{Bucket, Rates},
};
use crate::observe::{audit::Peer, metrics::METRICS};

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
        let rate = current.settings.limits.requests_per_second?;
        let burst = current.settings.limits.burst.unwrap_or(rate);
        let share = share.get_or_insert_default();
        if std::mem::take(&mut share.has_waited) {
            return None;
        }
        let bucket = share.bucket.get_or_insert_with(|| hub.rates.bucket(peer));
        let due = Rates::take(bucket, rate, burst)?;
        share.has_waited = true;
        METRICS.paused.count();
        Some(due)
    }
}

/// Whose share of connections is used up, if a client may not have one more: in words, with the limit's name.
pub fn crowded(hub: &Hub, peer: Peer) -> Option<String> {
    let current = hub.policy.current()?;
    let limits = current.settings.limits;
    if limits.connections_per_user.is_none() && limits.connections_per_process.is_none() {
        return None;
    }
    let (mut of_user, mut of_process) = (0, 0);
    for other in hub.slots.all().filter_map(|slot| slot.flight.peer()) {
        of_user += u32::from(other.uid == peer.uid);
        of_process += u32::from(other == peer && peer.pid != 0);
    }
    match limits {
        _ if limits.connections_per_process.is_some_and(|limit| of_process >= limit) => {
            Some(format!("process {} has {of_process} connections already (connections-per-process)", peer.pid))
        }
        _ if limits.connections_per_user.is_some_and(|limit| of_user >= limit) => {
            Some(format!("user {} has {of_user} connections already (connections-per-user)", peer.uid))
        }
        _ => None,
    }
}
