//! A simulated logical unit: the persistent reservation state machine of SPC-4 (clause 5.13).
//!
//! A [`LogicalUnit`] takes the commands of any number of I_T nexuses, one at a time, and answers as a disk would:
//! with a status, sense data and parameter data. It is a value: it does no I/O, knows no time, and two of them know
//! nothing of each other.
//!
//! ```
//! use pr_sim::{InitiatorPort, LogicalUnit, Nexus};
//! use scsi_persistent_reservations::{PrOut, ReservationKey, Status};
//!
//! let mut unit = LogicalUnit::default();
//! let nexus = Nexus { initiator: InitiatorPort(1), target_port: 1 };
//! let register = PrOut::register(ReservationKey::ZERO, ReservationKey(0xabc));
//! assert_eq!(unit.execute(nexus, &register.cdb(), &register.list(), &mut []).status, Status::GOOD);
//! assert_eq!(unit.registrations().count(), 1);
//! ```
//!
//! What reads the state and what changes it are apart: `report` answers PERSISTENT RESERVE IN, `out` checks a
//! PERSISTENT RESERVE OUT and hands it to `register`, `reserve`, `preempt` or `relocate`, and `access` says which
//! commands a reservation lets pass.
#![forbid(unsafe_code)]

mod access;
mod attention;
mod mark;
mod nexus;
mod out;
mod ports;
mod preempt;
mod register;
mod relocate;
mod report;
mod reserve;
mod unit;

pub use access::{CommandClass, Medium};
pub use mark::Mark;
pub use nexus::{InitiatorPort, Nexus};
pub use unit::{Held, LogicalUnit, Registration};

/// The code of the README, so that it is tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
