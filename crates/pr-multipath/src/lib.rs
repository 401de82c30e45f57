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
//!
//! # Example
//!
//! A map of two paths to a simulated disk. A REGISTER of its user registers both:
//!
//! ```
//! use std::convert::Infallible;
//!
//! use pr_multipath::{
//!     Answer, Budget, Class, CommandResult, Fate, HostSays, Identity, Io, Memory, Multipathd, Path, PathCommand, PathId,
//!     PathMemory, Registration, Step, Untold, User, execute,
//! };
//! use pr_sim::{InitiatorPort, LogicalUnit, Nexus};
//! use scsi_persistent_reservations::{Cdb, PrOut, ReservationKey};
//!
//! #[derive(Default)]
//! struct Map {
//!     disk: LogicalUnit,
//!     key_of_multipathd: ReservationKey,
//! }
//!
//! impl Map {
//!     /// Sends one command. A real map waits for the answer as long as the budget says.
//!     fn send_one(&mut self, command: &PathCommand) -> CommandResult {
//!         assert_eq!(command.budget, Budget::Path);
//!         let nexus = Nexus { initiator: InitiatorPort(command.path.0), target_port: 1 };
//!         let cdb = Cdb::new(command.cdb).expect("a PERSISTENT RESERVE command");
//!         let mut buffer = vec![0; command.room];
//!         let done = self.disk.execute(nexus, &cdb, &command.list, &mut buffer);
//!         CommandResult { status: done.status, sense: done.sense, data: done.data.to_vec(), fate: Fate::Answered }
//!     }
//! }
//!
//! impl Io for Map {
//!     type Stop = Infallible;
//!
//!     fn paths(&mut self) -> Result<Vec<Path>, Infallible> {
//!         let path = |id, name: &str| Path {
//!             id: PathId(id),
//!             name: name.to_owned(),
//!             active: true,
//!             open: true,
//!             busy: false,
//!             identity: HostSays::Nothing,
//!         };
//!         Ok(vec![path(1, "sda"), path(2, "sdb")])
//!     }
//!
//!     fn send(&mut self, commands: &[PathCommand]) -> Result<Vec<CommandResult>, Infallible> {
//!         Ok(commands.iter().map(|command| self.send_one(command)).collect())
//!     }
//!
//!     fn suspend(&mut self) -> Result<bool, Infallible> {
//!         Ok(true)
//!     }
//!
//!     fn resume(&mut self) -> Result<bool, Infallible> {
//!         Ok(true)
//!     }
//!
//!     fn fail_path(&mut self, _: PathId) -> Result<bool, Infallible> {
//!         Ok(true)
//!     }
//!
//!     fn multipathd(&mut self, order: Multipathd) -> Result<Result<(), Untold>, Infallible> {
//!         match order {
//!             Multipathd::Register { key, .. } => self.key_of_multipathd = key,
//!             Multipathd::Forget => self.key_of_multipathd = ReservationKey::ZERO,
//!             Multipathd::Hold(_) => {}
//!         }
//!         Ok(Ok(()))
//!     }
//!
//!     fn key_of_multipathd(&mut self) -> Result<Option<ReservationKey>, Infallible> {
//!         Ok(Some(self.key_of_multipathd))
//!     }
//!
//!     /// A real map writes it where it survives the process.
//!     fn keep(&mut self, _: &Memory) -> Result<(), Infallible> {
//!         Ok(())
//!     }
//!
//!     fn wait(&mut self) -> Result<bool, Infallible> {
//!         Ok(false)
//!     }
//! }
//!
//! let (mut map, mut memory) = (Map::default(), Memory::default());
//! let key = ReservationKey(0xabc);
//! let register = PrOut::register(ReservationKey::ZERO, key);
//! let Ok(answer) = execute(&mut map, &mut memory, &register.cdb(), &register.list());
//! assert_eq!(answer, Answer::GOOD);
//! assert_eq!(map.disk.registrations().count(), 2);
//! assert_eq!(map.key_of_multipathd, key);
//!
//! // What is kept for the next command: whose key it is, and that nothing is half-done.
//! assert_eq!(memory.user, User::Registered(Registration { key, ..Registration::NONE }));
//! assert_eq!(memory.step, Step::Idle);
//! let sda: &PathMemory = &memory.paths[0];
//! let identity = sda.identity.as_ref().expect("who the path is to the disk");
//! assert_eq!(*identity, Identity { target_port: 1, transport_id: identity.transport_id.clone() });
//! assert_eq!(CommandResult::GOOD.class(), Class::Good);
//! ```
#![forbid(unsafe_code)]
// A new service action, or a new kind of answer, is an error of the compiler where something has to be decided about it.
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

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
