//! The same rules written once more, plainly and from the rules alone: a list of registrations, one long function
//! per service action, bytes picked out by their offsets. It shares no line and no type with the unit under test.

pub type Sense = (u8, u8, u8);
const LENGTH: Sense = (5, 0x1a, 0);
const CDB: Sense = (5, 0x24, 0);
const LIST: Sense = (5, 0x26, 0);
const BAD_RELEASE: Sense = (5, 0x26, 4);
const FULL: Sense = (5, 0x55, 4);
const RESET: Sense = (6, 0x29, 0);
const PREEMPTED: Sense = (6, 0x2a, 3);
const RELEASED: Sense = (6, 0x2a, 4);
const REMOVED: Sense = (6, 0x2a, 5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Good,
    Conflict,
    Check(Sense),
}
use Verdict::{Check, Conflict, Good};

/// The bytes of a TransportID, and a target port.
pub type Who = (Vec<u8>, u16);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub who: Who,
    pub key: u64,
    pub all: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    pub target_ports: u16,
    pub room: usize,
    pub generation: u32,
    pub entries: Vec<Entry>,
    /// The type and who reserved; for types 7 and 8 the second means nothing.
    pub reservation: Option<(u8, Who)>,
    pub aptpl: bool,
    /// Everyone who is logged in, with what they are yet to be told.
    pub logged_in: Vec<(Who, Vec<Sense>)>,
    pub aborted: Vec<Who>,
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

impl Model {
    pub fn key_of(&self, who: &Who) -> Option<u64> {
        self.entries.iter().find(|entry| entry.who == *who).map(|entry| entry.key)
    }

    pub fn is_holder(&self, who: &Who) -> bool {
        match &self.reservation {
            Some((7 | 8, _)) => self.key_of(who).is_some(),
            Some((_, holder)) => holder == who,
            None => false,
        }
    }

    fn tell(&mut self, who: &Who, sense: Sense) {
        for (nexus, queue) in &mut self.logged_in {
            if nexus == who && !queue.contains(&sense) {
                queue.push(sense);
            }
        }
    }

    fn tell_all_but(&mut self, me: &Who, sense: Sense) {
        for entry in self.entries.clone() {
            if entry.who != *me {
                self.tell(&entry.who, sense);
            }
        }
    }

    pub fn reset(&mut self) {
        self.aborted.clear();
        for (_, queue) in &mut self.logged_in {
            *queue = vec![RESET];
        }
    }

    pub fn power_cycle(&mut self) {
        if !self.aptpl {
            self.entries.clear();
            self.reservation = None;
        }
        self.generation = 0;
        self.reset();
    }

    pub fn forget(&mut self, who: &Who) {
        self.logged_in.retain(|(nexus, _)| nexus != who);
    }

    /// Unit attention, then access, then the command itself. `list` is as long as the CDB says or shorter.
    pub fn command(&mut self, me: &Who, cdb: &[u8], list: &[u8]) -> Verdict {
        self.aborted.clear();
        if !self.logged_in.iter().any(|(nexus, _)| nexus == me) {
            self.logged_in.push((me.clone(), Vec::new()));
        }
        for (nexus, queue) in &mut self.logged_in {
            if nexus == me && !queue.is_empty() {
                return Check(queue.remove(0));
            }
        }
        let action = cdb[1] & 0x1f;
        if cdb[0] == 0x5e {
            return if action < 4 { Good } else { Check(CDB) };
        }
        let registered = self.key_of(me).is_some();
        if self.reservation.is_some() && !self.is_holder(me) {
            let allowed = match action {
                1 | 7 => false,
                2 | 3 | 4 | 5 | 8 => registered,
                _ => true,
            };
            if !allowed {
                return Conflict;
            }
        }
        let verdict = self.out(me, action, cdb, list);
        if verdict == Good && !matches!(action, 1 | 2) {
            self.generation = self.generation.wrapping_add(1);
        }
        verdict
    }

