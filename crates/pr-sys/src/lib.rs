//! What the kernel and the C library offer and no safe crate wraps: ioctls, signals, fork, seccomp, users, memory that
//! processes share.
//!
//! It is all the `unsafe` of the helper's processes. Every function is safe to call, and each makes one request of the
//! system and says what came of it. What an answer means is not known here, nor who asks: no client, no device's name, no
//! setting, no message to people.
#![deny(unsafe_code)]

#[expect(unsafe_code, reason = "clock_gettime by way of the C library")]
pub mod clock;
#[expect(unsafe_code, reason = "device-mapper's ioctls")]
pub mod dm;
#[expect(unsafe_code, reason = "a signal handler, and a signal for one thread")]
pub mod interrupt;
mod layout;
#[expect(unsafe_code, reason = "socket options that rustix does not have")]
pub mod peer;
#[expect(unsafe_code, reason = "locks of open file descriptions")]
pub mod presence;
#[expect(unsafe_code, reason = "fork, and descriptors by their numbers")]
pub mod process;
#[expect(unsafe_code, reason = "prctl, Landlock's version, a signal handler")]
pub mod sandbox;
#[expect(unsafe_code, reason = "seccomp")]
pub mod seccomp;
#[expect(unsafe_code, reason = "SG_IO")]
pub mod sg_io;
#[expect(unsafe_code, reason = "memory that processes share")]
pub mod shared;
#[expect(unsafe_code, reason = "signal masks and signalfd")]
pub mod signal;
#[expect(unsafe_code, reason = "addresses of any length, and SO_PEERCRED")]
pub mod socket;
#[expect(unsafe_code, reason = "getpwnam_r and getgrnam_r")]
pub mod users;
