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
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use pr_control::{Client, Record, What};
use pr_device::Identity;
use scsi_persistent_reservations::{Cdb, ReservationKey, Sense, Status};

use self::formatter::Formatter;
pub use self::{
    quota::Quota,
    subscribers::{send, subscribe},
};
use crate::{
    clock,
    log::{self, Output},
    metrics::{ACTIONS, METRICS},
    peer::Origin,
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

static ON: AtomicBool = AtomicBool::new(false);
static FORMATTER: OnceLock<Mutex<Formatter>> = OnceLock::new();

/// From here on numbers have names, and there is an audit log if it is said how it shows keys.
pub fn start(names: Arc<Names>, keys: Option<Keys>) {
    ON.store(keys.is_some(), Ordering::Relaxed);
    // Once, at the start.
    let _ = FORMATTER.set(Mutex::new(Formatter::new(Some(names), keys.unwrap_or_default())));
}

/// Whether there is an audit log.
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

fn formatter() -> Option<MutexGuard<'static, Formatter>> {
    FORMATTER.get().map(|formatter| formatter.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A connection's client with the names that belong to it.
pub fn client(origin: Origin) -> Client {
    formatter().map_or_else(|| formatter::bare_client(origin), |mut formatter| formatter.client(origin))
}

/// A device with the names that belong to it.
pub fn device(identity: Identity) -> pr_control::Device {
    formatter().map_or_else(|| formatter::bare_device(identity), |mut formatter| formatter.device(identity))
}

/// Records that a client asked for new settings: how many rules there are now, or why they are refused. The names are
/// looked up here and now: the client is gone as soon as it has its answer.
pub fn reload(origin: Origin, path: &str, result: Result<u64, &str>) {
    if !is_on() {
        return;
    }
    let client =
        formatter().map_or_else(|| formatter::bare_client(origin), |formatter| formatter.look_up_client(origin).0);
    let (path, reason) = (clipped(path), result.err().map(clipped));
    let what = What::Reload { path, accepted: result.is_ok(), rules: result.ok(), reason };
    METRICS.audit_records.count();
    log::record(origin.peer, Box::new(Record { time_us: clock::unix_micros(), client, what }));
}

/// Text from another process as part of one line, of a length that is still read.
fn clipped(text: &str) -> String {
    text.chars().take(CLIPPED).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// In characters.
const CLIPPED: usize = 1000;

impl Event {
    /// The record of it. Asks for names, so this may take a moment: for the log thread.
    pub fn resolve(self) -> Option<Record> {
        formatter().map(|mut formatter| formatter.event(self))
    }
}

impl log::Record for Prefetch {
    fn write(self: Box<Self>, _: &mut Output) {
        client(self.0);
    }
}

impl log::Record for Event {
    fn write(self: Box<Self>, output: &mut Output) {
        if let Some(record) = self.resolve() {
            write(&record, output);
        }
    }
}

impl log::Record for Suppressed {
    fn write(self: Box<Self>, output: &mut Output) {
        let record = formatter().map(|mut formatter| formatter.suppressed(*self));
        if let Some(record) = record {
            write(&record, output);
        }
    }
}

impl log::Record for Record {
    fn write(self: Box<Self>, output: &mut Output) {
        write(&self, output);
    }
}

/// Subscribers first: they cannot hold anything up.
fn write(record: &Record, output: &mut Output) {
    send(record);
    output.record(record);
}

/// What the log thread has to do for the audit log besides writing what is queued.
pub struct Backlog;

impl log::Backlog for Backlog {
    fn is_pending(&self) -> bool {
        subscribers::has_backlog() || quota::is_pending()
    }

    fn flush(&self) {
        subscribers::flush();
        quota::flush();
    }

    fn finish(&self) {
        quota::finish();
    }
}