    fn out(&mut self, me: &Who, action: u8, cdb: &[u8], list: &[u8]) -> Verdict {
        let declared = number(&cdb[5..9]);
        if declared != list.len() as u64 || list.len() < 24 {
            return Check(LENGTH);
        }
        if action > 8 {
            return Check(CDB);
        }
        let (rk, sark) = (number(&list[0..8]), number(&list[8..16]));
        if action == 7 {
            return self.move_to(me, rk, sark, list);
        }
        let specified = list[20] & 8 != 0;
        if !specified && list.len() != 24 {
            return Check(LENGTH);
        }
        if specified && action != 0 {
            return Check(LIST);
        }
        if specified && list.len() < 28 {
            return Check(LENGTH);
        }
        if specified && number(&list[24..28]) != (list.len() - 28) as u64 {
            return Check(LIST);
        }
        let (scope, kind) = (cdb[2] >> 4, cdb[2] & 15);
        if scope != 0 && matches!(action, 1 | 2 | 4 | 5 | 8) {
            return Check(CDB);
        }
        if !matches!(kind, 1 | 3 | 5..=8) && matches!(action, 1 | 4 | 5) {
            return Check(CDB);
        }
        match action {
            0 | 6 => self.register(me, action == 6, rk, sark, list),
            1 => self.reserve(me, rk, kind),
            2 => self.release(me, rk, kind),
            3 => self.clear(me, rk),
            4 | 5 => self.preempt(me, rk, sark, kind, action == 5),
            _ => Check(CDB),
        }
    }

    fn register(&mut self, me: &Who, ignore: bool, rk: u64, sark: u64, list: &[u8]) -> Verdict {
        let (specified, all, aptpl) = (list[20] & 8 != 0, list[20] & 4 != 0, list[20] & 1 != 0);
        match self.key_of(me) {
            None if !ignore && rk != 0 => return Conflict,
            Some(key) if !ignore && rk != key => return Conflict,
            Some(_) if specified => return Check(LIST),
            _ => {}
        }
        // The same request on each target port where it would not conflict.
        let mut mine = vec![me.clone()];
        for port in 1..=self.target_ports {
            let other = (me.0.clone(), port);
            let fits = ignore || self.key_of(&other).unwrap_or(0) == rk;
            if all && other != *me && fits {
                mine.push(other);
            }
        }
        if sark == 0 {
            return self.unregister(&mine, aptpl);
        }
        let mut added: Vec<Who> = mine.iter().filter(|who| self.key_of(who).is_none()).cloned().collect();
        if specified {
            let Some(ids) = split(&list[28..]) else { return Check(LIST) };
            for id in ids {
                for port in 1..=self.target_ports {
                    let other = (id.clone(), port);
                    let wanted = all || port == me.1;
                    if wanted && self.key_of(&other).is_none() && !added.contains(&other) {
                        added.push(other);
                    }
                }
            }
        }
        if self.entries.len() + added.len() > self.room {
            return Check(FULL);
        }
        for entry in &mut self.entries {
            if mine.contains(&entry.who) {
                (entry.key, entry.all) = (sark, all);
            }
        }
        self.entries.extend(added.into_iter().map(|who| Entry { who, key: sark, all }));
        self.aptpl = aptpl;
        Good
    }

    fn unregister(&mut self, mine: &[Who], aptpl: bool) -> Verdict {
        if mine.iter().all(|who| self.key_of(who).is_none()) {
            return Good;
        }
        self.aptpl = aptpl;
        self.entries.retain(|entry| !mine.contains(&entry.who));
        if let Some((kind, holder)) = self.reservation.clone() {
            if matches!(kind, 7 | 8) {
                if self.entries.is_empty() {
                    self.reservation = None;
                }
            } else if mine.contains(&holder) {
                self.reservation = None;
                if matches!(kind, 5 | 6) {
                    self.tell_all_but(&holder, RELEASED);
                }
            }
        }
        Good
    }

    fn reserve(&mut self, me: &Who, rk: u64, kind: u8) -> Verdict {
        if self.key_of(me) != Some(rk) {
            return Conflict;
        }
        match &self.reservation {
            None => self.reservation = Some((kind, me.clone())),
            Some((held, _)) if self.is_holder(me) && *held == kind => {}
            Some(_) => return Conflict,
        }
        Good
    }

