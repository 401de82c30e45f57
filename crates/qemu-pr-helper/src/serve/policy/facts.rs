//! What rules need to know, found out when a rule asks for it.
//!
//! Users, groups and security contexts come from the kernel: they are those of the moment when the client connected.
//! Units and the names of disks come from the process that looks names up (`observe/names`). It has no rights and reads
//! what everybody may read; but whoever takes it over decides which rule fits a client, as far as rules name units or
//! disks. It hears from nobody but this process.

use std::{
    cell::OnceCell,
    collections::VecDeque,
    os::fd::BorrowedFd,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use scsi_pr::Command;

use super::rules::Facts;
use crate::{
    device::Identity,
    observe::{
        audit::Peer,
        names::{Aliases, Names},
    },
    sys::peer,
};

/// What is known of one client; none of it changes while it is connected.
#[derive(Default)]
pub struct Known {
    groups: OnceCell<Vec<u32>>,
    context: OnceCell<String>,
    control_group: OnceCell<String>,
}

/// What is known of disks, for all clients.
pub struct Memory {
    names: Option<Arc<Names>>,
    disks: Mutex<VecDeque<(Identity, Instant, Aliases)>>,
}

/// How many disks are remembered.
const REMEMBERED: usize = 256;

/// How long a disk's names are good. Its number can be another disk's soon.
const FRESH: Duration = Duration::from_secs(5);

impl Memory {
    /// An empty one.
    pub fn new(names: Option<Arc<Names>>) -> Self {
        Self { names, disks: Mutex::default() }
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
        let found = self.names.as_ref()?.aliases(device).ok()??;
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
    pub peer: Peer,
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
        self.peer.uid
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
            if self.peer.pid == 0 {
                return None;
            }
            // If it is gone, its number can be another process' by the time that somebody looks.
            let process = peer::process(self.socket).ok()?;
            let found = self.memory.names.as_ref()?.control_group(self.peer.pid).ok()??;
            process.is_none_or(|process| peer::is_alive(&process)).then_some(found)
        })
    }

    fn context(&self) -> Option<String> {
        known(&self.known.context, || peer::context(self.socket).ok())
    }

    fn names(&self) -> Option<Aliases> {
        self.memory.aliases(self.device)
    }
}
