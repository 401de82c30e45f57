//! Times: since the program started, and since the Unix epoch.

use std::{
    sync::LazyLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// How long the program has been running: since the first call of any function here.
pub fn uptime() -> Duration {
    START.elapsed()
}

/// A point in time as the time since the program started.
pub fn since_start(at: Instant) -> Duration {
    at.saturating_duration_since(*START)
}

/// The same in nanoseconds.
pub fn nanoseconds(at: Instant) -> u64 {
    u64::try_from(since_start(at).as_nanos()).unwrap_or(u64::MAX)
}

/// Now, in nanoseconds since the program started.
pub fn now() -> u64 {
    nanoseconds(Instant::now())
}

/// The point in time so many nanoseconds after the program started.
pub fn instant(nanoseconds: u64) -> Instant {
    *START + Duration::from_nanos(nanoseconds)
}

/// Now, in microseconds since the Unix epoch.
pub fn unix_micros() -> u64 {
    micros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// A duration in microseconds, as all metrics and records have it.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
