//! One at a time, of all helpers on this host: libvirt starts one for each virtual machine, and several of them may use
//! a map.
//!
//! The lock of a map is a file that says whose it is: a broker's, not a process'. It is given up when what was begun is
//! over, whichever of the broker's processes gets it over; a worker that dies in the middle leaves it to the next one.
//! Where the whole broker has died the lock is free. What is known of the map is in the file as well, see [`Kept`], for
//! whoever takes the lock next.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use pr_device::Number;
use pr_multipath::Memory;
use pr_sys::presence;
use rustix::{
    fs::{CWD, FlockOperation, Mode, OFlags, flock, fstat, mkdirat, openat},
    io::Errno,
};

use super::kept::Kept;

/// Where the files are that are locked. It is root's own.
const DIRECTORY: &str = "qemu-pr-broker";

/// The file in which each broker that is alive has a byte locked: the one that its number names.
const BROKERS: &str = "brokers";

/// How often somebody else's lock is looked at again.
const PAUSE: Duration = Duration::from_millis(5);

/// One broker of this host: all its processes are, and nobody else.
pub struct Broker {
    brokers: File,
    number: i32,
}

/// What a map's file begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    /// Whose lock it is; zero for nobody's.
    broker: i32,
    /// Who has kept what is known of the map; zero for nobody.
    writer: i32,
}

/// The lock of one map.
pub struct MapLock {
    file: File,
    broker: Arc<Broker>,
    uuid: String,
    is_held: AtomicBool,
    /// As the file says.
    writer: AtomicI32,
    /// The number of what is kept there; zero if that is not known.
    number: AtomicU64,
    /// Something was not kept, for want of the lock.
    has_missed: AtomicBool,
}

/// It is held.
pub struct Held<'a> {
    lock: &'a MapLock,
    /// What another broker has kept of the map since this one had the lock last.
    pub memory: Option<Memory>,
    /// A broker has died with the lock.
    pub was_orphaned: bool,
}

impl Broker {
    /// A new one, for this process and those that it forks off.
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> io::Result<Self> {
        let mut brokers = open(BROKERS)?;
        while let Err(error) = flock(&brokers, FlockOperation::LockExclusive) {
            if error != Errno::INTR {
                return Err(error.into());
            }
        }
        let mut last = String::new();
        // Each number is used once: by what a dead broker has left nobody else is meant.
        brokers.read_to_string(&mut last)?;
        let mut number: i32 = last.trim().parse().unwrap_or(0).max(0);
        loop {
            // Where they come to an end they begin anew. Zero is nobody's.
            number = number.checked_add(1).unwrap_or(1);
            if presence::claim(brokers.as_fd(), number)? {
                break;
            }
        }
        brokers.rewind()?;
        brokers.write_all(format!("{number:010}\n").as_bytes())?;
        flock(&brokers, FlockOperation::Unlock)?;
        Ok(Self { brokers, number })
    }

    /// What has to stay open as long as a process of this broker lives.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.brokers.as_fd()
    }

    /// The maps at which brokers have left something to do, and their uuids. A broker that is dying is waited for by
    /// whoever takes the lock.
    ///
    /// # Errors
    /// What the system says.
    pub fn left() -> io::Result<Vec<(u64, String)>> {
        let mut maps = Vec::new();
        for entry in fs::read_dir(format!("/run/{DIRECTORY}"))? {
            let name = entry?.file_name();
            let Some(map) = name.to_str().and_then(map_of) else { continue };
            if let Some(kept) = Kept::read(&open(&file_of(map))?)?.filter(|kept| kept.memory.is_unfinished()) {
                maps.push((map, kept.uuid));
            }
        }
        Ok(maps)
    }

    fn is_alive(&self, number: i32) -> io::Result<bool> {
        Ok(number == self.number || number != 0 && presence::is_claimed(self.brokers.as_fd(), number)?)
    }
}

/// How long a record is: two numbers, the line's end.
const LENGTH: usize = 22;

