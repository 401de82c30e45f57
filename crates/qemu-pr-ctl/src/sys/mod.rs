//! The only `unsafe`: the kernel's `SG_IO`, and what it takes to become another user.

pub mod sg_io;
pub mod users;
