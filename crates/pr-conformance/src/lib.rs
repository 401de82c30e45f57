//! What cluster software asks of a disk: the reservation commands that it sends, as data, and how answers are judged.
//!
//! A [`Sequence`] has [`Step`]s, each with its initiator, its [`Command`] and the answer that it [`Expect`]s. A
//! [`Judge`] plays them one by one; its caller sends the commands. The crate must not know how they get to the disk, what
//! the disk is, who reads the result, or how registrations that are left are removed.
//!
//! ```
//! use pr_conformance::{ALL, Command, Initiators, Judge, Verdict};
//! use pr_sim::{InitiatorPort, LogicalUnit, Medium, Nexus};
//! use qemu_pr_protocol::Reply;
//! use scsi_persistent_reservations::{Completion, PersistentReserveIn, ReservationKey};
//!
//! for sequence in &ALL {
//!     let mut unit = LogicalUnit::default();
//!     let mut judge = Judge::default();
//!     for step in sequence.steps(Initiators::new(ReservationKey(1), ReservationKey(2), true)) {
//!         let nexus = Nexus { initiator: InitiatorPort(step.initiator.number().into()), target_port: 1 };
//!         let report = judge.play(&step, |command| {
//!             let mut buffer = [0; 8192];
//!             let Completion { status, sense, data } = match command {
//!                 Command::Change(change) => unit.execute(nexus, &change.cdb(), &change.list(), &mut []),
//!                 Command::Read(action, length) => {
//!                     unit.execute(nexus, &PersistentReserveIn::new(*action, *length).cdb(), &[], &mut buffer)
//!                 }
//!                 Command::ReadBlock => unit.access(nexus, Medium::Read),
//!                 Command::WriteBlock => unit.access(nexus, Medium::Write),
//!             };
//!             Ok::<_, String>(Reply { status, sense, data: data.to_vec() })
//!         });
//!         assert_eq!(report.verdict, Verdict::Ok, "{}, {}: {}", sequence.name, step.name, report.received);
//!     }
//! }
//! ```
#![forbid(unsafe_code)]

mod expect;
mod grid;
mod judge;
mod products;
mod sequences;
mod step;

pub use expect::{Expect, Verdict};
pub use grid::{Case, Operation, cases};
pub use judge::{Judge, StepReport, TRIES};
pub use products::{COMMON, PRODUCTS, Product};
pub use sequences::{ALL, Initiators, Sequence};
pub use step::{Command, Initiator, Step};
