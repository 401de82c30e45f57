//! The only `unsafe`: what it takes to become another user.

pub mod users;
