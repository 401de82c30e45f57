//! Persistent reservations on a dm-multipath map, as if it were one disk: the decisions, without I/O.
//!
//! A map is one disk to its user and several initiators to the logical unit, each with a registration of its own. The
//! engine carries out a PERSISTENT RESERVE command on such a map: it sends commands to single paths, tells device-mapper
//! and multipathd what to do, and keeps a [`Memory`] that outlives it. All of that goes through [`Io`]; the engine itself
//! does no I/O and knows no time, so that everything that can happen between two of its steps can be played.
//!
//! Three functions are all there is: [`execute`] carries out a command, [`reconcile`] looks after paths that came back,
//! and [`recover`] is what a successor does first when an engine has died in the middle of its work.
//!
//! # Promises
//!
//! They hold in the worlds that the tests of `pr-explore` play, with one event in each command: the engine dies, a path fails
//! or comes back, an answer is lost, or another node acts between any two steps. Where several meet in one command they do
//! not in every case yet: `cargo xtask explore --deep` prints what is left.
//!
//! 1. GOOD is true: the logical unit has what one disk with one initiator would have, on every path that can carry I/O.
//!    A path that cannot be given it is failed in device-mapper before GOOD is told.
//! 2. After anything else nothing has changed, or a note names the path, the key and what is left.
//! 3. Nobody else's registration or reservation changes unless the command itself says so.
//! 4. A fenced node stays fenced: no step registers a node again that another node has preempted meanwhile.
//! 5. A map is not left suspended, and one that somebody else has suspended is not resumed.
//! 6. Status and sense data are the device's. The user is not told of its own act by its other paths.
//! 7. A path that gives no answer costs its share of the time that a command has, not all of it.
#![forbid(unsafe_code)]

mod ask;
mod engine;
mod fence;
mod held;
mod identify;
mod io;
mod leave;
mod memory;
mod overwritten;
mod paths;
mod preempt;
mod reconcile;
mod register;
mod reserve;
mod survey;

pub use engine::{Answer, execute};
pub use io::{
    Budget, Class, CommandResult, Fate, HostSays, Identity, Io, Multipathd, Path, PathCommand, PathId, Untold,
};
pub use memory::{LEFTOVERS, Memory, PathMemory, Registration, Step, User};
pub use reconcile::{reconcile, recover};
