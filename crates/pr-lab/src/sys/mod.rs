//! The only `unsafe` of the laboratory: what happens between fork and exec, and reading another process' memory.

pub(crate) mod child;
pub(crate) mod memory;
pub(crate) mod notify;
