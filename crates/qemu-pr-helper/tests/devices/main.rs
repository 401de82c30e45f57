//! What a client may pass besides a whole disk with one path: parts of disks, devices without SCSI commands, and maps
//! whose paths a reservation would tell apart.

#![expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]

mod no_scsi;
mod parts;
mod single_path;
mod world;
