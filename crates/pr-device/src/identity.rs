//! What is behind a descriptor: kind and number of a device.

use std::{fmt, os::fd::BorrowedFd};

use rustix::fs::{AtFlags, FileType, StatxFlags, major, makedev, minor, statx};

/// /dev/null and its like, and /dev/sg* (`<linux/major.h>`).
pub const MEMORY_MAJOR: u32 = 1;
const SCSI_GENERIC_MAJOR: u32 = 21;

/// What is behind a descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// What kind of file.
    pub kind: Kind,
    /// Its device number; for plain files that of their file system.
    pub device: u64,
}

/// A device's number in words: major and minor number, `8:16`.
pub struct Number(pub u64);

impl Number {
    /// Reads it.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once(':')?;
        Some(Self(makedev(major.parse().ok()?, minor.parse().ok()?)))
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", major(self.0), minor(self.0))
    }
}

/// The kinds of files that matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Something else.
    #[default]
    File,
    /// A disk, a partition, a map.
    Block,
    /// A SCSI generic device, or no disk at all.
    Character,
    /// A pipe. No disk is ever behind one.
    Pipe,
    /// It cannot be told. It could be a multipath map, and one that rules are about.
    Unknown,
}

impl Identity {
    /// Looks at a descriptor. What a file system in user space, or on another machine, would have to be asked for is not
    /// asked for: it may take its time.
    pub fn of(descriptor: BorrowedFd<'_>) -> Self {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let Ok(stat) = statx(descriptor, c"", flags, StatxFlags::TYPE) else {
            return Self { kind: Kind::Unknown, device: 0 };
        };
        let own = makedev(stat.stx_rdev_major, stat.stx_rdev_minor);
        let file_system = makedev(stat.stx_dev_major, stat.stx_dev_minor);
        match FileType::from_raw_mode(stat.stx_mode.into()) {
            FileType::BlockDevice => Self { kind: Kind::Block, device: own },
            FileType::Fifo => Self { kind: Kind::Pipe, device: file_system },
            FileType::CharacterDevice => Self { kind: Kind::Character, device: own },
            _ => Self { kind: Kind::File, device: file_system },
        }
    }

    /// Whether it could be a disk: everything else takes no command and is not asked.
    pub fn is_device(self) -> bool {
        matches!(self.kind, Kind::Block | Kind::Character)
    }

    /// Whether no client can delay its closing: a disk's, which its client has open itself, and that of pipes and of
    /// memory devices (/dev/null). Everything else takes as long as who made it wishes.
    pub fn closes_at_once(self) -> bool {
        match self.kind {
            Kind::Block | Kind::Pipe => true,
            Kind::Character => matches!(self.major(), MEMORY_MAJOR | SCSI_GENERIC_MAJOR),
            Kind::File | Kind::Unknown => false,
        }
    }

    /// The major number: which driver.
    pub fn major(self) -> u32 {
        major(self.device)
    }

    /// Whether this is a device of the kernel's `sd` driver, by its number (`<linux/major.h>`).
    pub fn is_scsi_disk(self) -> bool {
        self.kind == Kind::Block && matches!(self.major(), 8 | 65..=71 | 128..=135)
    }

    /// Which partition of such a disk it is; `None` for the disk itself. Each disk has sixteen numbers, its own first.
    /// (Partitions beyond the fifteenth have numbers that say nothing.)
    pub fn partition(self) -> Option<u32> {
        let partition = minor(self.device) % 16;
        (self.is_scsi_disk() && partition > 0).then_some(partition)
    }

    /// The disk whose partition this is.
    #[must_use]
    pub fn disk(self) -> Self {
        let partition = self.partition().unwrap_or(0);
        Self { device: makedev(major(self.device), minor(self.device) - partition), ..self }
    }

    /// Its number in words.
    pub const fn number(self) -> Number {
        Number(self.device)
    }
}

impl Kind {
    /// The kind in one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Block => "block",
            Self::Character => "character",
            Self::Pipe => "pipe",
            Self::Unknown => "unknown",
        }
    }

    /// The kind whose discriminant this is.
    pub const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Block,
            2 => Self::Character,
            3 => Self::Pipe,
            4 => Self::Unknown,
            _ => Self::File,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::File => "file on device",
            Kind::Block => "block device",
            Kind::Character => "character device",
            Kind::Pipe => "pipe on device",
            Kind::Unknown => "unknown device",
        };
        write!(f, "{kind} {}", self.number())
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    #[test]
    fn partitions_of_scsi_disks_are_known_by_their_numbers() {
        let partition = |kind, major, minor| Identity { kind, device: makedev(major, minor) }.partition();
        for (major, minor, expected) in [
            (8, 0, None),
            (8, 3, Some(3)),
            (8, 15, Some(15)),
            (8, 16, None),
            (65, 241, Some(1)),
            // The kernel goes on with minor numbers above 255, in the same steps.
            (135, 0x10100, None),
            (135, 0x10102, Some(2)),
            // A loop device, a device-mapper device, an NVMe namespace.
            (7, 1, None),
            (253, 3, None),
            (259, 1, None),
        ] {
            assert_eq!(partition(Kind::Block, major, minor), expected, "{major}:{minor}");
        }
        assert_eq!(partition(Kind::Character, 8, 3), None);
        let disk = Identity { kind: Kind::Block, device: makedev(8, 35) }.disk();
        assert_eq!(disk, Identity { kind: Kind::Block, device: makedev(8, 32) });
    }
}
