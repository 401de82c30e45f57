//! The only `unsafe` of the daemon: what the kernel and libc offer and no safe crate wraps. Every function that
//! leaves this room is safe to call.
#![expect(unsafe_code, reason = "this is the one room for it; each block says why it is sound")]

#[cfg(test)]
pub mod attempts;
pub mod clock;
pub mod dm;
pub mod interrupt;
mod layout;
pub mod peer;
pub mod presence;
pub mod process;
pub mod sandbox;
pub mod seccomp;
pub mod sg_io;
pub mod shared;
pub mod signal;
pub mod socket;
pub mod users;
