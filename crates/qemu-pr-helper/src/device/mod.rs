//! The room where commands meet devices. Nothing here knows a socket or a client's bytes.

mod buffer;
mod identity;
pub mod multipath;
pub mod outcome;
mod sg_io;
mod simulate;

use std::{os::fd::BorrowedFd, time::Duration};

pub use buffer::DataBuffer;
pub use identity::{Identity, Kind};
use multipath::Multipath;
use scsi_pr::{Cdb, Completion, Target};
use simulate::Simulator;
use tracing::trace;

/// Where a command is to go.
#[derive(Clone, Copy)]
pub struct Device<'a> {
    /// The descriptor that the client sent.
    pub descriptor: BorrowedFd<'a>,
    /// What is behind it.
    pub identity: Identity,
    /// Which client, for targets that tell clients apart. A real device does not: to it all of them are this host.
    pub client: u64,
}

/// Chooses who carries out a command.
pub struct Router {
    scsi: sg_io::SgIo,
    multipath: Multipath,
    simulator: Option<Simulator>,
}

impl Router {
    /// A router whose commands may take `timeout`, PREEMPT AND ABORT twice as long. With `simulate`, what is not a
    /// SCSI device is a simulated one.
    pub fn new(timeout: Duration, multipath: Multipath, simulate: bool) -> Self {
        Self { scsi: sg_io::SgIo::new(timeout), multipath, simulator: simulate.then(Simulator::default) }
    }

    /// The line on which the multipath broker has notes, if it is there.
    pub fn notes(&self) -> Option<&std::os::fd::OwnedFd> {
        self.multipath.line()
    }

    /// Logs what the multipath broker has noticed.
    pub fn hear(&self) {
        self.multipath.hear();
    }

    /// Forgets the simulated disks.
    #[cfg(fuzzing)]
    pub fn clear(&self) {
        self.simulator.iter().for_each(Simulator::clear);
    }

    /// A client is gone and will not come back under this number.
    pub fn forget(&self, client: u64) {
        if let Some(simulator) = &self.simulator {
            simulator.forget(client);
        }
    }
}

impl Target<Device<'_>> for Router {
    fn execute<'buffer>(
        &self,
        device: Device<'_>,
        cdb: &Cdb,
        parameters: &[u8],
        buffer: &'buffer mut [u8],
    ) -> Completion<'buffer> {
        let Device { descriptor, identity, client } = device;
        if identity.kind == Kind::Unknown {
            // Not sent anywhere: on a map it would reach one path of it only.
            let (status, sense) = outcome::errno_failure(&std::io::ErrorKind::Other.into()).parts();
            return Completion { status, sense, data: &[] };
        }
        let route = |by: &str| trace!(target: "pr_helper_route", client, by, device = %identity.number());
        if let Some(simulator) = &self.simulator
            && !crate::sys::sg_io::is_scsi(descriptor)
        {
            route("simulated");
            return simulator.execute(device, cdb, parameters, buffer);
        }
        if multipath::is_candidate(device) {
            let timeout = self.scsi.timeout_for(cdb);
            route("multipath");
            if let Some(answer) = self.multipath.execute(device, cdb, parameters, timeout) {
                return answer.complete(buffer);
            }
        }
        route("sg_io");
        self.scsi.execute(device, cdb, parameters, buffer)
    }
}
