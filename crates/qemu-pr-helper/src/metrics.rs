//! Counters. Every thread writes them, and the control socket reads them; none ever waits for another.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use pr_broker::message::Figures;
use pr_control::{BUCKETS, Named, REQUEST_RESULTS, Requests, Totals, request_result};
use qemu_pr_protocol::Violation;
use scsi_persistent_reservations::{Cdb, Command, InAction, OutAction, Status};

use crate::clock::micros;

const RESULTS: usize = REQUEST_RESULTS.len();
const IN_ACTIONS: usize = InAction::ALL.len();
const OUT_ACTIONS: usize = OutAction::ALL.len();

/// The service actions, and one place for those without a name of each command.
pub const ACTIONS: usize = IN_ACTIONS + 1 + OUT_ACTIONS + 1;

/// Why a request is answered without its device being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// A PERSISTENT RESERVE OUT on a descriptor that is open for reading only.
    ReadOnly,
    /// A rule says so, or no rule says otherwise.
    Policy,
    /// A key, or an action, beyond what the client may use.
    Keys,
    /// Whether a rule is about it cannot be told now.
    NoNames,
    /// As many commands as there may be are under way on the device.
    BusyDevice,
    /// The device is a part of a disk, and the command would reach all of it.
    Part,
}

impl Refusal {
    /// Each in one word, in the order of the variants.
    const NAMES: [&str; 6] = ["read-only-descriptor", "policy", "keys", "no-names", "busy-device", "part-of-disk"];
}

const _: () = assert!(Refusal::Part as usize + 1 == Refusal::NAMES.len(), "each refusal has a name");

/// A number that only grows.
pub struct Counter(AtomicU64);

/// A number that another process tells, and that may fall.
#[derive(Default)]
struct Gauge(AtomicU64);

/// How many requests took how long.
struct Histogram {
    buckets: [Counter; BUCKETS.len() + 1],
    sum_us: Counter,
}

/// The counters of a server.
pub struct Metrics {
    requests: [[Histogram; RESULTS]; ACTIONS],
    violations: [Counter; Violation::RULES.len()],
    refusals: [Counter; Refusal::NAMES.len()],
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections for which there was no place.
    pub turned_away: Counter,
    /// Connections of users or processes that had enough of them.
    pub over_limit: Counter,
    /// How often a connection had to wait for its process' rate.
    pub paused: Counter,
    /// Connections that owed something for too long.
    pub overdue: Counter,
    /// Commands that the multipath broker was asked to carry out.
    pub multipath_asked: Counter,
    /// Those of them that came back, also because they were none for it.
    pub multipath_returned: Counter,
    /// Those that were for a map.
    pub multipath_commands: Counter,
    /// Those for a map that came back without an answer of a device.
    pub multipath_failures: Counter,
    /// What there was to say about maps, besides answers.
    pub multipath_notes: Counter,
    /// See [`Figures`].
    multipath_maps: Gauge,
    multipath_suspended: Gauge,
    multipath_deaths: Gauge,
    multipath_restored: Gauge,
    /// Audit records.
    pub audit_records: Counter,
    /// Commands that are only counted in an audit record.
    pub audit_left_out: Counter,
    /// One once the name lookup process is gone.
    pub without_names: Counter,
}

impl Counter {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub fn count(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// How many there are.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Gauge {
    fn set(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        const fn histogram() -> Histogram {
            Histogram { buckets: [const { Counter::new() }; BUCKETS.len() + 1], sum_us: Counter::new() }
        }
        Self {
            requests: [const { [const { histogram() }; RESULTS] }; ACTIONS],
            violations: [const { Counter::new() }; Violation::RULES.len()],
            refusals: [const { Counter::new() }; Refusal::NAMES.len()],
            accepted: Counter::new(),
            turned_away: Counter::new(),
            over_limit: Counter::new(),
            paused: Counter::new(),
            overdue: Counter::new(),
            multipath_asked: Counter::new(),
            multipath_returned: Counter::new(),
            multipath_commands: Counter::new(),
            multipath_failures: Counter::new(),
            multipath_notes: Counter::new(),
            multipath_maps: Gauge::default(),
            multipath_suspended: Gauge::default(),
            multipath_deaths: Gauge::default(),
            multipath_restored: Gauge::default(),
            audit_records: Counter::new(),
            audit_left_out: Counter::new(),
            without_names: Counter::new(),
        }
    }
}

impl Metrics {
    /// A request was answered.
    pub fn request(&self, cdb: &Cdb, status: Status, took: Duration) {
        let micros = micros(took);
        let histogram = &self.requests[action(cdb)][request_result(status.0)];
        let bucket = BUCKETS.iter().position(|bound| micros <= *bound).unwrap_or(BUCKETS.len());
        histogram.buckets[bucket].count();
        histogram.sum_us.add(micros);
    }

    /// A client broke the protocol.
    pub fn violation(&self, violation: Violation) {
        self.violations[violation.rule()].count();
    }

    /// A request was answered without its device being asked.
    pub fn refusal(&self, reason: Refusal) {
        self.refusals[reason as usize].count();
    }

    /// The broker tells how its maps are.
    pub fn multipath(&self, Figures { maps, suspended, deaths, restored }: Figures) {
        self.multipath_maps.set(maps);
        self.multipath_suspended.set(suspended);
        self.multipath_deaths.set(deaths);
        self.multipath_restored.set(restored);
    }

