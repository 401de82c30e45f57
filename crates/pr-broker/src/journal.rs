//! What has to be known of each map after the death of whoever carries out its commands: memory that all processes of
//! the broker share.
//!
//! A slot holds two records, of which the newer whole one counts: a death in the middle of writing leaves the one
//! before.

use std::{
    io, iter,
    sync::atomic::{AtomicU64, Ordering},
};

use pr_multipath::{Identity, Memory, PathId, PathMemory, Registration, Step, User};
use pr_sys::shared;
use scsi_persistent_reservations::ReservationKey;

/// How many maps there can be at once.
pub const SLOTS: usize = 1024;

/// Words of a record's contents: 16 KiB, which is some 60 paths with the longest of iSCSI names, and 600 with others.
pub(super) const CONTENTS: usize = 2048;

/// A record: its number, how many bytes, a checksum, the contents.
const RECORD: usize = 3 + CONTENTS;

/// A slot: the number of the command that was begun last, and two records.
const SLOT: usize = 1 + 2 * RECORD;

/// What is counted in front of all slots.
#[derive(Clone, Copy)]
pub enum Counter {
    /// Processes that died and were replaced.
    Deaths,
    /// Paths that have their guest's key again.
    Restored,
}

/// How many things are counted.
const COUNTERS: usize = Counter::Restored as usize + 1;

