//! The connections, in slots: as many as the limit allows, made once.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{connection::Connection, status::ConnectionStatus, token::Token};
use crate::peer::Peer;

/// A slot.
#[derive(Default)]
pub struct Slot {
    /// Held by the thread that serves the connection, for as long as it does. Sockets report once, so no other
    /// wants it but the main thread, which does not wait, and the one that has closed what the client sent.
    connection: Mutex<Option<Connection>>,
    /// What is under way, to look at from outside.
    pub status: ConnectionStatus,
}

impl Slot {
    /// The connection, for one thread.
    pub fn lock(&self) -> MutexGuard<'_, Option<Connection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All slots.
pub struct ConnectionTable {
    slots: Box<[Slot]>,
    free: Mutex<Vec<u32>>,
}

impl ConnectionTable {
    /// Slots for so many connections.
    pub fn new(capacity: usize) -> Self {
        let capacity = u32::try_from(capacity).unwrap_or(u32::MAX);
        Self {
            slots: (0..capacity).map(|_| Slot::default()).collect(),
            // Taken from the end: the lowest numbers first, so that an idle program touches few of them.
            free: Mutex::new((0..capacity).rev().collect()),
        }
    }

    /// How many there are.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Takes a free slot.
    pub fn reserve(&self) -> Option<u32> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Gives a slot back. Its connection is gone.
    pub fn release(&self, slot: u32) {
        self.get(slot).status.closed();
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(slot);
    }

    /// Whether all are free.
    pub fn is_empty(&self) -> bool {
        self.in_use() == 0
    }

    /// How many are not free.
    pub fn in_use(&self) -> usize {
        self.slots.len() - self.free.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Closes the connections that are between requests. One that is being served finds out by itself.
    pub fn close_idle(&self) {
        for slot in &self.slots {
            if let Ok(connection) = slot.connection.try_lock()
                && let Some(connection) = connection.as_ref()
            {
                connection.close_if_idle();
            }
        }
    }

    /// A slot by its number.
    pub fn get(&self, slot: u32) -> &Slot {
        &self.slots[slot as usize]
    }

    /// Does something with a connection, if it is still there; false if a thread is busy with it.
    pub fn with(&self, token: Token, act: impl FnOnce(&Connection)) -> bool {
        let Ok(connection) = self.get(token.slot()).connection.try_lock() else { return false };
        if let Some(connection) = connection.as_ref().filter(|connection| connection.is(token)) {
            act(connection);
        }
        true
    }

    /// Who is at the other ends.
    pub fn peers(&self) -> impl Iterator<Item = Peer> {
        self.all().filter_map(|slot| slot.status.peer())
    }

    /// All slots.
    pub fn all(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter()
    }

    /// Closes the connections whose time is over; whether any has a deadline. One that is being served may get
    /// one any moment, so it counts.
    pub fn expire(&self, now: Instant) -> bool {
        let mut pending = false;
        for slot in &self.slots {
            match slot.connection.try_lock() {
                Ok(mut connection) => {
                    pending |= connection.as_mut().is_some_and(|connection| connection.expire(now));
                }
                Err(_) => pending = true,
            }
        }
        pending
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use std::{io::Read, os::unix::net::UnixStream, sync::Arc, time::Duration};

    use super::*;
    use crate::{audit::Audit, server::for_tests::origin};

    /// Puts a connection of this client into a slot; the client's end.
    fn open(table: &ConnectionTable, client: u64) -> (Token, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("two sockets");
        let slot = table.reserve().expect("a free slot");
        table.get(slot).status.accepted(origin(client));
        let audit = Audit::new(Arc::default(), Arc::default(), None, None);
        *table.get(slot).lock() = Some(Connection::new(ours.into(), origin(client), &audit));
        (Token::new(slot, client), theirs)
    }

    #[test]
    fn there_are_as_many_slots_as_the_limit_allows_and_a_released_one_is_free_again() {
        let table = ConnectionTable::new(2);
        assert!(table.is_empty());
        assert_eq!([(); 3].map(|()| table.reserve()), [Some(0), Some(1), None]);
        assert_eq!((table.in_use(), table.capacity()), (2, 2));
        table.release(0);
        assert_eq!((table.reserve(), table.reserve()), (Some(0), None));
    }

    #[test]
    fn the_peers_are_those_that_are_connected() {
        let table = ConnectionTable::new(4);
        let (token, _client) = open(&table, 1);
        let _other = open(&table, 2);
        assert_eq!(table.peers().count(), 2);
        *table.get(token.slot()).lock() = None;
        table.release(token.slot());
        assert_eq!(table.peers().collect::<Vec<_>>(), [origin(2).peer]);
    }

    #[test]
    fn a_token_is_about_its_client_and_not_about_the_next_one_in_the_slot() {
        let table = ConnectionTable::new(1);
        let (token, _client) = open(&table, 1);
        let is_there = |token| {
            let mut is_there = false;
            assert!(table.with(token, |_| is_there = true));
            is_there
        };
        assert!(is_there(token));
        *table.get(0).lock() = None;
        assert!(!is_there(token), "the client is gone");
        table.release(0);
        let (next, _client) = open(&table, 2);
        assert!(!is_there(token) && is_there(next));
    }

    #[test]
    fn a_connection_that_is_being_served_is_left_alone_and_counts_as_one_with_a_deadline() {
        let table = ConnectionTable::new(2);
        let (token, mut client) = open(&table, 1);
        assert!(!table.expire(Instant::now() + Duration::from_secs(3600)), "it owes nothing");
        let served = table.get(token.slot()).lock();
        assert!(!table.with(token, |_| panic!("a thread has it")));
        assert!(table.expire(Instant::now()), "it may have a deadline any moment");
        table.close_idle();
        client.set_nonblocking(true).unwrap();
        let still_open = client.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(still_open, Err(std::io::ErrorKind::WouldBlock));
        drop(served);
        assert!(!table.expire(Instant::now()));
    }

    #[test]
    fn idle_connections_are_closed_for_reading() {
        let table = ConnectionTable::new(2);
        let (_, client) = open(&table, 1);
        assert!(rustix::net::send(&client, b"x", rustix::net::SendFlags::NOSIGNAL).is_ok());
        table.close_idle();
        let sent = rustix::net::send(&client, b"x", rustix::net::SendFlags::NOSIGNAL);
        assert_eq!(sent, Err(rustix::io::Errno::PIPE), "the client knows before any of its next request is sent");
    }
}
