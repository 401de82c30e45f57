//! The laboratory: helpers under test, and `SG_IO` answered for devices that are not there.
//!
//! * [`Subject`] names one of the two programs: the reference (Debian's C helper) or ours.
//! * [`Bed`] is a directory of its own for one test; [`Launch`] starts a subject in it, [`Helper`] is a running one.
//! * [`SgIo`] answers the `SG_IO` ioctls of a helper, whatever file descriptor they are made on.
//! * [`Mapper`] answers the ioctls of a helper on device-mapper's control node, [`FakeMultipathd`] its words to multipathd.
//! * [`attempt`] makes a system call as an attacker would who executes code in a process.
//! * [`send_command`] is `SG_IO` itself, for devices that are there.
//! * [`Faults`] records a helper's system calls, or has one of them fail.
//! * [`Cgroup`] is a control group for clients to be in.
//! * [`Raw`] speaks the protocol byte by byte, rightly or wrongly.
//! * [`ControlStandIn`] listens where a helper's control socket would be.
//! * [`both`] and [`better`] are the two questions tests ask.
//!
//! Everything here needs root, as the helpers themselves do.
#![deny(unsafe_code)]
#![expect(clippy::missing_panics_doc, reason = "a laboratory panics: that is how its tests fail")]

mod bed;
mod cgroup;
mod control;
mod faults;
mod helper;
mod launch;
mod mailbox;
mod mapper;
mod multipathd;
mod process;
mod raw;
mod run;
mod sg_io;
mod stranger;
mod subject;
#[expect(unsafe_code, reason = "what no safe crate wraps")]
mod sys;
mod user;
mod wait;

pub use bed::Bed;
pub use cgroup::Cgroup;
pub use control::{ControlStandIn, eventful_snapshot};
pub use faults::{Call, Fault, Faults, Life, each_call_fails, plausible};
pub use helper::{Finished, Helper};
pub use launch::{Launch, ListenPid, Stream};
pub use mapper::Mapper;
pub use multipathd::{FakeMultipathd, Kept, Manners};
pub use process::Process;
pub use raw::{PR_IN, PR_OUT, Raw, Reply, connect_stream, keys, loop_device, null, try_connect};
pub use run::Run;
pub use sg_io::{Answer, Command, Direction, Outcome, SgIo};
pub use stranger::Stranger;
pub use subject::{Subject, Who, better, both, ours};
pub use sys::attempts::{PATH, attempt};
pub use sys::sg_io::{Sent, Way, send_command};
pub use user::as_user;
pub use wait::{PATIENCE, eventually, within};

/// What a test of the helpers begins with.
pub mod prelude {
    pub use crate::{
        Answer, Bed, Command, Direction, Helper, Launch, ListenPid, Outcome, PATIENCE, PR_IN, PR_OUT, Process, Raw,
        Reply, Stranger, Stream, better, both, eventually, null, ours, within,
    };
}
