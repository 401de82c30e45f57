//! The places for connections: as many as the limit allows, made once.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{connection::Connection, flight::Flight, hub::Token};

/// One place.
#[derive(Default)]
pub struct Slot {
    /// Held by the thread that serves the connection, for as long as it does. Sockets report once, so nobody else
    /// wants it but the sweep, which does not wait, and who has closed what the client sent.
    connection: Mutex<Option<Connection>>,
    /// What is under way, to look at from outside.
    pub flight: Flight,
}

impl Slot {
    /// The connection, for one thread.
    pub fn lock(&self) -> MutexGuard<'_, Option<Connection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All places.
pub struct Slots {
    slots: Box<[Slot]>,
    free: Mutex<Vec<u32>>,
}

impl Slots {
    /// Places for so many connections.
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

    /// Takes a free place.
    pub fn reserve(&self) -> Option<u32> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Gives a place back. Its connection is gone.
    pub fn release(&self, place: u32) {
        self.get(place).flight.close();
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(place);
    }

    /// Whether all are free.
    pub fn is_empty(&self) -> bool {
        self.in_use() == 0
    }

    /// How many are not free.
    pub fn in_use(&self) -> usize {
        self.slots.len() - self.free.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Lets the connections go that are between requests. One that is being served finds out by itself.
    pub fn dismiss(&self) {
        for slot in &self.slots {
            if let Ok(connection) = slot.connection.try_lock()
                && let Some(connection) = connection.as_ref()
            {
                connection.dismiss();
            }
        }
    }

    /// A place by its number.
    pub fn get(&self, place: u32) -> &Slot {
        &self.slots[place as usize]
    }

    /// Does something with a connection, if it is still there; false if a thread is busy with it.
    pub fn with(&self, token: Token, act: impl FnOnce(&Connection)) -> bool {
        let Ok(connection) = self.get(token.place()).connection.try_lock() else { return false };
        if let Some(connection) = connection.as_ref().filter(|connection| connection.is(token)) {
            act(connection);
        }
        true
    }

    /// All places.
    pub fn all(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter()
    }

    /// Hangs up on those whose time is over; whether any connection has a deadline. One that is being served may get
    /// one any moment, so it counts.
    pub fn sweep(&self, now: Instant) -> bool {
        let mut pending = false;
        for slot in &self.slots {
            match slot.connection.try_lock() {
                Ok(mut connection) => {
                    pending |= connection.as_mut().is_some_and(|connection| connection.check_deadline(now));
                }
                Err(_) => pending = true,
            }
        }
        pending
    }
}
