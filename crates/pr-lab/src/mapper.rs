//! device-mapper for a machine that has none: the ioctls of a helper on its control node are answered here.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{major, makedev, minor};

use crate::sys::memory;
use crate::sys::notify::Waiting;

const DEV_SUSPEND: u64 = 6;
const TABLE_STATUS: u64 = 12;
const TARGET_MESSAGE: u64 = 14;
const ARM_POLL: u64 = 16;

const SUSPEND: u32 = 1 << 1;
const STATUS_TABLE: u32 = 1 << 4;
const BUFFER_FULL: u32 = 1 << 8;

/// Where fields are in `struct dm_ioctl`, and what lies behind it.
const HEADER: usize = 312;
const DATA_SIZE: usize = 12;
const TARGET_COUNT: usize = 20;
const FLAGS: usize = 28;
const EVENT: usize = 32;
const DEVICE: usize = 40;
const NAME: usize = 48;
const UUID: usize = 176;
/// `struct dm_target_spec`, and the type in it.
const SPEC: usize = 40;
const TYPE: usize = 24;

/// Maps, their paths, and what was done to them.
#[derive(Debug, Clone, Default)]
pub struct Mapper(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    maps: BTreeMap<u64, Map>,
    calls: Vec<String>,
    /// What the control node is: readable when something has happened.
    node: Option<File>,
    /// Maps cannot be suspended: I/O that does not end is on its way.
    stuck: bool,
    /// Maps cannot be resumed.
    refuses_resume: bool,
    /// Somebody else is about to suspend a map: whoever wants to do so as well waits, whatever signal comes.
    locked: bool,
}

#[derive(Debug, Clone, Default)]
struct Map {
    /// Groups of paths, each with whether I/O goes there.
    groups: Vec<Vec<(u64, bool)>>,
    /// The group in use.
    current: usize,
    suspended: bool,
    event: u32,
    /// Its uuid and name, where device-mapper is to tell them as well.
    known_as: Option<[String; 2]>,
}

