//! What a client may pass besides a whole disk with one path: parts of disks, devices without SCSI commands, and maps
//! whose paths a reservation would tell apart.

mod no_scsi;
mod parts;
mod single_path;
mod world;
