//! The audit trail: one record for each PERSISTENT RESERVE OUT, each refusal, and each time that somebody asks for new
//! settings.
//!
//! A connection's thread writes down numbers and goes on; the thread that writes the log makes words of them and asks
//! for the names that belong to them (`names`). A process that does very much gets a record for some of it, and one
//! that counts the rest (`share`): nothing is missing from the sums, and the log stays readable.

use std::{
    borrow::Cow,
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use pr_control::{Client, Count, Outcome, REQUEST_RESULTS, Record, What};
use scsi_pr::{Cdb, Command, OutAction, ReservationKey, Scope, Sense, Status};

use super::{names::Names, share::Counts, sink};
use crate::{
    clock,
    identity::Identity,
    metrics::{self, METRICS},
    peer::Origin,
};

/// How keys appear in the trail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Keys {
    /// As they are.
    #[default]
    Show,
    /// As a number that is the same for the same key until the program ends.
    Hash,
    /// Not at all.
    Hide,
}

/// What the log thread makes a record of.
pub enum Pending {
    /// A client is about to change something: now is the time to learn its names, before it can be gone.
    Introduction(Origin),
    /// A command.
    Command(Box<Done>),
    /// What was done besides.
    LeftOut(Origin, u64, Box<Counts>),
    /// A record that is one already.
    Whole(Box<Record>),
}

/// A command and what came of it, in numbers.
pub struct Done {
    /// Whose it was.
    pub origin: Origin,
    /// The device.
    pub device: Identity,
    /// The command.
    pub cdb: Cdb,
    /// The two keys that each parameter list begins with, if it was long enough.
    pub keys: Option<[ReservationKey; 2]>,
    /// How it ended.
    pub status: Status,
    /// What the device said to that.
    pub sense: Sense,
    /// How long it took.
    pub took: Duration,
    /// Why the device was not asked, if it was not.
    pub refusal: Option<Cow<'static, str>>,
    /// What there is to say besides.
    pub note: Option<String>,
    /// When it was over, in microseconds since the Unix epoch.
    pub time_us: u64,
}

static ON: AtomicBool = AtomicBool::new(false);
static SCRIBE: OnceLock<Mutex<Scribe>> = OnceLock::new();

/// From here on numbers have names, and there is an audit trail if anything is said about keys.
pub fn start(names: Arc<Names>, keys: Option<Keys>) {
    ON.store(keys.is_some(), Ordering::Relaxed);
    // Once, at the start.
    let _ = SCRIBE.set(Mutex::new(Scribe {
        names: Some(names),
        keys: keys.unwrap_or_default(),
        hasher: RandomState::new(),
        clients: VecDeque::new(),
        devices: VecDeque::new(),
    }));
}

/// Whether there is one.
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

impl Pending {
    /// The record; an introduction has none. Asks for names, so this may take a moment: for the log thread.
    pub fn resolve(self) -> Option<Record> {
        SCRIBE.get()?.lock().unwrap_or_else(PoisonError::into_inner).resolve(self)
    }
}

/// A connection's client with the names that belong to it.
pub fn client(origin: Origin) -> Client {
    let scribe = SCRIBE.get().map(|scribe| scribe.lock().unwrap_or_else(PoisonError::into_inner));
    scribe.map_or_else(|| bare_client(origin), |mut scribe| scribe.client(origin))
}

/// A device with the names that belong to it.
pub fn device(identity: Identity) -> pr_control::Device {
    let scribe = SCRIBE.get().map(|scribe| scribe.lock().unwrap_or_else(PoisonError::into_inner));
    scribe.map_or_else(|| bare_device(identity), |mut scribe| scribe.device(identity))
}

/// A record of somebody who asked for new settings: how many rules there are now, or why they are refused. The names are
/// looked up here and now: who asks is gone as soon as there is an answer.
pub fn reload(origin: Origin, path: &str, result: Result<u64, &str>) {
    if !is_on() {
        return;
    }
    let client = {
        let scribe = SCRIBE.get().map(|scribe| scribe.lock().unwrap_or_else(PoisonError::into_inner));
        scribe.map_or_else(|| bare_client(origin), |scribe| scribe.stranger(origin).0)
    };
    let (path, reason) = (clipped(path), result.err().map(clipped));
    let what = What::Reload { path, accepted: result.is_ok(), rules: result.ok(), reason };
    METRICS.audit_records.count();
    sink::audit(origin.peer, Pending::Whole(Box::new(Record { time_us: clock::unix_micros(), client, what })));
}

