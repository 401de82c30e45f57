//! The tool as it is used: started with a command line, it talks to a helper and ends with a status.
#![expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]

mod answers;
mod daemon;
mod direct;
mod hang_ups;
mod json;
mod life_cycle;
mod measures;
mod run;
mod simulate;
mod sockets;
mod stand_in;
mod terminal;
mod validate;
