//! The only `unsafe` of this package: one ioctl that no safe crate offers.

mod sg_io;

pub use sg_io::{Transfer, sg_io};
