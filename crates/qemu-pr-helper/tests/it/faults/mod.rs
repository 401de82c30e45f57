//! Every system call of boot, and of serving a client, fails once.
//!
//! A start ends with a message and leaves nothing behind, or the helper serves with everything that was asked for. While
//! it serves, one request or one connection fails at the most.
mod boot;
mod serving;
mod stage;
