//! The vocabulary of SCSI-3 persistent reservations.
//!
//! Everything a persistent reservation command says, as Rust values with the names that SPC gives them:
//! [`Cdb`] and [`Command`], the parameter lists of PERSISTENT RESERVE OUT, the parameter data of PERSISTENT
//! RESERVE IN, [`TransportId`], [`Sense`] and [`Status`], and [`Target`], the one thing that a command can be
//! given to. All of it converts both ways, from bytes and to bytes.
//!
//! This crate does no I/O and knows no socket, file or device; it allocates in [`PrOut::list`] only, which the feature
//! `alloc` adds. All numbers on the wire are big-endian; clauses named are those of SPC-4 (INCITS 513).
//!
//! Service actions, types and commands are enums to be matched in full: where the standard adds one, each place that has
//! to decide about it is an error of the compiler.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

mod action;
mod additional_sense;
mod bytes;
mod capabilities;
mod cdb;
mod data_in;
mod error;
mod full_status;
mod key;
mod parameters;
mod request;
mod reservation;
mod sense;
mod status;
mod target;
mod transport_id;
mod transport_id_format;

pub use action::{InAction, OutAction};
pub use additional_sense::AdditionalSense;
pub use bytes::DataIn;
pub use capabilities::Capabilities;
pub use cdb::{CDB_LENGTH, Cdb, Command, PersistentReserveIn, PersistentReserveOut};
pub use data_in::{Keys, ReadKeys, ReadReservation, Reservation};
pub use error::ParseError;
pub use full_status::{Descriptors, FullStatus, FullStatusDescriptor};
pub use key::ReservationKey;
pub use parameters::{BASIC_LENGTH, BasicParameters, MoveParameters};
pub use request::PrOut;
pub use reservation::{ReservationType, Scope};
pub use sense::{SENSE_LENGTH, Sense, SenseCode, SenseKey};
pub use status::Status;
pub use target::{Completion, Target};
pub use transport_id::{TransportId, TransportIds};

/// The code of the README, so that it is tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
