//! One way to the LUN, kept open: udev looks at a disk anew whenever a descriptor for writing is closed, and a bed that
//! sends hundreds of commands would keep it at that all the time.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use scsi_persistent_reservations::{InAction, Reservation, Status};

use crate::node::{self, Block};
use crate::request::{Answer, Request};
use crate::sg_io::{Transfer, sg_io};

/// A disk or a map, opened once.
pub struct Port {
    /// For SCSI commands.
    pub file: File,
    /// For reads and writes past every cache.
    raw: File,
    path: PathBuf,
}

impl Port {
    pub fn open(path: &Path) -> Result<Self> {
        let open = |flags| OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
        let opened = || format!("{} cannot be opened", path.display());
        Ok(Self {
            file: open(0).with_context(opened)?,
            raw: open(libc::O_DIRECT).with_context(opened)?,
            path: path.to_owned(),
        })
    }

    /// The kernel's name of the disk.
    pub fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// `major:minor`, as device-mapper writes it.
    pub fn number(&self) -> Result<String> {
        let text = fs::read_to_string(Path::new("/sys/block").join(self.name()).join("dev"))?;
        Ok(text.trim().to_owned())
    }

    /// Sends the command to the device itself.
    pub fn directly(&self, request: &Request) -> Result<Answer> {
        node::send(&self.file, request).with_context(|| format!("{} on {}", request.name, self.path.display()))
    }

    /// Sends TEST UNIT READY until the device has nothing to report any more.
    pub fn settle(&self) -> Result<()> {
        for _ in 0..8 {
            if sg_io(self.file.as_fd(), &[0; 6], &Transfer::In(0))?.status == 0 {
                return Ok(());
            }
        }
        bail!("{} does not become ready", self.path.display())
    }

    /// Writes one block.
    pub fn write(&self) -> io::Result<()> {
        write(&self.raw)
    }

    /// The writing half, for a thread of its own.
    pub fn writer(&self) -> io::Result<Writer> {
        self.raw.try_clone().map(Writer)
    }

    /// Whether this nexus is registered with this key, told without a change: REGISTER from a key to itself is refused
    /// to everybody else. (It counts as a change of registrations all the same.)
    pub fn is_registered_with(&self, key: u64) -> Result<bool> {
        self.settle()?;
        let answer = self.directly(&Request::register(key, key))?;
        match answer.status {
            Status::GOOD => Ok(true),
            Status::RESERVATION_CONFLICT => Ok(false),
            _ => bail!("REGISTER from {key:#x} to itself on {}: {answer}", self.path.display()),
        }
    }

    /// All keys that are registered with the LUN.
    pub fn keys(&self) -> Result<Vec<u64>> {
        self.settle()?;
        self.directly(&Request::read(InAction::ReadKeys))?.keys()
    }

    /// The reservation of the LUN.
    pub fn reservation(&self) -> Result<Option<Reservation>> {
        self.settle()?;
        self.directly(&Request::read(InAction::ReadReservation))?.reservation()
    }

    /// Takes a disk away ("offline"), or gives it back ("running").
    pub fn set_state(&self, state: &str) -> Result<()> {
        let file = Path::new("/sys/block").join(self.name()).join("device/state");
        // The kernel refuses to change a state to itself.
        if fs::read_to_string(&file)?.trim() == state {
            return Ok(());
        }
        // It takes the word for one only with the line's end.
        crate::lun::put(&file, &format!("{state}\n"))
    }
}

/// A port that only writes.
pub struct Writer(File);

impl Writer {
    /// Writes one block.
    pub fn write(&self) -> io::Result<()> {
        write(&self.0)
    }
}

fn write(file: &File) -> io::Result<()> {
    file.write_all_at(Block::new().bytes(), 0)
}
