//! One at a time, of all helpers on this host: libvirt starts one for each virtual machine, and several of them may use
//! a map.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{CWD, FlockOperation, Mode, OFlags, flock, fstat, major, minor, mkdirat, openat},
    io::Errno,
};

/// Where the files are that are locked. It is root's own.
const DIRECTORY: &str = "qemu-pr-broker";

/// How often somebody else's lock is looked at again.
const PAUSE: Duration = Duration::from_millis(5);

/// The lock of one map.
pub struct MapLock(File);

/// It is held.
pub struct Held<'a>(&'a MapLock);

impl MapLock {
    /// The lock of the map with this device number; it goes with the process.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(map: u64) -> io::Result<Self> {
        let run = openat(CWD, "/run", OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let directory = directory(&run)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = format!("map-{}:{}", major(map), minor(map));
        Ok(Self(File::from(openat(&directory, name, flags, Mode::RUSR | Mode::WUSR)?)))
    }

    /// Waits for the lock until then; `None` if somebody else still has it.
    ///
    /// # Errors
    /// What the system says.
    pub fn hold(&self, deadline: Instant) -> io::Result<Option<Held<'_>>> {
        loop {
            match flock(&self.0, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(Held(self))),
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if Instant::now() >= deadline => return Ok(None),
                Err(Errno::WOULDBLOCK) => thread::sleep(PAUSE),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let _ = flock(&self.0.0, FlockOperation::Unlock);
    }
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
