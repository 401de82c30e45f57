use std::{fmt, os::fd::BorrowedFd};

use rustix::fs::{FileType, fstat, major, minor};

/// What is behind a descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// What kind of file.
    pub kind: Kind,
    /// Its device number; for plain files that of their file system.
    pub device: u64,
}

/// A device's number in words.
pub struct Number(u64);

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
    /// Looks at a descriptor.
    pub fn of(descriptor: BorrowedFd<'_>) -> Self {
        let Ok(stat) = fstat(descriptor) else { return Self { kind: Kind::Unknown, device: 0 } };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::BlockDevice => Self { kind: Kind::Block, device: stat.st_rdev },
            FileType::Fifo => Self { kind: Kind::Pipe, device: stat.st_dev },
            FileType::CharacterDevice => Self { kind: Kind::Character, device: stat.st_rdev },
            _ => Self { kind: Kind::File, device: stat.st_dev },
        }
    }

    /// The major number: which driver.
    pub fn major(self) -> u32 {
        major(self.device)
    }

    /// Major and minor number, `8:16`.
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
