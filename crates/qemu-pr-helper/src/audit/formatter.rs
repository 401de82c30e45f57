//! Makes audit records of events: looks names up, and shows or masks keys.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{Duration, Instant},
};

use pr_control::{Client, Count, Outcome, REQUEST_RESULTS, Record, What};
use pr_device::Identity;
use scsi_persistent_reservations::{Command, OutAction, ReservationKey, Scope};

use super::{Counts, Event, Keys, Suppressed};
use crate::{clock, metrics, peer::Origin, resolver::names::Names};

/// Formats audit events.
pub struct Formatter {
    names: Option<Arc<Names>>,
    keys: Keys,
    /// Salted at every start.
    hasher: RandomState,
    clients: VecDeque<Client>,
    devices: VecDeque<(Identity, Instant, pr_control::Device)>,
}

/// How many clients and devices are cached.
const CACHED: usize = 256;

/// How long a device's names are cached. Its number can be another disk's soon.
const FRESH: Duration = Duration::from_secs(5);

impl Formatter {
    pub fn new(names: Option<Arc<Names>>, keys: Keys) -> Self {
        Self { names, keys, hasher: RandomState::new(), clients: VecDeque::new(), devices: VecDeque::new() }
    }

    /// The record of a command.
    pub fn event(&mut self, event: Event) -> Record {
        let client = self.client(event.origin);
        let device = self.device(event.device);
        let command = self.command(&event);
        let outcome = Outcome {
            status: event.status.to_string(),
            sense: (!event.sense.is_none()).then(|| event.sense.to_string()),
            microseconds: clock::micros(event.took),
        };
        let what = match event.refusal {
            None => What::Command { device, command, outcome, note: event.note },
            Some(reason) => What::Refusal { device, command, outcome, reason: reason.into_owned() },
        };
        Record { time_us: event.time_us, client, what }
    }

    /// The record of commands that have none of their own.
    pub fn suppressed(&mut self, Suppressed { origin, time_us, counts }: Suppressed) -> Record {
        Record { time_us, client: self.client(origin), what: What::LeftOut { counts: counted(&counts) } }
    }

    fn command(&self, event: &Event) -> pr_control::Command {
        let mut command = pr_control::Command { action: event.cdb.command().to_string(), ..Default::default() };
        let Command::Out(out) = event.cdb.command() else { return command };
        let action = out.action();
        if action.is_none_or(OutAction::uses_scope_and_type) {
            command.reservation_type = Some(
                out.reservation_type()
                    .map_or_else(|| format!("{:#x}", out.scope_type & 0x0f), |kind| kind.name().to_owned()),
            );
            command.scope = (out.scope() != Scope::LOGICAL_UNIT).then(|| format!("{:#x}", out.scope_type >> 4));
        }
        if let Some([key, service_action_key]) = event.keys {
            let ignores_key = action == Some(OutAction::RegisterAndIgnoreExistingKey);
            let has_one_key = matches!(action, Some(OutAction::Reserve | OutAction::Release | OutAction::Clear));
            command.key = self.key(key).filter(|_| !ignores_key);
            command.service_action_key = self.key(service_action_key).filter(|_| !has_one_key);
        }
        command
    }

    fn key(&self, key: ReservationKey) -> Option<String> {
        match self.keys {
            // The key zero is no secret: it is how an unregistration is recognised.
            Keys::Hash if !key.is_zero() => Some(format!("#{:016x}", self.hasher.hash_one(key))),
            Keys::Hide if !key.is_zero() => None,
            _ => Some(key.to_string()),
        }
    }

    /// A connection's client with its names.
    pub fn client(&mut self, origin: Origin) -> Client {
        if let Some(known) = self.clients.iter().rfind(|known| known.connection == origin.client) {
            return known.clone();
        }
        let (client, is_named) = self.look_up_client(origin);
        // Where the resolver did not answer it is asked again the next time.
        if is_named {
            cache(&mut self.clients, client.clone());
        }
        client
    }

    /// The same without the cache, and whether the names could be looked up.
    pub fn look_up_client(&self, origin: Origin) -> (Client, bool) {
        let bare = bare_client(origin);
        match self.names.as_ref().and_then(|names| names.process(origin.peer.pid, origin.connected)) {
            Some(Client { program, unit, inner_unit, vm, .. }) => {
                (Client { program, unit, inner_unit, vm, ..bare }, true)
            }
            None => (bare, false),
        }
    }

    /// A device with its names.
    pub fn device(&mut self, identity: Identity) -> pr_control::Device {
        let now = Instant::now();
        self.devices.retain(|(_, since, _)| now.saturating_duration_since(*since) < FRESH);
        if let Some((_, _, known)) = self.devices.iter().find(|(known, _, _)| *known == identity) {
            return known.clone();
        }
        let named = self.names.as_ref().and_then(|names| names.disk(identity)).unwrap_or_default();
        let bare = bare_device(identity);
        let device = pr_control::Device { kind: bare.kind, number: bare.number, ..named };
        cache(&mut self.devices, (identity, now, device.clone()));
        device
    }
}

fn cache<T>(cache: &mut VecDeque<T>, value: T) {
    if cache.len() >= CACHED {
        cache.pop_front();
    }
    cache.push_back(value);
}

/// A client in numbers alone.
pub fn bare_client(Origin { client: connection, peer, .. }: Origin) -> Client {
    let pid = Some(peer.pid).filter(|pid| *pid > 0);
    Client { connection, pid, uid: Some(peer.uid), ..Client::default() }
}

/// A device in numbers alone.
pub fn bare_device(identity: Identity) -> pr_control::Device {
    let kind = identity.kind.name().to_owned();
    pr_control::Device { kind, number: identity.number().to_string(), ..Default::default() }
}

fn counted(counts: &Counts) -> Vec<Count> {
    let pairs = counts
        .iter()
        .enumerate()
        .flat_map(|(action, results)| results.iter().enumerate().map(move |(result, count)| (action, result, *count)));
    pairs
        .filter(|(_, _, count)| *count > 0)
        .map(|(action, result, count)| Count {
            action: metrics::action_name(action),
            result: REQUEST_RESULTS[result].to_owned(),
            count: count.into(),
        })
        .collect()
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
#[path = "formatter_tests.rs"]
mod tests;
