//! The only `unsafe`: the kernel's `SG_IO`.

pub mod sg_io;