impl Record {
    fn read(mut file: &File) -> io::Result<Self> {
        // It is there in one piece, as it was written.
        let mut text = [0; LENGTH];
        file.rewind()?;
        let length = loop {
            match file.read(&mut text) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        let text = str::from_utf8(&text[..length]).unwrap_or_default();
        let (broker, writer) = text.trim_end().split_once(' ').unwrap_or_default();
        Ok(Self { broker: broker.parse().unwrap_or(0), writer: writer.parse().unwrap_or(0) })
    }

    /// In one piece, and as long as every other.
    fn write(self, mut file: &File) -> io::Result<()> {
        file.rewind()?;
        file.write_all(format!("{:010} {:010}\n", self.broker, self.writer).as_bytes())
    }
}

impl MapLock {
    /// The lock of a map, by its device number and its uuid.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(map: u64, uuid: &str, broker: Arc<Broker>) -> io::Result<Self> {
        Ok(Self {
            file: open(&file_of(map))?,
            broker,
            uuid: uuid.to_owned(),
            is_held: AtomicBool::default(),
            writer: AtomicI32::default(),
            number: AtomicU64::default(),
            has_missed: AtomicBool::default(),
        })
    }

    /// Waits for the lock until then; `None` if somebody else still has it.
    ///
    /// # Errors
    /// What the system says.
    pub fn hold(&self, deadline: Instant) -> io::Result<Option<Held<'_>>> {
        loop {
            match flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => match self.take() {
                    Ok(Some(held)) => return Ok(Some(held)),
                    Ok(None) => self.unlock(),
                    Err(error) => {
                        self.unlock();
                        return Err(error);
                    }
                },
                Err(Errno::INTR | Errno::WOULDBLOCK) => {}
                Err(error) => return Err(error.into()),
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            thread::sleep(PAUSE);
        }
    }

    /// Makes it this broker's, unless it is another one's that is alive.
    fn take(&self) -> io::Result<Option<Held<'_>>> {
        let Record { broker, writer } = Record::read(&self.file)?;
        let own = self.broker.number;
        if broker != own && self.broker.is_alive(broker)? {
            return Ok(None);
        }
        let is_known = writer == own && self.number.load(Ordering::Relaxed) != 0;
        let kept = if is_known { None } else { Kept::read(&self.file)? };
        if let Some(kept) = &kept {
            self.number.store(kept.number, Ordering::Relaxed);
        }
        self.writer.store(writer, Ordering::Relaxed);
        Record { broker: own, writer }.write(&self.file)?;
        self.is_held.store(true, Ordering::Relaxed);
        let memory = kept.filter(|kept| writer != own && kept.uuid == self.uuid).map(|kept| kept.memory);
        Ok(Some(Held { lock: self, memory, was_orphaned: broker != own && broker != 0 }))
    }

    /// Keeps what is known of the map, for whoever has the lock next. Without the lock it is not.
    pub fn keep(&self, memory: Memory) {
        if !self.is_held.load(Ordering::Relaxed) {
            self.has_missed.store(true, Ordering::Relaxed);
            return;
        }
        let kept = Kept { number: self.number.load(Ordering::Relaxed) + 1, uuid: self.uuid.clone(), memory };
        // Where there is no room for it what was there before stays.
        if kept.write(&self.file).is_ok() {
            self.has_missed.store(false, Ordering::Relaxed);
            self.number.store(kept.number, Ordering::Relaxed);
            let own = self.broker.number;
            if self.writer.swap(own, Ordering::Relaxed) != own {
                let _ = Record { broker: own, writer: own }.write(&self.file);
            }
        }
    }

    /// The same after a reading, which needs no lock: what the user has been told the next helper is not to tell again. Where
    /// another broker has the map, or had it since, that one knows better.
    pub fn keep_if_free(&self, memory: &Memory) {
        if !self.has_missed.load(Ordering::Relaxed)
            || flock(&self.file, FlockOperation::NonBlockingLockExclusive).is_err()
        {
            return;
        }
        let own = self.broker.number;
        let is_ours = Record::read(&self.file).is_ok_and(|record| record == Record { broker: 0, writer: own });
        if is_ours && self.number.load(Ordering::Relaxed) != 0 {
            self.is_held.store(true, Ordering::Relaxed);
            self.keep(memory.clone());
        }
        self.unlock();
    }

    fn unlock(&self) {
        self.is_held.store(false, Ordering::Relaxed);
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

impl Held<'_> {
    /// Gives the lock up if all is over; otherwise it stays this broker's, for whoever ends what was begun.
    pub fn end(self, is_over: bool) {
        if is_over {
            let _ = Record { broker: 0, writer: self.lock.writer.load(Ordering::Relaxed) }.write(&self.lock.file);
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.lock.unlock();
    }
}

fn file_of(map: u64) -> String {
    format!("map-{}", Number(map))
}

fn map_of(name: &str) -> Option<u64> {
    Number::parse(name.strip_prefix("map-")?).map(|number| number.0)
}

/// Makes the directory, for a process that may soon make none any more. Where that cannot be, the first command on a map
/// says so.
pub fn prepare() {
    if let Ok(run) = openat(CWD, "/run", OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        let _ = directory(&run);
    }
}

fn open(name: &str) -> io::Result<File> {
    let run = openat(CWD, "/run", OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let directory = directory(&run)?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(openat(&directory, name, flags, Mode::RUSR | Mode::WUSR)?))
}

/// The directory, if it is one that only root can have made anything in.
fn directory(run: &OwnedFd) -> io::Result<OwnedFd> {
    match mkdirat(run, DIRECTORY, Mode::RWXU) {
        // Where it cannot be made it may be there: a unit's RuntimeDirectory=.
        Ok(()) | Err(Errno::EXIST | Errno::ROFS | Errno::ACCESS) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(run.as_fd(), DIRECTORY, flags, Mode::empty())?;
    let stat = fstat(&directory)?;
    if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & 0o022 != 0 {
        return Err(io::Error::other(format!("/run/{DIRECTORY} is not root's alone; remove it")));
    }
    Ok(directory)
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    #[test]
    fn the_sandbox_lets_the_broker_have_its_files() {
        assert_eq!(format!("/run/{DIRECTORY}"), pr_sandbox::sandbox::LOCKS);
    }

    #[test]
    fn a_lock_says_whose_it_is_and_who_has_kept_something() {
        let file = File::from(rustix::fs::memfd_create("map", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        assert_eq!(Record::read(&file).unwrap(), Record { broker: 0, writer: 0 });
        for (broker, writer) in [(7, 7), (0, 7), (i32::MAX, 1), (0, 0)] {
            let record = Record { broker, writer };
            record.write(&file).unwrap();
            assert_eq!(Record::read(&file).unwrap(), record);
            assert_eq!(file.metadata().unwrap().len(), LENGTH as u64);
        }
    }

    /// A broker, and its lock of a map in this file.
    fn lock(file: &File, uuid: &str, number: i32) -> MapLock {
        let brokers = File::from(rustix::fs::memfd_create("brokers", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        MapLock {
            file: file.try_clone().unwrap(),
            broker: Arc::new(Broker { brokers, number }),
            uuid: uuid.to_owned(),
            is_held: AtomicBool::default(),
            writer: AtomicI32::default(),
            number: AtomicU64::default(),
            has_missed: AtomicBool::default(),
        }
    }

    #[test]
    fn who_takes_the_lock_learns_what_another_one_has_kept_of_the_same_map() {
        let file = File::from(rustix::fs::memfd_create("map", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        let of = |key| Memory {
            multipathd_keys: vec![scsi_persistent_reservations::ReservationKey(key)],
            ..Memory::default()
        };
        let (first, second, other) = (lock(&file, "mpath-a", 1), lock(&file, "mpath-a", 2), lock(&file, "mpath-b", 3));
        first.keep(of(9));
        let held = first.take().unwrap().unwrap();
        assert_eq!(held.memory, None, "nothing is kept without the lock");
        first.keep(of(1));
        held.end(true);
        let held = first.take().unwrap().unwrap();
        assert_eq!((&held.memory, held.was_orphaned), (&None, false), "it is its own");
        // It does not end it.
        drop(held);
        let held = second.take().unwrap().unwrap();
        assert_eq!((&held.memory, held.was_orphaned), (&Some(of(1)), true));
        held.end(true);
        let held = other.take().unwrap().unwrap();
        assert_eq!((&held.memory, held.was_orphaned), (&None, false), "it is another map's");
        held.end(true);
        let held = second.take().unwrap().unwrap();
        assert_eq!(held.memory, Some(of(1)), "it has kept nothing itself");
        second.keep(of(2));
        second.keep(of(3));
        held.end(true);
        assert_eq!(first.take().unwrap().unwrap().memory, Some(of(3)));
    }
}