impl Mapper {
    /// Makes a control node there.
    pub fn make_node(&self, path: &Path) {
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("make a FIFO");
        let node = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path);
        self.lock().node = Some(node.expect("open the FIFO"));
    }

    /// There is a map with these groups of paths, the first of them in use; all paths are active.
    pub fn map(&self, device: u64, groups: &[&[u64]]) {
        let groups = groups.iter().map(|paths| paths.iter().map(|path| (*path, true)).collect()).collect();
        let mut state = self.lock();
        let map = state.maps.entry(device).or_default();
        (map.groups, map.current) = (groups, 0);
        map.event += 1;
        state.tell();
    }

    /// From now on a map's uuid and name are told with its table.
    pub fn tell_names(&self, map: u64, uuid: &str, name: &str) {
        self.lock().maps.get_mut(&map).expect("a map").known_as = Some([uuid.to_owned(), name.to_owned()]);
    }

    /// Whether I/O goes to a path, from now on.
    pub fn set_active(&self, path: u64, active: bool) {
        self.change(path, active);
    }

    /// Whether I/O goes to a path.
    pub fn is_active(&self, path: u64) -> bool {
        let state = self.lock();
        state.maps.values().flat_map(|map| map.groups.iter().flatten()).any(|one| *one == (path, true))
    }

    /// Which group is in use, counted from 0.
    pub fn set_group(&self, map: u64, group: usize) {
        let mut state = self.lock();
        let map = state.maps.get_mut(&map).expect("a map");
        map.current = group;
        map.event += 1;
        state.tell();
    }

    /// Somebody holds a map back, or does so no more.
    pub fn set_suspended(&self, map: u64, suspended: bool) {
        self.lock().maps.get_mut(&map).expect("a map").suspended = suspended;
    }

    /// Whether a map is held back.
    pub fn is_suspended(&self, map: u64) -> bool {
        self.lock().maps.get(&map).is_some_and(|map| map.suspended)
    }

    /// Whether the suspension of a map waits for I/O that does not end, until a signal comes.
    pub fn set_stuck(&self, stuck: bool) {
        self.lock().stuck = stuck;
    }

    /// Whether the kernel refuses to resume maps.
    pub fn set_refuses_resume(&self, refuses: bool) {
        self.lock().refuses_resume = refuses;
    }

    /// Whether somebody else is about to suspend a map, and the kernel lets nobody else do so until then.
    pub fn set_locked(&self, locked: bool) {
        self.lock().locked = locked;
    }

    /// Whether such a call has to wait now.
    pub(crate) fn holds_up(&self, waiting: &Waiting) -> bool {
        waiting.arguments[1] & 0xff == DEV_SUSPEND && self.lock().locked
    }

    /// What was asked for since the last time, but for looking: `suspend 7:0`, `resume 7:0`, `fail_path 7:1`.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().calls)
    }

    fn change(&self, path: u64, active: bool) {
        let mut state = self.lock();
        for map in state.maps.values_mut() {
            for one in map.groups.iter_mut().flatten().filter(|one| one.0 == path && one.1 != active) {
                one.1 = active;
                map.event += 1;
            }
        }
        state.tell();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers an ioctl with the errno that it fails with, 0 for none.
    pub(crate) fn serve(&self, waiting: &Waiting) -> io::Result<i32> {
        let (thread, address) = (waiting.thread, waiting.arguments[2]);
        let header = memory::read(thread, address, HEADER)?;
        let number = |at: usize| u32::from_ne_bytes(header[at..at + 4].try_into().expect("4 bytes"));
        let encoded = u64::from_ne_bytes(header[DEVICE..DEVICE + 8].try_into().expect("8 bytes"));
        let low = |value: u64| u32::try_from(value & 0xffff_ffff).expect("32 bits");
        let device = makedev(low(encoded >> 8 & 0xfff), low(encoded & 0xff | encoded >> 12 & 0xfff00));
        let name = format!("{}:{}", major(device), minor(device));
        let flags = number(FLAGS);
        let mut state = self.lock();
        let call = waiting.arguments[1] & 0xff;
        if call == ARM_POLL {
            let Some(mut node) = state.node.as_ref() else { return Ok(libc::ENOTTY) };
            while let Ok(1..) = node.read(&mut [0; 64]) {}
            return Ok(0);
        }
        let (stuck, refuses_resume) = (state.stuck, state.refuses_resume);
        let Some(map) = state.maps.get_mut(&device) else { return Ok(libc::ENXIO) };
        match call {
            TABLE_STATUS => {
                let text = if flags & STATUS_TABLE == 0 { map.status() } else { String::new() };
                let mut data = vec![0; SPEC];
                data[TYPE..TYPE + 9].copy_from_slice(b"multipath");
                data.extend(text.as_bytes());
                data.push(0);
                let mut flags = flags;
                flags = if map.suspended { flags | SUSPEND } else { flags & !SUSPEND };
                if HEADER + data.len() > number(DATA_SIZE) as usize {
                    flags |= BUFFER_FULL;
                } else {
                    memory::write(thread, address + HEADER as u64, &data)?;
                }
                for (text, at) in map.known_as.iter().flatten().zip([UUID, NAME]) {
                    memory::write(thread, address + at as u64, &[text.as_bytes(), b"\0"].concat())?;
                }
                memory::write(thread, address + TARGET_COUNT as u64, &1_u32.to_ne_bytes())?;
                memory::write(thread, address + FLAGS as u64, &flags.to_ne_bytes())?;
                memory::write(thread, address + EVENT as u64, &map.event.to_ne_bytes())?;
                Ok(0)
            }
            DEV_SUSPEND => {
                let suspends = flags & SUSPEND != 0;
                if suspends && stuck {
                    return Ok(libc::EINTR);
                }
                if !suspends && refuses_resume {
                    return Ok(libc::ENOMEM);
                }
                map.suspended = suspends;
                state.calls.push(format!("{} {name}", if suspends { "suspend" } else { "resume" }));
                Ok(0)
            }
            TARGET_MESSAGE => {
                // Behind the sector, up to the zero.
                let bytes = memory::read(thread, address + HEADER as u64 + 8, 64)?;
                let text: Vec<u8> = bytes.into_iter().take_while(|byte| *byte != 0).collect();
                let text = String::from_utf8_lossy(&text).into_owned();
                state.calls.push(text.clone());
                drop(state);
                let path = text.strip_prefix("fail_path ").and_then(|path| path.split_once(':'));
                let Some((major, minor)) = path else { return Ok(libc::EINVAL) };
                self.change(makedev(major.parse().expect("a number"), minor.parse().expect("a number")), false);
                Ok(0)
            }
            _ => Ok(libc::ENOTTY),
        }
    }
}

impl State {
    /// Something has happened.
    fn tell(&self) {
        if let Some(mut node) = self.node.as_ref() {
            // Full of news is as good.
            _ = node.write(&[0]);
        }
    }
}

impl Map {
    /// As `multipath_status` of the kernel writes it, with a round-robin selector.
    fn status(&self) -> String {
        use std::fmt::Write as _;

        let mut text = format!("2 0 0 0 {} {} ", self.groups.len(), self.current + 1);
        for (index, paths) in self.groups.iter().enumerate() {
            let state = if index == self.current { 'A' } else { 'E' };
            _ = write!(text, "{state} 0 {} 0 ", paths.len());
            for (path, active) in paths {
                let state = if *active { 'A' } else { 'F' };
                _ = write!(text, "{}:{} {state} 0 ", major(*path), minor(*path));
            }
        }
        text
    }
}
