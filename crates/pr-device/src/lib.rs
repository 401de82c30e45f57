//! Devices, as the daemon and the processes beside it see them: what is behind a descriptor, what sysfs says of it,
//! which initiator port leads there, how multipathd is asked, whether it is a part of a disk, and what the kernel's word on a
//! command is as a SCSI answer.
//!
//! Whoever sends a command by `SG_IO` judges its outcome here, the daemon to a disk and the multipath broker to a path:
//! there is one table. Clients, rules, processes and what is logged are not known here, nor whether a command may be sent.
#![forbid(unsafe_code)]

mod buffer;
mod identity;
pub mod initiator;
pub mod multipathd;
pub mod outcome;
pub mod part;
pub mod sysfs;

pub use self::{
    buffer::DataBuffer,
    identity::{Identity, Kind, MEMORY_MAJOR, Number},
};
