//! The conversation, from both of its ends: the decoder without I/O, then bytes and descriptors over real sockets.
#![expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]

mod cdb;
mod channel;
mod client;
mod client_connection;
mod ending;
mod hello;
mod leaks;
mod parameters;
mod probe;
mod properties;
mod reply;
mod script;
mod server;
