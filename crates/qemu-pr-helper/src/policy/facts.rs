//! What rules need to know, found out when a rule asks for it.
//!
//! Users, groups and security contexts come from the kernel: they are those of the moment when the client connected.
//! So is the unit, which the resolver is asked for then, if there are rules that name units. The names of disks come
//! from it as well. It has no privileges and reads what every user may read; but an attacker who controls it decides which
//! rule fits a client, as far as rules name units or disks. It receives nothing but this process' questions.

use std::{
    cell::{Cell, OnceCell},
    collections::VecDeque,
    os::fd::BorrowedFd,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use pr_device::Identity;
use pr_resolver::Aliases;
use pr_sys::peer;
use scsi_persistent_reservations::Command;

use super::rules::Facts;
use crate::{
    peer::Origin,
    resolver::{Lookup, Resolver},
};

/// What is known of one client; none of it changes while it is connected.
#[derive(Default)]
pub struct Known {
    groups: OnceCell<Vec<u32>>,
    context: OnceCell<String>,
    control_group: OnceCell<String>,
    /// The resolver has been asked for that.
    asked: Cell<Option<Lookup>>,
}

impl Known {
    /// The control group has been asked for.
    pub fn expect(&self, asked: Lookup) {
        self.asked.set(Some(asked));
    }
}

/// What is known of disks, for all clients.
pub struct Memory {
    resolver: Option<Arc<Resolver>>,
    disks: Mutex<VecDeque<(Identity, Instant, Aliases)>>,
}

/// How many disks are remembered.
const REMEMBERED: usize = 256;

/// How long a disk's names are good. Its number can be another disk's soon.
const FRESH: Duration = Duration::from_secs(5);

impl Memory {
    /// An empty one.
    pub fn new(resolver: Option<Arc<Resolver>>) -> Self {
        Self { resolver, disks: Mutex::default() }
    }

    /// Who finds out what is not known.
    pub const fn resolver(&self) -> Option<&Arc<Resolver>> {
        self.resolver.as_ref()
    }

    /// Asks for the control group of a client; `None` where the resolver cannot be asked.
    pub fn ask(&self, Origin { peer, connected, .. }: Origin) -> Option<Lookup> {
        let resolver = self.resolver.as_ref().filter(|_| peer.pid != 0)?;
        resolver.control_group(peer.pid, connected).ok()
    }

    /// All names of a disk; `None` if they cannot be had.
    pub fn aliases(&self, device: Identity) -> Option<Aliases> {
        let disks = || self.disks.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut disks = disks();
            disks.retain(|(_, since, _)| since.elapsed() < FRESH);
            if let Some((_, _, known)) = disks.iter().find(|(known, _, _)| *known == device) {
                return Some(known.clone());
            }
        }
        let found = self.resolver.as_ref()?.aliases(device).ok()??;
        let mut disks = disks();
        if disks.len() >= REMEMBERED {
            disks.pop_front();
        }
        disks.push_back((device, Instant::now(), found.clone()));
        Some(found)
    }
}

/// A request that is being looked at.
pub struct Live<'a> {
    /// Who wants it.
    pub origin: Origin,
    /// The client's socket.
    pub socket: BorrowedFd<'a>,
    /// Where it is to go.
    pub device: Identity,
    /// What it is.
    pub command: Command,
    /// What is known of the client.
    pub known: &'a Known,
    /// What is known of disks.
    pub memory: &'a Memory,
}

/// The value of a cell, found out now if it is not known.
fn known<T: Clone>(cell: &OnceCell<T>, find: impl FnOnce() -> Option<T>) -> Option<T> {
    if cell.get().is_none() {
        let _ = cell.set(find()?);
    }
    cell.get().cloned()
}

impl Facts for Live<'_> {
    fn user(&self) -> u32 {
        self.origin.peer.uid
    }

    fn command(&self) -> Command {
        self.command
    }

    fn device(&self) -> Identity {
        self.device
    }

    fn groups(&self) -> Option<Vec<u32>> {
        known(&self.known.groups, || peer::groups(self.socket).ok())
    }

    fn control_group(&self) -> Option<String> {
        known(&self.known.control_group, || {
            let asked = self.known.asked.take();
            let asked = asked.or_else(|| self.memory.ask(self.origin))?;
            asked.control_group().ok()?
        })
    }

    fn context(&self) -> Option<String> {
        known(&self.known.context, || peer::context(self.socket).ok())
    }

    fn names(&self) -> Option<Aliases> {
        self.memory.aliases(self.device)
    }
}
