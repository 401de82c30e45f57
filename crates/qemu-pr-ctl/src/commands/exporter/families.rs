//! What is told of a helper: each family of metrics, and where its numbers stand in a snapshot.

use std::collections::BTreeMap;

use pr_control::{BUCKETS, HUNG_US, Named, REQUEST_RESULTS, Snapshot};
use scsi_pr::{InAction, OutAction};

use super::openmetrics::{Format, Kind, Sample, seconds};

/// A helper, as far as it could be asked.
pub struct Helper {
    /// The label that tells it from the others, where there are any.
    pub label: Option<String>,
    /// Its answer.
    pub snapshot: Option<Snapshot>,
}

/// A family of metrics.
struct Family {
    /// Its name, behind `qemu_pr_helper_`.
    name: &'static str,
    kind: Kind,
    help: &'static str,
    samples: fn(&Snapshot) -> Vec<Sample>,
}

/// The page.
pub fn page(format: Format, helpers: &[Helper]) -> String {
    let mut text = String::new();
    let up = |helper: &Helper| Some(gauge(u64::from(helper.snapshot.is_some())));
    let help = "Whether the helper answers at its control socket.";
    format.family(&mut text, "qemu_pr_helper_up", Kind::Gauge, help, &labelled(helpers, up));
    for Family { name, kind, help, samples } in FAMILIES {
        let samples = labelled(helpers, |helper| helper.snapshot.as_ref().map(samples));
        format.family(&mut text, &format!("qemu_pr_helper_{name}"), *kind, help, &samples);
    }
    format.end(&mut text);
    text
}

/// The samples of all helpers, each with the label of its own.
fn labelled(helpers: &[Helper], samples: impl Fn(&Helper) -> Option<Vec<Sample>>) -> Vec<Sample> {
    let mut all = Vec::new();
    for helper in helpers {
        for mut sample in samples(helper).into_iter().flatten() {
            sample.labels.extend(helper.label.clone().map(|label| ("helper", label)));
            all.push(sample);
        }
    }
    all
}

const FAMILIES: &[Family] = &[
    Family {
        name: "build",
        kind: Kind::Info,
        help: "The version of the helper.",
        samples: |snapshot| {
            let labels = vec![("version", snapshot.version.clone())];
            vec![Sample { suffix: "_info", labels, value: "1".to_owned() }]
        },
    },
    Family {
        name: "start_time_seconds",
        kind: Kind::Gauge,
        help: "When the helper started, since the Unix epoch.",
        samples: |snapshot| one("", seconds(snapshot.started_us)),
    },
    Family {
        name: "requests",
        kind: Kind::Counter,
        help: "Requests that were answered, by service action and result.",
        samples: requests,
    },
    Family {
        name: "request_duration_seconds",
        kind: Kind::Histogram,
        help: "How long requests took, by service action and result.",
        samples: durations,
    },
    Family {
        name: "connections",
        kind: Kind::Gauge,
        help: "Connections that are open.",
        samples: |snapshot| gauge(number(snapshot.connections.len())),
    },
    Family {
        name: "connections_max",
        kind: Kind::Gauge,
        help: "How many connections the helper serves at the most.",
        samples: |snapshot| gauge(snapshot.max_connections),
    },
    Family {
        name: "connections_accepted",
        kind: Kind::Counter,
        help: "Connections that were accepted.",
        samples: |snapshot| total(snapshot.totals.accepted),
    },
    Family {
        name: "connections_turned_away",
        kind: Kind::Counter,
        help: "Connections that were closed at once because all places were taken.",
        samples: |snapshot| total(snapshot.totals.turned_away),
    },
    Family {
        name: "connections_over_limit",
        kind: Kind::Counter,
        help: "Connections that were closed at once because their user or process had enough of them.",
        samples: |snapshot| total(snapshot.totals.over_limit),
    },
    Family {
        name: "requests_delayed",
        kind: Kind::Counter,
        help: "Times that a connection had to wait because its process was over its rate.",
        samples: |snapshot| total(snapshot.totals.paused),
    },
    Family {
        name: "connections_overdue",
        kind: Kind::Counter,
        help: "Connections that were closed because the client did not go on in time.",
        samples: |snapshot| total(snapshot.totals.overdue),
    },
    Family {
        name: "violations",
        kind: Kind::Counter,
        help: "Clients that broke the protocol, by the rule that they broke.",
        samples: |snapshot| named("rule", &snapshot.violations),
    },
    Family {
        name: "refusals",
        kind: Kind::Counter,
        help: "Requests that were answered without asking the device, by reason.",
        samples: |snapshot| named("reason", &snapshot.refusals),
    },
    Family {
        name: "commands_in_flight",
        kind: Kind::Gauge,
        help: "Commands that devices are at now.",
        samples: |snapshot| gauge(number(ages(snapshot).count())),
    },
    Family {
        name: "commands_hung",
        kind: Kind::Gauge,
        help: "Commands that a device has been at for more than 5 seconds.",
        samples: |snapshot| gauge(number(ages(snapshot).filter(|age| *age > HUNG_US).count())),
    },
    Family {
        name: "oldest_command_seconds",
        kind: Kind::Gauge,
        help: "For how long the oldest command has been in flight; 0 if none is.",
        samples: |snapshot| one("", seconds(ages(snapshot).max().unwrap_or_default())),
    },
    Family {
        name: "multipath_commands",
        kind: Kind::Counter,
        help: "Commands that were given to the multipath broker.",
        samples: |snapshot| total(snapshot.totals.multipath_commands),
    },
    Family {
        name: "multipath_commands_in_flight",
        kind: Kind::Gauge,
        help: "Commands that the multipath broker is at now.",
        samples: |snapshot| gauge(snapshot.totals.multipath_in_flight),
    },
    Family {
        name: "multipath_failures",
        kind: Kind::Counter,
        help: "Multipath commands without an answer: their process died, the time was over, or there was none.",
        samples: |snapshot| total(snapshot.totals.multipath_failures),
    },
    Family {
        name: "audit_records",
        kind: Kind::Counter,
        help: "Audit records that were written.",
        samples: |snapshot| total(snapshot.totals.audit_records),
    },
    Family {
        name: "audit_left_out",
        kind: Kind::Counter,
        help: "Commands that were counted in an audit record and have none of their own.",
        samples: |snapshot| total(snapshot.totals.audit_left_out),
    },
    Family {
        name: "audit_without_names",
        kind: Kind::Gauge,
        help: "1 once audit records have no names any more, because the process that looks them up is gone.",
        samples: |snapshot| gauge(snapshot.totals.without_names),
    },
    Family {
        name: "messages_lost",
        kind: Kind::Counter,
        help: "Messages, traces and records that were lost because nobody took them in time.",
        samples: |snapshot| total(snapshot.totals.messages_lost),
    },
];

