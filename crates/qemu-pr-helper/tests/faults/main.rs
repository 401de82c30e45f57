//! Every system call of boot, and of serving a client, fails once.
//!
//! A start ends with a message and leaves nothing behind, or the helper serves with everything that was asked for. While
//! it serves, one request or one connection fails at the most.
#![expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]

mod boot;
mod serving;
mod stage;

const OURS: &str = env!("CARGO_BIN_EXE_qemu-pr-helper");
