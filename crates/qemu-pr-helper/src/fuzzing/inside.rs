//! What crosses the sockets between the program's own processes, and the control socket.

use std::{
    cell::Cell,
    io,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    sync::Arc,
    time::Duration,
};

use pr_broker::message::MAX_REQUEST;
use pr_control::Snapshot;
use pr_device::{Identity, Kind, outcome};
use pr_resolver::{facts, names};
use pr_sys::sg_io::Outcome;
use scsi_persistent_reservations::{Cdb, Completion, SENSE_LENGTH, Sense, Status};

use super::{AUDIT, LOG, METRICS};
use crate::{
    config::{self, settings::ProvidedIds},
    control::{Control, Handler},
    device::{
        Device,
        multipath::{self, Multipath},
    },
    resolver::{Lookup, Resolver, names::Names},
};
pub use pr_broker::message::{Answer, MAX_VERDICT, Report, Request, Verdict, Word};

/// How long a command may take: longer than any fuzzer waits.
const PATIENCE: Duration = Duration::from_secs(60);

/// See [`pr_broker::receive`].
///
/// # Errors
/// What comes makes no sense, or nothing does.
pub fn receive(line: &OwnedFd) -> io::Result<Option<(Request, OwnedFd, OwnedFd)>> {
    pr_broker::receive(line, &mut [0; MAX_REQUEST])
}

/// The daemon's end of the line to the broker.
pub struct ToBroker(Multipath);

impl ToBroker {
    /// Whoever is at the other end of this socket is the broker.
    pub fn over(broker: OwnedFd) -> Self {
        Self(Multipath::over(broker, Arc::clone(&METRICS)))
    }

    /// Has a command carried out; `None` where the broker says that it is not for multipath.
    pub fn execute<'buffer>(
        &self,
        device: BorrowedFd<'_>,
        cdb: &Cdb,
        parameters: &[u8],
        buffer: &'buffer mut [u8],
    ) -> Option<Completion<'buffer>> {
        let identity = Identity { kind: Kind::Block, device: 0xfd00 };
        let remark = Cell::new(None);
        let device = Device { descriptor: device, identity, client: 1, parts: false, remark: &remark };
        match self.0.execute(device, cdb, parameters, PATIENCE) {
            multipath::Handled::Answered(answer) => Some(answer.complete(buffer)),
            multipath::Handled::Part(_) | multipath::Handled::NotMultipath => None,
        }
    }
}

/// The daemon's end of the line to the process that looks names up.
pub struct ToNames(Names);

impl ToNames {
    /// Whoever is at the other end of this socket is that process.
    pub fn over(process: OwnedFd) -> Self {
        Self(Names::over(process))
    }

    /// Asks one of the kinds of questions; what goes into the trail of the answer.
    pub fn ask(&self, which: u8) -> Option<String> {
        let disk = Identity { kind: Kind::Block, device: 0x810 };
        match which % 2 {
            0 => self.0.process(7, 0).map(|client| client.to_string()),
            _ => self.0.disk(disk).map(|device| device.to_string()),
        }
    }
}

/// The daemon's end of the line to the resolver.
pub struct ToResolver(Arc<Resolver>);

impl ToResolver {
    /// Whoever is at the other end of this socket is that process.
    pub fn over(process: OwnedFd) -> Self {
        Self(Arc::new(Resolver::over(process)))
    }

    /// Reads what it answers, until it ends.
    pub fn hear(&self) {
        self.0.hear();
    }

    /// Asks one of the kinds of questions. What is answered is only compared with rules.
    pub fn ask(&self, which: u8) {
        let disk = Identity { kind: Kind::Block, device: 0x810 };
        match which % 2 {
            0 => drop(self.0.control_group(7, 0).and_then(Lookup::control_group)),
            _ => drop(self.0.aliases(disk)),
        }
    }
}

/// Answers the questions on a socket as the resolver does, until they end.
pub fn resolve(socket: &OwnedFd) {
    facts::serve(socket);
}

/// Answers the questions on a socket as the process that looks names up does, until they end.
pub fn look_up(socket: &OwnedFd) {
    names::serve(socket);
}

/// One conversation on the control socket.
pub fn control(socket: UnixStream) {
    drop(Control::new(Stage, Arc::clone(&AUDIT), 0).converse(socket));
}

/// A helper that serves nobody.
struct Stage;

impl Handler for Stage {
    fn snapshot(&self) -> Snapshot {
        Snapshot::default()
    }

    fn reload(&self, path: &str, text: &str, directory: &ProvidedIds) -> Result<(u64, Vec<String>), String> {
        let settings = config::parse_settings(Path::new(path), text, directory).map_err(|error| error.to_string())?;
        Ok((0, settings.warnings))
    }

    fn trace(&self, patterns: &[String]) -> Vec<String> {
        LOG.traced.set(patterns)
    }
}

/// What a client is told of a command, by the status, host and driver bytes and the sense data that the kernel has of it.
pub fn answered(status: u8, host: u16, driver: u16, sense: &[u8; SENSE_LENGTH], written: u8) -> (Status, Sense) {
    let outcome = Outcome { status, host_status: host, driver_status: driver, sense_written: written, resid: 0 };
    outcome::answer(outcome, sense)
}