    fn release(&mut self, me: &Who, rk: u64, kind: u8) -> Verdict {
        if self.key_of(me) != Some(rk) {
            return Conflict;
        }
        if !self.is_holder(me) {
            return Good;
        }
        if self.reservation.as_ref().is_some_and(|(held, _)| *held != kind) {
            return Check(BAD_RELEASE);
        }
        self.reservation = None;
        if kind > 3 {
            self.tell_all_but(me, RELEASED);
        }
        Good
    }

    fn clear(&mut self, me: &Who, rk: u64) -> Verdict {
        if self.key_of(me) != Some(rk) {
            return Conflict;
        }
        self.tell_all_but(me, PREEMPTED);
        self.entries.clear();
        self.reservation = None;
        Good
    }

    fn preempt(&mut self, me: &Who, rk: u64, sark: u64, kind: u8, abort: bool) -> Verdict {
        if self.key_of(me) != Some(rk) {
            return Conflict;
        }
        let all_registrants = matches!(self.reservation, Some((7 | 8, _)));
        if sark == 0 && !all_registrants {
            return Check(LIST);
        }
        if sark != 0 && !self.entries.iter().any(|entry| entry.key == sark) {
            return Conflict;
        }
        let take_over = match &self.reservation {
            None => false,
            Some((7 | 8, _)) => sark == 0,
            Some((_, holder)) => self.key_of(holder) == Some(sark),
        };
        let mut removed = Vec::new();
        for entry in self.entries.clone() {
            let named = sark == 0 || entry.key == sark;
            if named && (entry.who != *me || !take_over) {
                self.entries.retain(|other| other.who != entry.who);
                if entry.who != *me {
                    self.tell(&entry.who, REMOVED);
                }
                removed.push(entry.who);
            }
        }
        if take_over {
            let before = self.reservation.replace((kind, me.clone()));
            if before.is_some_and(|(before, _)| before != kind) {
                self.tell_all_but(me, RELEASED);
            }
        } else if all_registrants && self.entries.is_empty() {
            self.reservation = None;
        }
        if abort {
            self.aborted = removed;
        }
        Good
    }

    fn move_to(&mut self, me: &Who, rk: u64, sark: u64, list: &[u8]) -> Verdict {
        if self.key_of(me).is_some_and(|key| key != rk) {
            return Conflict;
        }
        match &self.reservation {
            None => return Check(CDB),
            Some((1 | 3 | 5 | 6, holder)) if holder == me => {}
            Some(_) => return Conflict,
        }
        let (unregister, aptpl) = (list[17] & 2 != 0, list[17] & 1 != 0);
        let port = u16::from_be_bytes([list[18], list[19]]);
        if sark == 0 || number(&list[20..24]) != (list.len() - 24) as u64 {
            return Check(LIST);
        }
        if port == 0 || port > self.target_ports {
            return Check(LIST);
        }
        let destination = match split(&list[24..]) {
            Some(mut ids) if ids.len() == 1 => (ids.remove(0), port),
            _ => return Check(LIST),
        };
        if destination == *me {
            return Check(LIST);
        }
        let is_new = self.key_of(&destination).is_none();
        if is_new && self.entries.len() - usize::from(unregister) >= self.room {
            return Check(FULL);
        }
        if unregister {
            self.entries.retain(|entry| entry.who != *me);
        }
        if is_new {
            self.entries.push(Entry { who: destination.clone(), key: sark, all: false });
        }
        for entry in &mut self.entries {
            if entry.who == destination {
                entry.key = sark;
            }
        }
        let kind = self.reservation.as_ref().map_or(0, |(kind, _)| *kind);
        self.reservation = Some((kind, destination));
        self.aptpl = aptpl;
        Good
    }
}

/// Splits a list of TransportIDs, of the two protocols that the scripts use: 24 bytes of SAS, or an iSCSI name of
/// the length it says.
fn split(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut ids = Vec::new();
    while !bytes.is_empty() {
        let length = match bytes[0] {
            0x06 => 24,
            0x45 if bytes.len() >= 4 => 4 + usize::from(u16::from_be_bytes([bytes[2], bytes[3]])),
            _ => return None,
        };
        if bytes.len() < length {
            return None;
        }
        let (id, rest) = bytes.split_at(length);
        ids.push(id.to_vec());
        bytes = rest;
    }
    Some(ids)
}
