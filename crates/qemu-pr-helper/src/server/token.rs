//! What an event of the epoll set is about.

use rustix::event::epoll;

/// A connection's slot, and the lowest bits of its client's number, because a slot is given to the next client while an
/// event of the one before may still be on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(u64);

impl Token {
    /// The listening socket's. There are never so many slots.
    pub const LISTENER: Self = Self(u64::MAX);

    /// The one of a client in its slot.
    pub fn new(slot: u32, client: u64) -> Self {
        Self(client << 32 | u64::from(slot))
    }

    /// From an event.
    pub fn of(event: &epoll::Event) -> Self {
        Self(event.data.u64())
    }

    /// For an event.
    pub fn data(self) -> epoll::EventData {
        epoll::EventData::new_u64(self.0)
    }

    /// The slot.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is the slot")]
    pub const fn slot(self) -> u32 {
        self.0 as u32
    }

    /// Whether it is this client's.
    pub const fn is_of(self, client: u64) -> bool {
        self.0 >> 32 == client & 0xffff_ffff
    }
}
