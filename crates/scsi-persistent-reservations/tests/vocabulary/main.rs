//! The vocabulary both ways: bytes to values and values to bytes, in tables; and what holds for all bytes there are.
#![expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]

mod capabilities;
mod commands;
mod full_status;
mod keys_and_reservations;
mod parameters;
mod properties;
mod requests;
mod reservation_types;
mod sense;
mod transport_ids;
mod values;
