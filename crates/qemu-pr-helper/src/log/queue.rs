//! What waits to be written.
//!
//! No source fills the queue for others: when it is full, the source with most entries in it (first by user, then by
//! process) makes room, so that each of n sources has an n-th of it for certain.

use std::{
    collections::{BTreeMap, btree_map},
    sync::mpsc::SyncSender,
};

use super::{format::Level, output::Output};
use crate::peer::Peer;

/// How many entries may wait.
const MAX_ENTRIES: usize = 1024;

/// How many bytes of text may wait.
const MAX_BYTES: usize = 256 * 1024;

/// Something whose text the log thread makes, because that takes time.
pub trait Record: Send {
    /// Writes it, if there is anything to be written.
    fn write(self: Box<Self>, output: &mut Output);
}

/// What waits to be written.
#[derive(Default)]
pub struct Queue {
    pub entries: Vec<Entry>,
    /// Of the text in them.
    bytes: usize,
    /// How many of them are whose. In a full queue each new one asks, and there may be many of those.
    counts: BTreeMap<Option<Peer>, usize>,
    /// Whether the thread sleeps.
    pub waiting: bool,
}

/// Something to be written.
pub enum Entry {
    /// A message of the program.
    Message { time_us: u64, level: Level, text: String },
    /// An event that is traced.
    Trace { time_us: u64, text: String },
    /// A record, and the process that caused it.
    Record(Peer, Box<dyn Record>),
    /// Everything before this is written.
    Mark(SyncSender<()>),
}

impl Entry {
    fn length(&self) -> usize {
        match self {
            Self::Message { text, .. } | Self::Trace { text, .. } => text.len(),
            Self::Record(..) | Self::Mark(_) => 0,
        }
    }

    /// Which process fills the queue with it; none for the program's own messages.
    const fn source(&self) -> Option<Peer> {
        match self {
            Self::Record(peer, _) => Some(*peer),
            Self::Message { .. } | Self::Trace { .. } | Self::Mark(_) => None,
        }
    }
}

impl Queue {
    /// Adds something for which there is room.
    pub fn push(&mut self, entry: Entry) {
        self.bytes += entry.length();
        *self.counts.entry(entry.source()).or_default() += 1;
        self.entries.push(entry);
    }

    fn remove(&mut self, place: usize) {
        let entry = self.entries.remove(place);
        self.bytes -= entry.length();
        if let btree_map::Entry::Occupied(mut count) = self.counts.entry(entry.source()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    /// Whether there is room for this, perhaps in the place of something of a source that has more in the queue; how
    /// many entries that cost.
    pub fn has_room_for(&mut self, entry: &Entry) -> (bool, u64) {
        let length = entry.length();
        if matches!(entry, Entry::Mark(_)) {
            return (true, 0);
        }
        if self.bytes + length > MAX_BYTES {
            return (false, 1);
        }
        if self.entries.len() < MAX_ENTRIES {
            return (true, 0);
        }
        let source = entry.source();
        let user = |source: Option<Peer>| source.map(|peer| peer.uid);
        let sources = || self.counts.iter().map(|(source, count)| (*source, *count));
        let most = largest(sources().map(|(source, count)| (user(source), count)), Some(user(source)));
        let is_ours = user(source) == most;
        let victim = largest(sources().filter(|(other, _)| user(*other) == most), is_ours.then_some(source));
        let is_mine = is_ours && victim == source;
        let last = |other: &Entry| !matches!(other, Entry::Mark(_)) && other.source() == victim;
        match self.entries.iter().rposition(last) {
            Some(place) if !is_mine => {
                self.remove(place);
                (true, 1)
            }
            _ => (false, 1),
        }
    }

    /// Takes all of it, and leaves an empty vector.
    pub fn take(&mut self, batch: &mut Vec<Entry>) {
        std::mem::swap(batch, &mut self.entries);
        self.bytes = 0;
        self.counts.clear();
    }
}

/// Which of these there are most of. `own` is one that is about to be among them, and wins a tie.
fn largest<K: Copy + Default + Ord>(counts: impl Iterator<Item = (K, usize)>, own: Option<K>) -> K {
    let mut sums = BTreeMap::new();
    for (key, count) in counts.chain(own.map(|own| (own, 1))) {
        *sums.entry(key).or_insert(0_usize) += count;
    }
    sums.into_iter().max_by_key(|(key, count)| (*count, Some(*key) == own)).map(|(key, _)| key).unwrap_or_default()
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    struct Nothing;

    impl Record for Nothing {
        fn write(self: Box<Self>, _: &mut Output) {}
    }

    /// Offers so many records of a process; how many were lost, whichever source's.
    fn offer(queue: &mut Queue, uid: u32, pid: u32, count: usize) -> u64 {
        let mut all = 0;
        for _ in 0..count {
            let peer = Peer { pid, uid };
            let entry = Entry::Record(peer, Box::new(Nothing));
            let (has_room, lost) = queue.has_room_for(&entry);
            all += lost;
            if has_room {
                queue.push(entry);
            }
        }
        all
    }

    fn held(queue: &Queue, is_it: impl Fn(Peer) -> bool) -> usize {
        queue.entries.iter().filter_map(Entry::source).filter(|peer| is_it(*peer)).count()
    }

    #[test]
    fn a_full_queue_makes_room_for_the_source_that_has_less_in_it() {
        let mut queue = Queue::default();
        assert_eq!(offer(&mut queue, 1, 10, 2 * MAX_ENTRIES), MAX_ENTRIES as u64);
        assert_eq!(offer(&mut queue, 2, 20, 100), 100, "the other's records make room");
        assert_eq!((held(&queue, |peer| peer.uid == 1), held(&queue, |peer| peer.uid == 2)), (MAX_ENTRIES - 100, 100));
        offer(&mut queue, 2, 20, 2 * MAX_ENTRIES);
        offer(&mut queue, 1, 10, 2 * MAX_ENTRIES);
        let (one, two) = (held(&queue, |peer| peer.uid == 1), held(&queue, |peer| peer.uid == 2));
        assert!(one.abs_diff(two) <= 1 && queue.entries.len() == MAX_ENTRIES, "{one} {two}");
    }

    #[test]
    fn many_processes_of_one_user_do_not_crowd_out_another_user() {
        let mut queue = Queue::default();
        for pid in 1..=3000 {
            offer(&mut queue, 1, pid, 1);
        }
        offer(&mut queue, 2, 9000, 500);
        assert_eq!(held(&queue, |peer| peer.uid == 2), 500);
        // Of one user's, the process that has most makes room.
        offer(&mut queue, 2, 9001, 200);
        assert_eq!(held(&queue, |peer| peer.pid == 9001), 200);
    }

    #[test]
    fn messages_of_the_program_make_room_for_records_and_marks_always_fit() {
        let mut queue = Queue::default();
        let message = || Entry::Message { time_us: 0, level: Level::Warning, text: "x".repeat(100) };
        for _ in 0..MAX_ENTRIES {
            queue.push(message());
        }
        assert_eq!(queue.has_room_for(&message()), (false, 1));
        assert_eq!(offer(&mut queue, 1, 1, 10), 10);
        assert_eq!((held(&queue, |_| true), queue.bytes), (10, (MAX_ENTRIES - 10) * 100));
        assert_eq!(queue.has_room_for(&Entry::Mark(sync_channel(1).0)), (true, 0));
    }
}
