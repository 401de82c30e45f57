//! The only `unsafe` of the laboratory: what happens between fork and exec, reading another process' memory, and `SG_IO`.

pub(crate) mod child;
pub(crate) mod memory;
pub(crate) mod notify;
pub(crate) mod sg_io;
