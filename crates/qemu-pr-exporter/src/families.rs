//! The families of metrics, and where their values stand in a snapshot.

use std::collections::BTreeMap;

use pr_control::{BUCKETS, HUNG_US, Named, REQUEST_ACTIONS, REQUEST_RESULTS, Snapshot};

use crate::openmetrics::{Format, Kind, Sample, seconds};

/// A helper and its snapshot.
pub struct Helper {
    /// The label that distinguishes it from other helpers, if there are any.
    pub label: Option<String>,
    /// `None` if it does not answer.
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
        help: "Requests answered, by service action and result.",
        samples: requests,
    },
    Family {
        name: "request_duration_seconds",
        kind: Kind::Histogram,
        help: "Duration of requests, by service action and result.",
        samples: durations,
    },
    Family {
        name: "connections",
        kind: Kind::Gauge,
        help: "Open connections.",
        samples: |snapshot| gauge(number(snapshot.connections.len())),
    },
    Family {
        name: "connections_max",
        kind: Kind::Gauge,
        help: "The connection limit of the helper.",
        samples: |snapshot| gauge(snapshot.max_connections),
    },
    Family {
        name: "connections_accepted",
        kind: Kind::Counter,
        help: "Connections accepted.",
        samples: |snapshot| total(snapshot.totals.accepted),
    },
    Family {
        name: "connections_turned_away",
        kind: Kind::Counter,
        help: "Connections rejected at the connection limit.",
        samples: |snapshot| total(snapshot.totals.turned_away),
    },
    Family {
        name: "connections_over_limit",
        kind: Kind::Counter,
        help: "Connections rejected at the limit of their user or process.",
        samples: |snapshot| total(snapshot.totals.over_limit),
    },
    Family {
        name: "requests_delayed",
        kind: Kind::Counter,
        help: "Times that a connection was delayed by the rate limit of its process.",
        samples: |snapshot| total(snapshot.totals.paused),
    },
    Family {
        name: "connections_overdue",
        kind: Kind::Counter,
        help: "Connections closed because the client did not complete a request in time.",
        samples: |snapshot| total(snapshot.totals.overdue),
    },
    Family {
        name: "violations",
        kind: Kind::Counter,
        help: "Protocol violations of clients, by rule.",
        samples: |snapshot| named("rule", &snapshot.violations),
    },
    Family {
        name: "refusals",
        kind: Kind::Counter,
        help: "Requests refused without being sent to the device, by reason.",
        samples: |snapshot| named("reason", &snapshot.refusals),
    },
    Family {
        name: "commands_in_flight",
        kind: Kind::Gauge,
        help: "Commands in flight.",
        samples: |snapshot| gauge(number(ages(snapshot).count())),
    },
    Family {
        name: "commands_hung",
        kind: Kind::Gauge,
        help: "Commands in flight for more than 5 seconds.",
        samples: |snapshot| gauge(number(ages(snapshot).filter(|age| *age > HUNG_US).count())),
    },
    Family {
        name: "oldest_command_seconds",
        kind: Kind::Gauge,
        help: "Age of the oldest command in flight; 0 if there is none.",
        samples: |snapshot| one("", seconds(ages(snapshot).max().unwrap_or_default())),
    },
    Family {
        name: "multipath_commands",
        kind: Kind::Counter,
        help: "Commands sent to the multipath broker.",
        samples: |snapshot| total(snapshot.totals.multipath_commands),
    },
    Family {
        name: "multipath_commands_in_flight",
        kind: Kind::Gauge,
        help: "Commands in flight at the multipath broker.",
        samples: |snapshot| gauge(snapshot.totals.multipath_in_flight),
    },
    Family {
        name: "multipath_failures",
        kind: Kind::Counter,
        help: "Multipath commands without an answer: the process died, the timeout expired, or no process ran.",
        samples: |snapshot| total(snapshot.totals.multipath_failures),
    },
    Family {
        name: "multipath_notes",
        kind: Kind::Counter,
        help: "Messages about multipath maps: what is wrong on which path, and what was done about it.",
        samples: |snapshot| total(snapshot.totals.multipath_notes),
    },
    Family {
        name: "multipath_maps",
        kind: Kind::Gauge,
        help: "Multipath maps in use.",
        samples: |snapshot| gauge(snapshot.totals.multipath_maps),
    },
    Family {
        name: "multipath_maps_suspended",
        kind: Kind::Gauge,
        help: "Multipath maps that the helper suspended and could not resume. I/O on them stands still.",
        samples: |snapshot| gauge(snapshot.totals.multipath_suspended),
    },
    Family {
        name: "multipath_paths_restored",
        kind: Kind::Counter,
        help: "Paths that had failed and have their guest's key again.",
        samples: |snapshot| total(snapshot.totals.multipath_restored),
    },
    Family {
        name: "multipath_process_deaths",
        kind: Kind::Counter,
        help: "Processes of the multipath broker that died and were replaced.",
        samples: |snapshot| total(snapshot.totals.multipath_deaths),
    },
    Family {
        name: "audit_records",
        kind: Kind::Counter,
        help: "Audit records written.",
        samples: |snapshot| total(snapshot.totals.audit_records),
    },
    Family {
        name: "audit_left_out",
        kind: Kind::Counter,
        help: "Commands counted in a summary record instead of having their own audit record.",
        samples: |snapshot| total(snapshot.totals.audit_left_out),
    },
    Family {
        name: "audit_without_names",
        kind: Kind::Gauge,
        help: "1 if audit records have no names because the process that looks them up has exited.",
        samples: |snapshot| gauge(snapshot.totals.without_names),
    },
    Family {
        name: "messages_lost",
        kind: Kind::Counter,
        help: "Messages, traces and records lost because they were not written in time.",
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

/// Every action with every result, those that never occurred with 0: an increase is only seen from a value that exists.
fn requests(snapshot: &Snapshot) -> Vec<Sample> {
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for action in REQUEST_ACTIONS {
        counts.extend(REQUEST_RESULTS.map(|result| ((action, result), 0)));
    }
    for requests in &snapshot.requests {
        let count = counts.entry((&requests.action, &requests.result)).or_default();
        *count = count.saturating_add(sum(&requests.buckets));
    }
    let samples = counts.into_iter().map(|((action, result), count)| Sample {
        suffix: "_total",
        labels: vec![("action", action.to_owned()), ("result", result.to_owned())],
        value: count.to_string(),
    });
    samples.collect()
}

fn durations(snapshot: &Snapshot) -> Vec<Sample> {
    // A page with the same line twice is invalid.
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
