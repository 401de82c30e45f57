//! One at a time, of all helpers on this host: libvirt starts one for each virtual machine, and several of them may use
//! a map.
//!
//! The lock of a map is a file that says whose it is: a broker's, not a process'. It is given up when what was begun is
//! over, whichever of the broker's processes gets it over; a worker that dies in the middle leaves it to the next one.
//! Where the whole broker has died the lock is free, and what it says besides (that the map was suspended) is for
//! whoever takes it next.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{CWD, FlockOperation, Mode, OFlags, flock, fstat, mkdirat, openat},
    io::Errno,
};

use crate::{device::Number, sys::presence};

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

/// What a map's file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    /// Whose lock it is; zero for nobody's.
    broker: i32,
    /// The map is suspended, by that broker.
    suspended: bool,
    /// multipathd has not heard that the user has no key any more.
    untold: bool,
}

/// The lock of one map.
pub struct MapLock {
    file: File,
    broker: Arc<Broker>,
    /// As the file says.
    suspended: AtomicBool,
    untold: AtomicBool,
}

/// It is held.
pub struct Held<'a> {
    lock: &'a MapLock,
    /// The map was suspended by whoever had it before: a process of this broker, or a broker that is no more.
    pub suspended: bool,
    /// multipathd had not heard from them that the user has no key any more.
    pub untold: bool,
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

    /// The maps that brokers have suspended, or of which multipathd has yet to hear something. A broker that is dying is waited
    /// for by whoever takes the lock.
    ///
    /// # Errors
    /// What the system says.
    pub fn left() -> io::Result<Vec<u64>> {
        let mut maps = Vec::new();
        for entry in fs::read_dir(format!("/run/{DIRECTORY}"))? {
            let name = entry?.file_name();
            let Some(map) = name.to_str().and_then(map_of) else { continue };
            let record = Record::read(&open(&file_of(map))?)?;
            if record.suspended || record.untold {
                maps.push(map);
            }
        }
        Ok(maps)
    }

    fn is_alive(&self, number: i32) -> io::Result<bool> {
        Ok(number == self.number || number != 0 && presence::is_claimed(self.brokers.as_fd(), number)?)
    }
}

/// How long a record is: a number, what is going on, the line's end.
const LENGTH: usize = 21;

impl Record {
    const NOBODYS: Self = Self { broker: 0, suspended: false, untold: false };

    fn read(mut file: &File) -> io::Result<Self> {
        // It is there in one piece, as it was written.
        let mut text = [0; 2 * LENGTH];
        file.rewind()?;
        let length = loop {
            match file.read(&mut text) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        let text = str::from_utf8(&text[..length]).unwrap_or_default();
        let (broker, state) = text.trim().split_once(' ').unwrap_or_default();
        Ok(match broker.parse() {
            Ok(broker) => Self {
                broker,
                suspended: matches!(state, "suspended" | "both"),
                untold: matches!(state, "untold" | "both"),
            },
            Err(_) => Self::NOBODYS,
        })
    }

    /// In one piece, and as long as every other.
    fn write(self, mut file: &File) -> io::Result<()> {
        let state = match (self.suspended, self.untold) {
            (true, true) => "both     ",
            (true, false) => "suspended",
            (false, true) => "untold   ",
            (false, false) => "at work  ",
        };
        file.rewind()?;
        file.write_all(format!("{:010} {state}\n", self.broker).as_bytes())
    }
}

impl MapLock {
    /// The lock of the map with this device number.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(map: u64, broker: Arc<Broker>) -> io::Result<Self> {
        Ok(Self { file: open(&file_of(map))?, broker, suspended: AtomicBool::default(), untold: AtomicBool::default() })
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
        let Record { broker, suspended, untold } = Record::read(&self.file)?;
        if broker != self.broker.number && self.broker.is_alive(broker)? {
            return Ok(None);
        }
        self.suspended.store(suspended, Ordering::Relaxed);
        self.untold.store(untold, Ordering::Relaxed);
        self.record(suspended)?;
        Ok(Some(Held { lock: self, suspended, untold }))
    }

    fn record(&self, suspended: bool) -> io::Result<()> {
        let untold = self.untold.load(Ordering::Relaxed);
        Record { broker: self.broker.number, suspended, untold }.write(&self.file)
    }

    /// Takes note that the map is about to be suspended, or goes on. Without the lock it is not.
    pub fn note(&self, suspended: bool) {
        if self.suspended.swap(suspended, Ordering::Relaxed) != suspended {
            // A file that is there and open has room for this.
            let _ = self.record(suspended);
        }
    }

    fn unlock(&self) {
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

impl Held<'_> {
    /// Gives the lock up if all is over; otherwise it stays this broker's, for whoever ends what was begun. What multipathd
    /// has not heard is for this broker to tell, and for the next one if this one dies.
    pub fn end(self, is_over: bool, untold: bool) {
        self.lock.untold.store(untold, Ordering::Relaxed);
        if is_over {
            self.lock.suspended.store(false, Ordering::Relaxed);
            let _ = Record { untold, ..Record::NOBODYS }.write(&self.lock.file);
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
    fn a_lock_says_all_that_its_next_holder_has_to_know() {
        let file = File::from(rustix::fs::memfd_create("map", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        for (suspended, untold) in [(true, true), (true, false), (false, true), (false, false)] {
            let record = Record { broker: 7, suspended, untold };
            record.write(&file).unwrap();
            assert_eq!(Record::read(&file).unwrap(), record);
            assert_eq!(file.metadata().unwrap().len(), LENGTH as u64);
        }
    }
}
