//! The only `unsafe` of the daemon: what the kernel and libc offer and no safe crate wraps. Every function that
//! leaves this room is safe to call.
#![expect(unsafe_code, reason = "this is the one room for it; each block says why it is sound")]

pub mod dm;
pub mod mpath;
pub mod process;
pub mod sg_io;
pub mod signal;
pub mod socket;
pub mod users;
