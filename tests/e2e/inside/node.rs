//! One initiator's view of a LUN: a block device.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use scsi_persistent_reservations::{Sense, Status};

use crate::request::{Answer, Request};
use crate::sg_io::{Transfer, sg_io};

/// A block device that leads to a LUN through one nexus.
pub struct Node(PathBuf);

const BLOCK: usize = 4096;
/// What LIO calls a block.
const SECTOR: usize = 512;

impl Node {
    /// The device at this path.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The character device of the same nexus, which scsi-generic passes to a guest.
    pub fn generic(&self) -> Result<Node> {
        let name = self.0.file_name().context("a device has a name")?;
        let folder = Path::new("/sys/block").join(name).join("device/scsi_generic");
        let entry = fs::read_dir(&folder)?.next().context("the disk has no character device")??;
        Ok(Node(Path::new("/dev").join(entry.file_name())))
    }

    /// Opens it the way QEMU does, for reading and writing.
    pub fn open(&self) -> Result<File> {
        let file = OpenOptions::new().read(true).write(true).open(&self.0);
        file.with_context(|| format!("{} cannot be opened", self.0.display()))
    }

    /// Sends the command to the device itself.
    pub fn directly(&self, request: &Request) -> Result<Answer> {
        send(&self.open()?, request).with_context(|| format!("{} on {}", request.name, self.0.display()))
    }

    /// Sends TEST UNIT READY until the device has nothing to report any more.
    pub fn settle(&self) -> Result<()> {
        let file = self.open()?;
        for _ in 0..8 {
            if sg_io(file.as_fd(), &[0; 6], &Transfer::In(0))?.status == 0 {
                return Ok(());
            }
        }
        bail!("{} does not become ready", self.0.display())
    }

    /// READ(10) of the second block of 512 bytes; whatever the device answers.
    pub fn read_block(&self) -> Result<Answer> {
        self.access(&[0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0], &Transfer::In(SECTOR))
    }

    /// WRITE(10) of the same.
    pub fn write_block(&self) -> Result<Answer> {
        self.access(&[0x2a, 0, 0, 0, 0, 1, 0, 0, 1, 0], &Transfer::Out(&[0x5a; SECTOR]))
    }

    fn access(&self, cdb: &[u8], transfer: &Transfer<'_>) -> Result<Answer> {
        let outcome = sg_io(self.open()?.as_fd(), cdb, transfer)?;
        Ok(Answer { status: Status(outcome.status), sense: Sense::from_device(&outcome.sense), data: outcome.data })
    }

    /// Writes one block past every cache.
    pub fn write(&self) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(&self.0)?;
        file.write_all(Block::new().bytes())
    }

    /// Reads one block past every cache.
    pub fn read(&self) -> io::Result<()> {
        let mut file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&self.0)?;
        file.read_exact(Block::new().bytes_mut())
    }
}

/// Sends the command to an open device.
pub fn send(device: &File, request: &Request) -> Result<Answer> {
    let transfer = if request.parameters.is_empty() {
        Transfer::In(usize::from(request.allocation_length))
    } else {
        Transfer::Out(&request.parameters)
    };
    let outcome = sg_io(device.as_fd(), request.cdb.command_bytes(), &transfer)?;
    Ok(Answer { status: Status(outcome.status), sense: Sense::from_device(&outcome.sense), data: outcome.data })
}

/// A block of memory that lies as `O_DIRECT` wants it.
pub struct Block {
    buffer: Vec<u8>,
    offset: usize,
}

impl Block {
    pub fn new() -> Self {
        let buffer = vec![0x5a; 2 * BLOCK];
        let offset = buffer.as_ptr().align_offset(BLOCK);
        Self { buffer, offset }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.offset..self.offset + BLOCK]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.offset..self.offset + BLOCK]
    }
}
