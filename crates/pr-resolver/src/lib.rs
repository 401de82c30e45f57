//! What the daemon cannot look up itself, because it opens no file once it serves: two processes without any privileges
//! that are forked before it gives up its own, and read `/proc`, `/sys` and udev's database on request.
//!
//! One finds out what rules need to know ([`facts`]): the control group of a process that has connected, and all names of
//! a disk. The other one ([`names`]) has the names for readers of the audit log. Neither waits for the other, and neither
//! reads anything that a client can make slow, `/proc/PID/cmdline` in particular. They get numbers and give names: which
//! rules there are, what a command is and what is logged of it is not known here. The daemon's ends, which wait for an
//! answer no longer than they like and believe none that they did not ask for, are the daemon's own.
#![forbid(unsafe_code)]

mod aliases;
mod exchange;
pub mod facts;
pub mod names;
mod text;
pub mod unit;

pub use self::{
    aliases::Aliases,
    exchange::{Answer, Question},
    text::clean,
};
