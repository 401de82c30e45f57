//! Messages that others can cause are limited: so many at once, then so many a second. The next one says how many were
//! suppressed.
//!
//! Each client process has a limit of its own, so that one that keeps causing messages does not hide messages about
//! others; and all of them together have one, so that many do not flood the log either.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use crate::{
    bucket::{Bucket, Rate},
    clock::nanoseconds,
    peer::Peer,
};

/// Whose messages are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A process, by its number.
    Process(u32),
    /// A user, for a process whose number is not known here (it is in another PID namespace).
    User(u32),
    /// A device, by its number.
    Device(u64),
    /// All that are not known.
    Unknown,
}

impl From<Peer> for Source {
    fn from(peer: Peer) -> Self {
        match peer {
            Peer { pid: 0, uid } => Self::User(uid),
            Peer { pid, .. } => Self::Process(pid),
        }
    }
}

const EACH: Rate = Rate { per_second: 1, burst: 10 };
const TOGETHER: Rate = Rate { per_second: 5, burst: 50 };

/// How many sources are told apart.
const SOURCES: usize = 64;

/// A limit for one kind of message; a new one has let nothing through yet.
#[derive(Default)]
pub struct RateLimit(Mutex<State>);

#[derive(Default)]
struct State {
    together: Bucket,
    /// Those that provoked a message last, the last of them at the end.
    sources: Vec<Known>,
    /// Of sources that have been forgotten.
    suppressed: u64,
}

struct Known {
    source: Source,
    bucket: Bucket,
    suppressed: u64,
}

impl RateLimit {
    /// Whether a message may be said now that this source provoked, and what to add to it about those that were not.
    pub fn admit(&self, source: Source) -> Option<String> {
        self.admit_at(source, Instant::now())
    }

    fn admit_at(&self, source: Source, now: Instant) -> Option<String> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { together, sources, suppressed: forgotten } = &mut *state;
        let mut known = match sources.iter().position(|known| known.source == source) {
            Some(place) => sources.remove(place),
            None => Known { source, bucket: Bucket::new(), suppressed: 0 },
        };
        if sources.len() >= SOURCES {
            *forgotten += sources.remove(0).suppressed;
        }
        // From both or from none of them.
        let now = nanoseconds(now);
        let admitted = known.bucket.has(now, EACH) && together.take(now, TOGETHER);
        let mut left_out = 0;
        if admitted {
            known.bucket.take(now, EACH);
            left_out = std::mem::take(&mut known.suppressed) + std::mem::take(forgotten);
        } else {
            known.suppressed += 1;
        }
        sources.push(known);
        admitted.then(|| match left_out {
            0 => String::new(),
            n => format!(" ({n} similar messages were left out)"),
        })
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Not before the program's own beginning of time.
    fn start() -> Instant {
        crate::clock::now();
        Instant::now()
    }

    fn passed(limit: &RateLimit, source: Source, now: Instant, tries: usize) -> usize {
        (0..tries).filter(|_| limit.admit_at(source, now).is_some()).count()
    }

    #[test]
    fn a_burst_passes_then_one_a_second_and_the_rest_is_counted() {
        let (limit, source, start) = (RateLimit::default(), Source::Process(1), start());
        assert_eq!(passed(&limit, source, start, 1000), 10);
        let later = limit.admit_at(source, start + Duration::from_secs(1));
        assert_eq!(later.as_deref(), Some(" (990 similar messages were left out)"));
        assert_eq!(limit.admit_at(source, start + Duration::from_millis(1900)), None);
        let later = limit.admit_at(source, start + Duration::from_secs(2));
        assert_eq!(later.as_deref(), Some(" (1 similar messages were left out)"));
    }

    #[test]
    fn one_that_floods_does_not_hide_the_others() {
        let (limit, start) = (RateLimit::default(), start());
        assert_eq!(passed(&limit, Source::Process(1), start, 1000), 10);
        assert_eq!(passed(&limit, Source::Process(2), start, 3), 3);
        assert_eq!(passed(&limit, Source::User(2), start, 3), 3);
        assert_eq!(limit.admit_at(Source::Process(2), start).as_deref(), Some(""), "it left nothing out itself");
    }

    #[test]
    fn many_sources_together_are_limited_and_only_the_last_are_remembered() {
        let (limit, start) = (RateLimit::default(), start());
        let all: usize = (0..1000).map(|number| passed(&limit, Source::Process(number), start, 1)).sum();
        assert_eq!(all, 50);
        assert_eq!(limit.0.lock().expect("no panic").sources.len(), SOURCES);
        let later = limit.admit_at(Source::Process(0), start + Duration::from_secs(1));
        let text = later.expect("room again");
        let count: u32 = text.split(['(', ' ']).find_map(|word| word.parse().ok()).expect("a number");
        assert_eq!(count, 950 - 63, "all but those of the 63 sources that are remembered");
    }
}
