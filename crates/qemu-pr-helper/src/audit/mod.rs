//! The audit log: one record for each PERSISTENT RESERVE OUT, each refusal, and each attempt to load new settings.
//!
//! A connection's thread queues numbers and goes on; the thread that writes the log makes words of them and asks for the
//! names that belong to them (`formatter`). A process that does very much gets a record for some of it, and one that
//! counts the rest (`quota`): nothing is missing from the sums, and the log stays readable.

mod formatter;
mod quota;
mod subscribers;

use std::{
    borrow::Cow,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pr_control::{Client, Record, What};
use pr_device::Identity;
use scsi_persistent_reservations::{Cdb, ReservationKey, Sense, Status};

pub use self::quota::Quota;
use self::{formatter::Formatter, quota::Quotas, subscribers::Subscribers};
use crate::{
    clock,
    log::{self, Log, Output},
    metrics::{ACTIONS, Metrics},
    peer::{Origin, Peer},
    resolver::names::Names,
};

/// `--audit-keys`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Keys {
    /// Print the key.
    #[default]
    Show,
    /// Print a salted hash, which is the same for the same key until the program ends.
    Hash,
    /// Omit the key.
    Hide,
}

/// A command and its result, in numbers.
pub struct Event {
    pub origin: Origin,
    pub device: Identity,
    pub cdb: Cdb,
    /// The two keys that each parameter list begins with, if it was long enough.
    pub keys: Option<[ReservationKey; 2]>,
    pub status: Status,
    pub sense: Sense,
    pub took: Duration,
    /// Why the command was not sent to the device, if it was not.
    pub refusal: Option<Cow<'static, str>>,
    /// What an administrator should know besides.
    pub note: Option<String>,
    /// When it was over, in microseconds since the Unix epoch.
    pub time_us: u64,
}

/// A client is about to change something: its names are looked up now, before it can be gone.
struct Prefetch(Origin);

/// How often a client did what, by action and result.
type Counts = [[u32; pr_control::REQUEST_RESULTS.len()]; ACTIONS];

/// The commands of a process that have no records of their own.
struct Suppressed {
    /// The connection that sent the last of them.
    origin: Origin,
    time_us: u64,
    counts: Box<Counts>,
}

/// The audit log of a server, and the names that belong to numbers.
pub struct Audit {
    is_on: bool,
    log: Arc<Log>,
    metrics: Arc<Metrics>,
    formatter: Mutex<Formatter>,
    quotas: Quotas,
    subscribers: Subscribers,
}

/// Something for the log thread to write, and whose audit log it is in.
struct Queued<T> {
    audit: Arc<Audit>,
    entry: T,
}

impl Audit {
    /// Numbers have names as far as these are known, and there is an audit log if it is said how it shows keys.
    pub fn new(log: Arc<Log>, metrics: Arc<Metrics>, names: Option<Arc<Names>>, keys: Option<Keys>) -> Self {
        Self {
            is_on: keys.is_some(),
            log,
            metrics,
            formatter: Mutex::new(Formatter::new(names, keys.unwrap_or_default())),
            quotas: Quotas::default(),
            subscribers: Subscribers::default(),
        }
    }

    /// Whether there is an audit log.
    pub const fn is_on(&self) -> bool {
        self.is_on
    }

    fn formatter(&self) -> MutexGuard<'_, Formatter> {
        self.formatter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection's client with the names that belong to it.
    pub fn client(&self, origin: Origin) -> Client {
        self.formatter().client(origin)
    }

    /// A device with the names that belong to it.
    pub fn device(&self, identity: Identity) -> pr_control::Device {
        self.formatter().device(identity)
    }

    /// The record of a command. Asks for names, so this may take a moment: for the log thread.
    pub fn resolve(&self, event: Event) -> Record {
        self.formatter().event(event)
    }

    /// Records that a client asked for new settings: how many rules there are now, or why they are refused. The names are
    /// looked up here and now: the client is gone as soon as it has its answer.
    pub fn reload(self: &Arc<Self>, origin: Origin, path: &str, result: Result<u64, &str>) {
        if !self.is_on {
            return;
        }
        let client = self.formatter().look_up_client(origin).0;
        let (path, reason) = (clipped(path), result.err().map(clipped));
        let what = What::Reload { path, accepted: result.is_ok(), rules: result.ok(), reason };
        self.metrics.audit_records.count();
        self.queue(origin.peer, Record { time_us: clock::unix_micros(), client, what });
    }

    /// Sends every record from here on to a stream socket of this user as well, after `Following`. Nothing must be able to
    /// arrive on it any more.
    ///
    /// # Errors
    /// There are enough already; here is the socket again. The last place is root's.
    pub fn subscribe(&self, socket: OwnedFd, user: u32) -> Result<(), OwnedFd> {
        self.subscribers.add(socket, user)
    }

    /// Sends a record to all subscribers.
    pub fn send(&self, record: &Record) {
        self.subscribers.send(record);
    }

    /// Subscribers first: they cannot hold anything up.
    fn write(&self, record: &Record, output: &mut Output) {
        self.send(record);
        output.record(record);
    }

    /// Leaves something that this process has caused to the log thread.
    fn queue<T>(self: &Arc<Self>, peer: Peer, entry: T)
    where
        Queued<T>: log::Record + 'static,
    {
        self.log.record(peer, Box::new(Queued { audit: Arc::clone(self), entry }));
    }
}

/// Text from another process as part of one line, of a length that is still read.
fn clipped(text: &str) -> String {
    text.chars().take(CLIPPED).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// In characters.
const CLIPPED: usize = 1000;

impl log::Record for Queued<Prefetch> {
    fn write(self: Box<Self>, _: &mut Output) {
        self.audit.client(self.entry.0);
    }
}

impl log::Record for Queued<Event> {
    fn write(self: Box<Self>, output: &mut Output) {
        let Self { audit, entry } = *self;
        audit.write(&audit.resolve(entry), output);
    }
}

impl log::Record for Queued<Suppressed> {
    fn write(self: Box<Self>, output: &mut Output) {
        let Self { audit, entry } = *self;
        let record = audit.formatter().suppressed(entry);
        audit.write(&record, output);
    }
}

impl log::Record for Queued<Record> {
    fn write(self: Box<Self>, output: &mut Output) {
        self.audit.write(&self.entry, output);
    }
}

/// What the log thread has to do for an audit log besides writing what is queued.
pub struct Backlog(pub Arc<Audit>);

impl log::Backlog for Backlog {
    fn is_pending(&self) -> bool {
        self.0.subscribers.has_backlog() || self.0.quotas.is_pending()
    }

    fn flush(&self) {
        self.0.subscribers.flush();
        quota::flush(&self.0);
    }

    fn finish(&self) {
        quota::finish(&self.0);
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests;