    /// The sums.
    pub fn totals(&self, messages_lost: u64) -> Totals {
        // In this order, so that the difference is never below zero.
        let returned = self.multipath_returned.get();
        let asked = self.multipath_asked.get();
        Totals {
            accepted: self.accepted.get(),
            turned_away: self.turned_away.get(),
            over_limit: self.over_limit.get(),
            paused: self.paused.get(),
            overdue: self.overdue.get(),
            multipath_commands: self.multipath_commands.get(),
            multipath_in_flight: asked.saturating_sub(returned),
            multipath_failures: self.multipath_failures.get(),
            multipath_notes: self.multipath_notes.get(),
            multipath_maps: self.multipath_maps.get(),
            multipath_suspended: self.multipath_suspended.get(),
            multipath_deaths: self.multipath_deaths.get(),
            multipath_restored: self.multipath_restored.get(),
            audit_records: self.audit_records.get(),
            audit_left_out: self.audit_left_out.get(),
            without_names: self.without_names.get(),
            messages_lost,
        }
    }

    /// The requests, by action and result.
    pub fn requests(&self) -> Vec<Requests> {
        let pairs = (0..ACTIONS).flat_map(|action| (0..RESULTS).map(move |result| (action, result)));
        let all = pairs.map(|(action, result)| {
            let Histogram { buckets, sum_us } = &self.requests[action][result];
            Requests {
                action: action_name(action),
                result: REQUEST_RESULTS[result].to_owned(),
                buckets: buckets.iter().map(Counter::get).collect(),
                sum_us: sum_us.get(),
            }
        });
        all.filter(|requests| requests.count() > 0).collect()
    }

    /// The violations, by rule: all rules, so that a counter is there before it counts.
    pub fn violations(&self) -> Vec<Named> {
        named(&Violation::RULES, &self.violations)
    }

    /// The refusals, by reason.
    pub fn refusals(&self) -> Vec<Named> {
        named(&Refusal::NAMES, &self.refusals)
    }
}

fn named(names: &[&str], counters: &[Counter]) -> Vec<Named> {
    let pairs = names.iter().zip(counters);
    pairs.map(|(name, counter)| Named { name: (*name).to_owned(), count: counter.get() }).collect()
}

/// The place of a command's service action.
pub fn action(cdb: &Cdb) -> usize {
    match cdb.command() {
        Command::In(command) => usize::from(command.service_action).min(IN_ACTIONS),
        Command::Out(command) => IN_ACTIONS + 1 + usize::from(command.service_action).min(OUT_ACTIONS),
    }
}

/// The name of a service action by its place.
pub fn action_name(place: usize) -> String {
    let out = || OutAction::ALL.get(place.checked_sub(IN_ACTIONS + 1)?).map(ToString::to_string);
    match InAction::ALL.get(place) {
        Some(action) => action.to_string(),
        None if place == IN_ACTIONS => "OTHER IN".to_owned(),
        None => out().unwrap_or_else(|| "OTHER OUT".to_owned()),
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    fn cdb(operation: u8, action: u8) -> Cdb {
        let mut bytes = [0; 16];
        [bytes[0], bytes[1]] = [operation, action];
        Cdb::new(bytes).unwrap()
    }

    #[test]
    fn every_service_action_has_a_place_with_its_name() {
        let names =
            |operation| -> Vec<String> { (0..32).map(|code| action_name(action(&cdb(operation, code)))).collect() };
        let (ins, outs) = (names(0x5e), names(0x5f));
        assert_eq!(ins[..5], ["READ KEYS", "READ RESERVATION", "REPORT CAPABILITIES", "READ FULL STATUS", "OTHER IN"]);
        assert_eq!(outs[5], "PREEMPT AND ABORT");
        assert_eq!(outs[8..10], ["REPLACE LOST RESERVATION", "OTHER OUT"]);
        assert_eq!((ins[31].as_str(), outs[31].as_str()), ("OTHER IN", "OTHER OUT"));
        // Those who read the figures know the names in advance.
        let known: Vec<String> = (0..ACTIONS).map(action_name).filter(|name| !name.starts_with("OTHER ")).collect();
        assert_eq!(known, pr_control::REQUEST_ACTIONS);
    }

    #[test]
    fn every_refusal_is_counted_by_its_own_name() {
        let metrics = Metrics::default();
        // In the order of the names.
        let all =
            [Refusal::ReadOnly, Refusal::Policy, Refusal::Keys, Refusal::NoNames, Refusal::BusyDevice, Refusal::Part];
        for (times, refusal) in all.into_iter().enumerate() {
            (0..times).for_each(|_| metrics.refusal(refusal));
        }
        let counted: Vec<_> = metrics.refusals().into_iter().map(|named| (named.name, named.count)).collect();
        let expected = Refusal::NAMES.iter().map(|name| (*name).to_owned()).zip(0..);
        assert_eq!(counted, expected.collect::<Vec<_>>());
    }

    #[test]
    fn a_request_is_counted_once_in_its_bucket() {
        let metrics = Metrics::default();
        let micros = Duration::from_micros;
        for took in [micros(50), micros(51), micros(30_000_001)] {
            metrics.request(&cdb(0x5f, 3), Status::RESERVATION_CONFLICT, took);
        }
        let requests = metrics.requests();
        assert_eq!(requests.len(), 1);
        assert_eq!((requests[0].action.as_str(), requests[0].result.as_str()), ("CLEAR", "conflict"));
        assert_eq!(requests[0].count(), 3);
        assert_eq!((requests[0].buckets[0], requests[0].buckets[1], requests[0].buckets[BUCKETS.len()]), (1, 1, 1));
        assert_eq!(requests[0].sum_us, 30_000_102);
    }
}
