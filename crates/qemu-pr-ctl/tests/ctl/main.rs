//! The tool as it is used: started with a command line, it talks to a helper and ends with a status.
#![expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]

mod answers;
mod control_errors;
mod daemon;
mod direct;
mod doctor;
mod json;
mod life_cycle;
mod log;
mod measures;
mod operator;
mod run;
mod simulate;
mod sockets;
mod stand_in;
mod state;
mod terminal;
mod transport_errors;
mod validate;
