//! Commands by chance: sequences that nobody thought of, the same for the same seed.

use scsi_persistent_reservations::{InAction, ReservationType};

use crate::request::Request;
use crate::scenario::Who;

/// A sequence of commands from both initiators. PREEMPT AND ABORT is not among them: between two loopback nexuses it
/// never returns from the kernel.
pub fn commands(seed: u64, count: usize) -> impl Iterator<Item = (Who, Request)> {
    let mut chance = Chance(seed);
    (0..count).map(move |_| {
        let who = if chance.below(2) == 0 { Who::A } else { Who::B };
        (who, command(&mut chance))
    })
}

fn command(chance: &mut Chance) -> Request {
    // Few keys, zero among them, so that they meet each other often.
    let key = chance.below(3);
    let other = chance.below(3);
    let kind = ReservationType::ALL[usize::try_from(chance.below(6)).unwrap_or(0)];
    match chance.below(10) {
        0 | 1 => Request::register(key, other),
        2 | 3 => Request::register_anyhow(other),
        4 => Request::reserve(key, kind),
        5 => Request::release(key, kind),
        6 => Request::preempt(key, other, kind),
        7 => match chance.below(3) {
            0 => Request::clear(key),
            _ => Request::read(InAction::ReadReservation),
        },
        8 => Request::read(InAction::ReadKeys),
        _ => Request::read_up_to(InAction::ReadFullStatus, 8 + u16::try_from(chance.below(200)).unwrap_or(0)),
    }
}

/// Vigna's splitmix64.
pub struct Chance(pub u64);

impl Chance {
    /// A number below the limit.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % limit
    }
}
