//! What cluster software asks of a disk: the reservation commands that it sends, as data, and how answers are judged.
//!
//! A [`Sequence`] has [`Step`]s, each with its initiator, its [`Command`] and the answer that it [`Expect`]s. A
//! [`Judge`] plays them one by one; its caller sends the commands. The crate must not know how they get to the disk, what
//! the disk is, who reads the result, or how registrations that are left are removed.
//!
//! ```
//! use pr_conformance::{ALL, Command, Initiators, Judge, Verdict};
//! use pr_sim::{InitiatorPort, LogicalUnit, Nexus};
//! use qemu_pr_protocol::Reply;
//! use scsi_persistent_reservations::{Completion, PersistentReserveIn, ReservationKey};
//!
//! for sequence in &ALL {
//!     let mut unit = LogicalUnit::default();
//!     let mut judge = Judge::default();
//!     for step in sequence.steps(Initiators { one: ReservationKey(1), two: ReservationKey(2), pair: true }) {
//!         let nexus = Nexus { initiator: InitiatorPort(step.initiator.number().into()), target_port: 1 };
//!         let report = judge.play(&step, |command| {
//!             let (cdb, list) = match command {
//!                 Command::Change(change) => (change.cdb(), change.list()),
//!                 Command::Read(action, length) => (PersistentReserveIn::new(*action, *length).cdb(), Vec::new()),
//!             };
//!             let mut buffer = [0; 8192];
//!             let Completion { status, sense, data } = unit.execute(nexus, &cdb, &list, &mut buffer);
//!             Ok::<_, String>(Reply { status, sense, data: data.to_vec() })
//!         });
//!         assert_eq!(report.verdict, Verdict::Ok, "{}, {}: {}", sequence.name, step.name, report.received);
//!     }
//! }
//! ```
#![forbid(unsafe_code)]

mod expect;
mod judge;
mod sequences;
mod step;

pub use expect::{Expect, Verdict};
pub use judge::{Judge, StepReport, TRIES};
pub use sequences::{ALL, Initiators, Sequence};
pub use step::{Command, Initiator, Step};
