//! The latency of many requests.

use std::time::Duration;

use serde::{Serialize, Serializer};

/// Over all requests. `--json` has microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Latency {
    pub count: usize,
    #[serde(rename = "min_microseconds", serialize_with = "microseconds")]
    pub min: Duration,
    #[serde(rename = "median_microseconds", serialize_with = "microseconds")]
    pub median: Duration,
    /// 99 of 100 were not slower.
    #[serde(rename = "p99_microseconds", serialize_with = "microseconds")]
    pub p99: Duration,
    #[serde(rename = "max_microseconds", serialize_with = "microseconds")]
    pub max: Duration,
}

impl Latency {
    /// Of these.
    pub fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        // The nearest rank: the smallest time that so many of a hundred do not exceed.
        let rank = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).saturating_sub(1);
            times.get(rank).copied().unwrap_or_default()
        };
        Self { count: times.len(), min: rank(0), median: rank(50), p99: rank(99), max: rank(100) }
    }
}

fn microseconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((time.as_secs_f64() * 1e9).round() / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_the_nearest() {
        let times = |numbers: &[u64]| Latency::new(numbers.iter().map(|n| Duration::from_micros(*n)).collect());
        let micros = |t: Latency| [t.min, t.median, t.p99, t.max].map(|time| time.as_micros());
        assert_eq!(micros(times(&[])), [0, 0, 0, 0]);
        assert_eq!(micros(times(&[7])), [7, 7, 7, 7]);
        assert_eq!(micros(times(&[3, 1, 2])), [1, 2, 3, 3]);
        let hundred: Vec<u64> = (1..=200).rev().collect();
        assert_eq!(micros(times(&hundred)), [1, 100, 198, 200]);
    }

    #[test]
    fn programs_get_microseconds() {
        let json = serde_json::to_value(Latency::new(vec![Duration::from_nanos(1500)])).expect("JSON");
        assert_eq!((&json["count"], &json["median_microseconds"]), (&1.into(), &1.5.into()));
    }
}