/// Text from elsewhere as part of one line, and no more of it than anybody reads.
fn clipped(text: &str) -> String {
    text.chars().take(CLIPPED).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// In characters.
const CLIPPED: usize = 1000;

/// Who makes words of numbers.
struct Scribe {
    names: Option<Arc<Names>>,
    keys: Keys,
    hasher: RandomState,
    clients: VecDeque<Client>,
    devices: VecDeque<(Identity, Instant, pr_control::Device)>,
}

/// How many clients and devices are remembered.
const REMEMBERED: usize = 256;

/// How long a device's names are good. Its number can be another disk's soon.
const FRESH: Duration = Duration::from_secs(5);

impl Scribe {
    fn resolve(&mut self, pending: Pending) -> Option<Record> {
        let (time_us, client, what) = match pending {
            Pending::Whole(record) => return Some(*record),
            Pending::Introduction(origin) => {
                self.client(origin);
                return None;
            }
            Pending::LeftOut(origin, time_us, counts) => {
                (time_us, self.client(origin), What::LeftOut { counts: counted(&counts) })
            }
            Pending::Command(done) => {
                let client = self.client(done.origin);
                let device = self.device(done.device);
                let command = self.command(&done);
                let outcome = Outcome {
                    status: done.status.to_string(),
                    sense: (!done.sense.is_none()).then(|| done.sense.to_string()),
                    microseconds: clock::micros(done.took),
                };
                let what = match done.refusal {
                    None => What::Command { device, command, outcome, note: done.note },
                    Some(reason) => What::Refusal { device, command, outcome, reason: reason.into_owned() },
                };
                (done.time_us, client, what)
            }
        };
        Some(Record { time_us, client, what })
    }

    fn command(&self, done: &Done) -> pr_control::Command {
        let mut command = pr_control::Command { action: done.cdb.command().to_string(), ..Default::default() };
        let Command::Out(out) = done.cdb.command() else { return command };
        let action = out.action();
        if action.is_none_or(OutAction::uses_scope_and_type) {
            command.reservation_type = Some(
                out.reservation_type()
                    .map_or_else(|| format!("{:#x}", out.scope_type & 0x0f), |kind| kind.name().to_owned()),
            );
            command.scope = (out.scope() != Scope::LOGICAL_UNIT).then(|| format!("{:#x}", out.scope_type >> 4));
        }
        if let Some([key, service_action_key]) = done.keys {
            let ignores_key = action == Some(OutAction::RegisterAndIgnoreExistingKey);
            let has_one_key = matches!(action, Some(OutAction::Reserve | OutAction::Release | OutAction::Clear));
            command.key = self.key(key).filter(|_| !ignores_key);
            command.service_action_key = self.key(service_action_key).filter(|_| !has_one_key);
        }
        command
    }

    fn key(&self, key: ReservationKey) -> Option<String> {
        match self.keys {
            // No key is no secret, and "unregister" should be seen.
            Keys::Hash if !key.is_zero() => Some(format!("#{:016x}", self.hasher.hash_one(key))),
            Keys::Hide if !key.is_zero() => None,
            _ => Some(key.to_string()),
        }
    }

    fn client(&mut self, origin: Origin) -> Client {
        if let Some(known) = self.clients.iter().rfind(|known| known.connection == origin.client) {
            return known.clone();
        }
        let (client, is_named) = self.stranger(origin);
        // Who could not be asked for now is asked for again.
        if is_named {
            remember(&mut self.clients, client.clone());
        }
        client
    }

    /// A client that nothing is known of, and whether its names could be asked for.
    fn stranger(&self, origin: Origin) -> (Client, bool) {
        let bare = bare_client(origin);
        match self.names.as_ref().and_then(|names| names.process(origin.peer.pid, origin.connected)) {
            Some(Client { program, unit, inner_unit, vm, .. }) => {
                (Client { program, unit, inner_unit, vm, ..bare }, true)
            }
            None => (bare, false),
        }
    }

    fn device(&mut self, identity: Identity) -> pr_control::Device {
        let now = Instant::now();
        self.devices.retain(|(_, since, _)| now.saturating_duration_since(*since) < FRESH);
        if let Some((_, _, known)) = self.devices.iter().find(|(known, _, _)| *known == identity) {
            return known.clone();
        }
        let named = self.names.as_ref().and_then(|names| names.disk(identity)).unwrap_or_default();
        let bare = bare_device(identity);
        let device = pr_control::Device { kind: bare.kind, number: bare.number, ..named };
        remember(&mut self.devices, (identity, now, device.clone()));
        device
    }
}

fn remember<T>(memory: &mut VecDeque<T>, value: T) {
    if memory.len() >= REMEMBERED {
        memory.pop_front();
    }
    memory.push_back(value);
}

fn bare_client(Origin { client: connection, peer, .. }: Origin) -> Client {
    let pid = Some(peer.pid).filter(|pid| *pid > 0);
    Client { connection, pid, uid: Some(peer.uid), ..Client::default() }
}

fn bare_device(identity: Identity) -> pr_control::Device {
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
#[path = "audit_tests.rs"]
mod tests;
