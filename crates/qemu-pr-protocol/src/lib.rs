//! The conversation between QEMU and a persistent reservation helper.
//!
//! QEMU's `docs/interop/pr-helper.rst` defines it. The helper speaks first: a 32-bit feature word. The client
//! answers with the features it wants. Then come requests, one at a time: sixteen bytes of CDB with exactly one
//! file descriptor (the disk) in `SCM_RIGHTS`, and for PERSISTENT RESERVE OUT the parameter list. Each is answered
//! with a header of 104 bytes and, for PERSISTENT RESERVE IN, the parameter data.
//!
//! [`Decoder`] is the helper's half without any I/O: bytes and descriptors in, [`Request`]s out. [`channel`] moves
//! both over a Unix socket and cannot leak a descriptor. [`ClientConnection`] is the client's half without any I/O, for
//! a virtual machine monitor with its own event loop (`examples/vmm.rs`); [`Client`] is the same on a blocking socket,
//! for tools and tests. Nothing here knows what a device is or who may do what.
//!
//! Without its features this crate is `no_std` and does no I/O at all. `channel` adds the module of that name, and
//! `client` adds [`Client`].
#![cfg_attr(not(feature = "channel"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(feature = "channel")]
pub mod channel;
#[cfg(feature = "client")]
mod client;
mod client_connection;
mod decoder;
mod replies;
mod reply;
mod violation;

#[cfg(feature = "client")]
pub use client::{Client, ClientError};
pub use client_connection::{ClientConnection, ClientStep, Outgoing, RequestError};
pub use decoder::{Decoder, Descriptors, Request, Step};
pub use replies::{Reply, ReplyError};
pub use reply::{HEADER_LENGTH, ReplyHeader};
pub use violation::Violation;

/// The features that this side knows: none are defined.
pub const FEATURES: u32 = 0;

/// The greeting of the helper: its feature word.
pub const GREETING: [u8; 4] = FEATURES.to_be_bytes();

/// The longest parameter list and the longest parameter data, in bytes (`PR_HELPER_DATA_SIZE`).
pub const MAX_DATA: usize = 8192;

/// The bytes of a CDB on the wire; shorter commands are padded with zeros.
pub const WIRE_CDB: usize = 16;

/// The protocol is somebody else's (QEMU's `scsi/pr-helper.h`): whatever becomes of the code, these stay.
const _: () = {
    assert!(GREETING.len() == 4 && WIRE_CDB == 16 && MAX_DATA == 8192);
    assert!(
        HEADER_LENGTH == 104
            && scsi_persistent_reservations::SENSE_LENGTH == 96
            && scsi_persistent_reservations::CDB_LENGTH <= WIRE_CDB
    );
};

/// The code of the README, so that it is tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
