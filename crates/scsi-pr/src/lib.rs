//! The vocabulary of SCSI-3 persistent reservations.
//!
//! Everything a persistent reservation command says, as Rust values with the names that SPC gives them:
//! [`Cdb`] and [`Command`], the parameter lists of PERSISTENT RESERVE OUT, the parameter data of PERSISTENT
//! RESERVE IN, [`TransportId`], [`Sense`] and [`Status`], and [`Target`], the one thing that a command can be
//! given to. All of it converts both ways, from bytes and to bytes.
//!
//! This crate does no I/O, allocates nothing and knows no socket, file or device. All numbers on the wire are
//! big-endian; clauses named are those of SPC-4 (INCITS 513).
#![no_std]
#![forbid(unsafe_code)]

mod action;
mod additional_sense;
mod bytes;
mod capabilities;
mod cdb;
mod data_in;
mod full_status;
mod key;
mod parameters;
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
pub use cdb::{CDB_LENGTH, Cdb, Command, NotPersistentReserve, PersistentReserveIn, PersistentReserveOut};
pub use data_in::{Keys, ReadKeys, ReadReservation, Reservation};
pub use full_status::{Descriptors, FullStatus, FullStatusDescriptor};
pub use key::ReservationKey;
pub use parameters::{BASIC_LENGTH, BasicParameters, MoveParameters, ParameterError};
pub use reservation::{ReservationType, Scope};
pub use sense::{SENSE_LENGTH, Sense, SenseCode, SenseKey};
pub use status::Status;
pub use target::{Completion, Target};
pub use transport_id::{TransportId, TransportIdError, TransportIds};

/// The code of the README, so that it is tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
