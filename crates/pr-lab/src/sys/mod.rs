//! The only `unsafe` of the laboratory: what happens between fork and exec, reading another process' memory, `SG_IO`, and
//! what an attacker would try.

pub(crate) mod attempts;
pub(crate) mod child;
pub(crate) mod memory;
pub(crate) mod notify;
pub(crate) mod sg_io;