fn one(suffix: &'static str, value: String) -> Vec<Sample> {
    vec![Sample { suffix, labels: Vec::new(), value }]
}

fn gauge(value: u64) -> Vec<Sample> {
    one("", value.to_string())
}

fn total(value: u64) -> Vec<Sample> {
    one("_total", value.to_string())
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn sum<'a>(numbers: impl IntoIterator<Item = &'a u64>) -> u64 {
    numbers.into_iter().fold(0, |sum, number| sum.saturating_add(*number))
}

/// For how long each command has been in flight, in microseconds.
fn ages(snapshot: &Snapshot) -> impl Iterator<Item = u64> {
    snapshot.connections.iter().filter_map(|connection| connection.in_flight.as_ref()).map(|command| command.for_us)
}

/// Every action with every result, those that never came up with 0: what is not there before it happens cannot be seen
/// to grow.
fn requests(snapshot: &Snapshot) -> Vec<Sample> {
    let reads = InAction::ALL.iter().map(ToString::to_string);
    let changes = OutAction::ALL.iter().map(ToString::to_string);
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    for action in reads.chain(changes) {
        for result in REQUEST_RESULTS {
            counts.insert((action.clone(), result.to_owned()), 0);
        }
    }
    for requests in &snapshot.requests {
        let count = counts.entry((requests.action.clone(), requests.result.clone())).or_default();
        *count = count.saturating_add(sum(&requests.buckets));
    }
    let samples = counts.into_iter().map(|((action, result), count)| Sample {
        suffix: "_total",
        labels: vec![("action", action), ("result", result)],
        value: count.to_string(),
    });
    samples.collect()
}

fn durations(snapshot: &Snapshot) -> Vec<Sample> {
    // A page with the same line twice is worth nothing to those who read it.
    let mut times: BTreeMap<(&str, &str), ([u64; BUCKETS.len() + 1], u64)> = BTreeMap::new();
    for requests in &snapshot.requests {
        let (buckets, all_us) = times.entry((&requests.action, &requests.result)).or_default();
        for (bucket, count) in buckets.iter_mut().zip(&requests.buckets) {
            *bucket = bucket.saturating_add(*count);
        }
        *all_us = all_us.saturating_add(requests.sum_us);
    }
    let mut samples = Vec::new();
    for ((action, result), (buckets, all_us)) in times {
        let labels = || vec![("action", action.to_owned()), ("result", result.to_owned())];
        let bounds = BUCKETS.iter().map(|bound| seconds(*bound)).chain(["+Inf".to_owned()]);
        let mut count: u64 = 0;
        for (bound, bucket) in bounds.zip(buckets) {
            count = count.saturating_add(bucket);
            let mut labels = labels();
            labels.push(("le", bound));
            samples.push(Sample { suffix: "_bucket", labels, value: count.to_string() });
        }
        samples.push(Sample { suffix: "_sum", labels: labels(), value: seconds(all_us) });
        samples.push(Sample { suffix: "_count", labels: labels(), value: count.to_string() });
    }
    samples
}

fn named(label: &'static str, all: &[Named]) -> Vec<Sample> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for Named { name, count } in all {
        let known = counts.entry(name).or_default();
        *known = known.saturating_add(*count);
    }
    let samples = counts.into_iter().map(|(name, count)| Sample {
        suffix: "_total",
        labels: vec![(label, name.to_owned())],
        value: count.to_string(),
    });
    samples.collect()
}
