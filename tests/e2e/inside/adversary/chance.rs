//! Chance, the same for the same seed, and the commands that it draws.

use scsi_persistent_reservations::{OutAction, ReservationType};

use super::disk::{Act, Disk, Who};
use crate::random;

/// The guest's keys, and the other node's own.
pub const KEYS: [u64; 2] = [0xa1, 0xa2];
pub const OTHER_KEY: u64 = 0xb1;

/// What draws them.
pub struct Chance(random::Chance);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(random::Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d))
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0.below(limit)
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }

    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    fn kind(&mut self) -> ReservationType {
        // What clusters use, mostly.
        if self.percent(50) { ReservationType::WriteExclusiveRegistrantsOnly } else { self.pick(&ReservationType::ALL) }
    }

    /// A command of one of the two. It mostly makes sense on this disk; some never do.
    pub fn act(&mut self, disk: &Disk, who: Who, shared: bool) -> Act {
        let keys: &[u64] = match who {
            Who::Guest => &KEYS,
            Who::Other if shared => &[KEYS[0], KEYS[1], OTHER_KEY],
            Who::Other => &[OTHER_KEY],
        };
        let anything = self.pick(&[KEYS[0], KEYS[1], OTHER_KEY, 0]);
        let own = match disk.key(who) {
            Some(own) if self.percent(88) => own,
            None if self.percent(88) => 0,
            _ => anything,
        };
        let new = if self.percent(20) { 0 } else { self.pick(keys) };
        let victim = match self.below(10) {
            0..=4 => disk.key(who.peer()).unwrap_or(anything),
            5..=7 => own,
            _ => anything,
        };
        let kind = match disk.held {
            Some(held) if self.percent(70) => held.kind,
            _ => self.kind(),
        };
        let is_registered = disk.key(who).is_some();
        let action = match self.below(100) {
            // A guest that is not registered registers.
            0..=59 if !is_registered => self.pick(&[OutAction::Register, OutAction::RegisterAndIgnoreExistingKey]),
            0..=19 => OutAction::Register,
            20..=31 => OutAction::RegisterAndIgnoreExistingKey,
            32..=53 => OutAction::Reserve,
            54..=67 => OutAction::Release,
            86..=93 if who == Who::Guest => OutAction::PreemptAndAbort,
            68..=93 => OutAction::Preempt,
            _ => OutAction::Clear,
        };
        let other_key = match action {
            OutAction::Preempt | OutAction::PreemptAndAbort => victim,
            OutAction::Register | OutAction::RegisterAndIgnoreExistingKey => new,
            _ => 0,
        };
        let key = if action == OutAction::RegisterAndIgnoreExistingKey { 0 } else { own };
        Act { persist: action.is_register() && self.percent(15), ..Act::new(action, key, other_key, kind) }
    }
}
