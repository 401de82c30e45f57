//! What the developers' commands share.
//!
//! * [`workspace`] is where things are, and how a command is run.
//! * [`packages`] are Debian's: installed where this machine lacks them, or only unpacked below the target directory.
//! * [`tools`] are Cargo's, built below the target directory where this machine lacks them.
//! * [`arch`] is what it takes to build and to run programs for another architecture.
#![forbid(unsafe_code)]

pub mod arch;
pub mod packages;
pub mod tools;
pub mod workspace;