/// The counters and all slots. The device numbers of their maps are side by side in front of them: looking for a map
/// touches no page of another one's.
#[derive(Clone, Copy)]
pub struct Journal(&'static [AtomicU64]);

/// The slot of one map.
#[derive(Clone, Copy)]
pub struct Slot {
    map: &'static AtomicU64,
    words: &'static [AtomicU64],
}

impl Journal {
    /// Empty slots, which every process that is forked off from here on has too.
    ///
    /// # Errors
    /// The system has no room for them.
    pub fn new() -> io::Result<Self> {
        shared::words(COUNTERS + SLOTS + SLOTS * SLOT).map(Self)
    }

    /// So many more.
    pub fn count(self, counter: Counter, number: u64) {
        self.0[counter as usize].fetch_add(number, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn counted(self, counter: Counter) -> u64 {
        self.0[counter as usize].load(Ordering::Relaxed)
    }

    /// The slots in use, with the device numbers of their maps.
    pub fn used(self) -> impl Iterator<Item = (u64, Slot)> {
        self.slots().map(|slot| (slot.number(), slot)).filter(|(map, _)| *map != 0)
    }

    /// The slot of a map, a new one if it has none; `None` where all are in use.
    pub fn slot(self, map: u64) -> Option<Slot> {
        let found = self.slots().find(|slot| slot.number() == map);
        found.or_else(|| {
            let slot = self.slots().find(|slot| slot.number() == 0)?;
            // What a map before it has left is no whole record any more.
            for record in slot.records() {
                record[0].store(0, Ordering::Relaxed);
                record[2].store(0, Ordering::Relaxed);
            }
            slot.begin(0);
            slot.map.store(map, Ordering::Release);
            Some(slot)
        })
    }

    fn slots(self) -> impl Iterator<Item = Slot> {
        let (maps, slots) = self.0[COUNTERS..].split_at(SLOTS);
        maps.iter().zip(slots.chunks_exact(SLOT)).map(|(map, words)| Slot { map, words })
    }
}

impl Slot {
    /// Nothing need be known of the map any more.
    pub fn free(self) {
        self.map.store(0, Ordering::Release);
    }

    /// What was kept last; `None` if nothing was.
    pub fn load(self) -> Option<Memory> {
        let newest = self.records().into_iter().filter_map(read).max_by_key(|(number, _)| *number);
        newest.and_then(|(_, bytes)| decode(&bytes))
    }

    /// Whether whoever had the map last has left it suspended.
    pub fn left_suspended(self) -> bool {
        self.load().is_some_and(|memory| memory.suspended)
    }

    /// Keeps this from now on.
    pub fn store(self, memory: &Memory) {
        self.writer().store(memory);
    }

    /// For the only process that writes to the slot: it looks once at what is there.
    pub fn writer(self) -> Writer {
        let records = self.records();
        let [first, second] = records.map(|record| read(record).map_or(0, |(number, _)| number));
        let [older, newer] = if first <= second { records } else { [records[1], records[0]] };
        Writer { older, newer, number: first.max(second) }
    }

    /// A command is about to be carried out.
    pub fn begin(self, number: u32) {
        self.words[0].store(number.into(), Ordering::Release);
    }

    /// Whether a command was the last that was begun.
    pub fn has_begun(self, number: u32) -> bool {
        self.words[0].load(Ordering::Acquire) == u64::from(number)
    }

    fn number(self) -> u64 {
        self.map.load(Ordering::Acquire)
    }

    fn records(self) -> [&'static [AtomicU64]; 2] {
        let (first, second) = self.words[1..].split_at(RECORD);
        [first, second]
    }
}

/// Writes to a slot, in turn to either record.
pub struct Writer {
    older: &'static [AtomicU64],
    newer: &'static [AtomicU64],
    number: u64,
}

impl Writer {
    /// Keeps this from now on.
    pub fn store(&mut self, memory: &Memory) {
        self.number += 1;
        write(self.older, self.number, &encode(memory));
        std::mem::swap(&mut self.older, &mut self.newer);
    }
}

/// A whole record's number and contents.
fn read(record: &[AtomicU64]) -> Option<(u64, Vec<u8>)> {
    let [number, length, sum, ..] = [0, 1, 2].map(|at| record[at].load(Ordering::Acquire));
    let length = usize::try_from(length).ok().filter(|length| *length <= CONTENTS * 8)?;
    let words = &record[3..3 + length.div_ceil(8)];
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
    bytes.truncate(length);
    (number != 0 && sum == checksum(number, &bytes)).then_some((number, bytes))
}

fn write(record: &[AtomicU64], number: u64, bytes: &[u8]) {
    // Not whole from here on.
    record[2].store(0, Ordering::Release);
    for (at, chunk) in record[3..].iter().zip(bytes.chunks(8)) {
        at.store(word(chunk), Ordering::Release);
    }
    record[0].store(number, Ordering::Release);
    record[1].store(u64::try_from(bytes.len()).unwrap_or(0), Ordering::Release);
    record[2].store(checksum(number, bytes), Ordering::Release);
}

/// FNV-1a, of words instead of bytes, and never zero.
pub(super) fn checksum(number: u64, bytes: &[u8]) -> u64 {
    let words = bytes.chunks(8).map(word);
    let sum = iter::once(number).chain(words).fold(0xcbf2_9ce4_8422_2325, |sum: u64, word| {
        let sum = (sum ^ word).wrapping_mul(0x0100_0000_01b3);
        // The upper half, too, is to depend on the lower one, and the other way round.
        sum ^ sum >> 32
    });
    sum.max(1)
}

/// Eight bytes, or as many as there are and zeros.
fn word(bytes: &[u8]) -> u64 {
    let mut eight = [0; 8];
    eight[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(eight)
}

/// The bytes of what is known of a map.
pub(super) fn encode(memory: &Memory) -> Vec<u8> {
    let Memory { user, step, suspended, paths, news, multipathd_is_outdated, multipathd_keys, count_when_complete } =
        memory;
    let mut bytes = Vec::with_capacity(256);
    match user {
        User::Unknown => bytes.push(0),
        User::Unregistered => bytes.push(1),
        User::Registered(registration) => {
            bytes.push(2);
            put_registration(&mut bytes, *registration);
        }
    }
    match step {
        Step::Idle => bytes.push(0),
        Step::Registering { before, new } => {
            bytes.push(1);
            put_key(&mut bytes, *before);
            put_registration(&mut bytes, *new);
        }
        Step::Changing => bytes.push(3),
        Step::Preempting { own } => {
            bytes.push(2);
            put_registration(&mut bytes, *own);
        }
    }
    bytes.push(u8::from(*suspended));
    bytes.push(u8::from(news.is_some()));
    bytes.extend(news.unwrap_or_default());
    bytes.push(u8::from(*multipathd_is_outdated));
    bytes.push(u8::from(count_when_complete.is_some()));
    bytes.extend(count_when_complete.unwrap_or_default().to_le_bytes());
    put_keys(&mut bytes, multipathd_keys);
    for path in paths {
        let mut one = path.id.0.to_le_bytes().to_vec();
        one.push(u8::from(path.unsettled));
        put_keys(&mut one, &path.leftovers);
        one.push(u8::try_from(path.expected.len()).unwrap_or(0));
        one.extend(path.expected.iter().take(path.expected.len().min(255)).flatten());
        let name = path.identity.as_ref().map_or(&[][..], |identity| &identity.transport_id);
        one.extend(path.identity.as_ref().map_or(0, |identity| identity.target_port).to_le_bytes());
        one.extend(u16::try_from(name.len()).unwrap_or(0).to_le_bytes());
        one.extend(&name[..usize::from(u16::try_from(name.len()).unwrap_or(0))]);
        // One too many is looked at anew, as one that was never seen.
        if bytes.len() + one.len() <= CONTENTS * 8 {
            bytes.extend(one);
        }
    }
    bytes
}

fn put_registration(bytes: &mut Vec<u8>, Registration { key, persist, all_target_ports }: Registration) {
    bytes.extend(key.0.to_le_bytes());
    bytes.extend([u8::from(persist), u8::from(all_target_ports)]);
}

/// How many, and then each: [`LEFTOVERS`](pr_multipath::LEFTOVERS) at the most.
fn put_keys(bytes: &mut Vec<u8>, keys: &[ReservationKey]) {
    let keys = &keys[..keys.len().min(pr_multipath::LEFTOVERS)];
    bytes.push(u8::try_from(keys.len()).unwrap_or(0));
    bytes.extend(keys.iter().flat_map(|key| key.0.to_le_bytes()));
}

fn put_key(bytes: &mut Vec<u8>, key: Option<ReservationKey>) {
    bytes.push(u8::from(key.is_some()));
    bytes.extend(key.map_or(0, |key| key.0).to_le_bytes());
}

/// What they say; `None` where they make no sense.
pub(super) fn decode(bytes: &[u8]) -> Option<Memory> {
    let mut rest = Rest(bytes);
    let user = match rest.byte()? {
        0 => User::Unknown,
        1 => User::Unregistered,
        _ => User::Registered(rest.registration()?),
    };
    let step = match rest.byte()? {
        0 => Step::Idle,
        1 => {
            let [before] = rest.key()?;
            Step::Registering { before, new: rest.registration()? }
        }
        2 => Step::Preempting { own: rest.registration()? },
        _ => Step::Changing,
    };
    let suspended = rest.byte()? != 0;
    let has_news = rest.byte()? != 0;
    let news = Some(rest.take::<3>()?).filter(|_| has_news);
    let [multipathd_is_outdated, has_count] = rest.take()?.map(|byte: u8| byte != 0);
    let count_when_complete = Some(u32::from_le_bytes(rest.take()?)).filter(|_| has_count);
    let multipathd_keys = rest.keys()?;
    let mut paths = Vec::new();
    while !rest.0.is_empty() {
        let (id, unsettled) = (PathId(rest.word()?), rest.byte()? != 0);
        let leftovers = rest.keys()?;
        let count = rest.byte()?;
        let expected = (0..count).map(|_| rest.take()).collect::<Option<_>>()?;
        let target_port = u16::from_le_bytes(rest.take()?);
        let length = u16::from_le_bytes(rest.take()?).into();
        let (name, behind) = rest.0.split_at_checked(length)?;
        rest.0 = behind;
        let identity = (length > 0).then(|| Identity { target_port, transport_id: name.to_vec() });
        paths.push(PathMemory { id, identity, leftovers, expected, unsettled });
    }
    Some(Memory { user, step, suspended, paths, news, multipathd_is_outdated, multipathd_keys, count_when_complete })
}

struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take().map(|[byte]| byte)
    }

    fn word(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn keys(&mut self) -> Option<Vec<ReservationKey>> {
        let count = self.byte()?;
        (0..count).map(|_| self.word().map(ReservationKey)).collect()
    }

    /// A key or none: `None` inside, as against the end of the data.
    fn key(&mut self) -> Option<[Option<ReservationKey>; 1]> {
        let is_some = self.byte()? != 0;
        let key = ReservationKey(self.word()?);
        Some([is_some.then_some(key)])
    }

    fn registration(&mut self) -> Option<Registration> {
        let key = ReservationKey(self.word()?);
        let [persist, all_target_ports] = self.take()?.map(|byte| byte != 0);
        Some(Registration { key, persist, all_target_ports })
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    fn memory(key: u64) -> Memory {
        let registration = Registration { key: ReservationKey(key), persist: true, all_target_ports: false };
        let path = |id, transport_id: &[u8]| PathMemory {
            id: PathId(id),
            identity: (!transport_id.is_empty())
                .then(|| Identity { target_port: 3, transport_id: transport_id.to_vec() }),
            leftovers: (1..id).map(ReservationKey).collect(),
            expected: if id == 2 { vec![[6, 0x2a, 5]] } else { Vec::new() },
            unsettled: id == 1,
        };
        Memory {
            user: User::Registered(registration),
            step: Step::Registering { before: Some(ReservationKey(1)), new: registration },
            suspended: true,
            paths: vec![path(1, b""), path(2, &[7; 228]), path(3, &[0; 24])],
            news: Some([6, 0x2a, 3]),
            multipathd_is_outdated: key.is_multiple_of(2),
            multipathd_keys: (1..key % 4).map(ReservationKey).collect(),
            count_when_complete: (key.is_multiple_of(3)).then_some(7),
        }
    }

    #[test]
    fn what_is_kept_is_what_a_successor_finds() {
        let slot = Journal::new().unwrap().slot(7).unwrap();
        assert_eq!(slot.load(), None);
        let others = [
            Memory::default(),
            Memory { user: User::Unregistered, step: Step::Preempting { own: Registration::NONE }, ..memory(2) },
            Memory { step: Step::Registering { before: None, new: Registration::NONE }, news: None, ..memory(3) },
            Memory { step: Step::Changing, ..memory(4) },
        ];
        for memory in (1..9).map(memory).chain(others) {
            slot.store(&memory);
            assert_eq!(slot.load(), Some(memory));
        }
    }

    #[test]
    fn a_death_in_the_middle_of_writing_leaves_what_was_there_or_what_was_to_be() {
        let slot = Journal::new().unwrap().slot(7).unwrap();
        let copy = || -> Vec<u64> { slot.words.iter().map(|word| word.load(Ordering::Relaxed)).collect() };
        slot.store(&memory(1));
        slot.store(&memory(2));
        let before = copy();
        slot.store(&memory(3));
        let after = copy();
        let differ: Vec<usize> = (0..before.len()).filter(|at| before[*at] != after[*at]).collect();
        assert!(differ.len() > 3, "{differ:?}");
        // Each word alone has been written, and each alone has not.
        for (from, to) in [(&before, &after), (&after, &before)] {
            for one in &differ {
                for (at, word) in slot.words.iter().enumerate() {
                    word.store(if at == *one { to[at] } else { from[at] }, Ordering::Relaxed);
                }
                let found = slot.load();
                assert!(found == Some(memory(2)) || found == Some(memory(3)), "word {one}: {found:?}");
            }
        }
    }

    #[test]
    fn a_map_without_a_slot_gets_a_free_one_without_what_was_in_it() {
        let journal = Journal::new().unwrap();
        for map in 1..=SLOTS as u64 {
            journal.slot(map).unwrap().store(&memory(map));
        }
        assert!(journal.slot(9999).is_none());
        assert_eq!(journal.slot(5).unwrap().load(), Some(memory(5)));
        journal.slot(5).unwrap().free();
        assert_eq!(journal.used().count(), SLOTS - 1);
        assert_eq!(journal.slot(9999).unwrap().load(), None);
    }

    #[test]
    fn more_paths_than_there_is_room_for_are_forgotten_from_the_end() {
        let slot = Journal::new().unwrap().slot(7).unwrap();
        let path = memory(1).paths[1].clone();
        let many = Memory { paths: vec![path.clone(); 1000], ..memory(1) };
        slot.store(&many);
        let found = slot.load().unwrap();
        assert!(found.paths.len() > 50 && found.paths.iter().all(|one| *one == path));
        assert_eq!(Memory { paths: Vec::new(), ..found }, Memory { paths: Vec::new(), ..many });
    }
}
