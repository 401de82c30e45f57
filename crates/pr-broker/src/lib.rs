//! The multipath broker: what a dm-multipath map needs beyond `SG_IO` (opening its paths, suspending it, and multipathd,
//! who talks to root alone), in processes that are forked before the daemon gives up its privileges: a guard, a keeper,
//! and a worker for each map.
//!
//! The daemon starts it ([`start()`]), or another unit does ([`become_broker`]); what the two say to each other is
//! [`message`]. A command comes with its device and a time, and an answer goes back: who sent the command, whether they
//! may, and what is logged of it is not known here. Which command goes to which path is `pr-multipath`'s decision.
#![forbid(unsafe_code)]
// A new service action is an error of the compiler where something has to be decided about it.
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

mod executor;
mod identity;
mod journal;
mod keeper;
mod kept;
mod lane;
mod limits;
mod lock;
mod map;
pub mod message;
mod multipathd;
mod start;
mod table;
mod turn;
mod worker;

#[cfg(fuzzing)]
pub use self::keeper::receive;
pub use self::{
    limits::Descriptors,
    multipathd::is_reachable as is_multipathd_reachable,
    start::{become_broker, start},
};
