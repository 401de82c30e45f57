//! Carries out commands on devices. Nothing here knows a client's socket or its bytes.

// A new service action is an error of the compiler where something has to be decided about it.
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

pub mod multipath;
mod no_scsi;
mod sg_io;
mod simulate;

use std::{cell::Cell, os::fd::BorrowedFd, sync::Arc, time::Duration};

use multipath::{Handled, Multipath};
use pr_device::{Identity, Kind, outcome, part};
use scsi_persistent_reservations::{Cdb, Command, Completion, Sense, SenseCode, Target};
use simulate::Simulator;
use tracing::{trace, warn};

use crate::{audit::Audit, log::Once};

/// Where a command is to go.
#[derive(Clone, Copy)]
pub struct Device<'a> {
    /// The descriptor that the client sent.
    pub descriptor: BorrowedFd<'a>,
    /// What is behind it.
    pub identity: Identity,
    /// Which client, for targets that tell clients apart. A real device does not: to it all of them are this host.
    pub client: u64,
    /// PERSISTENT RESERVE OUT may go to a part of a disk, and so to all of it.
    pub parts: bool,
    /// What there is to say about the command besides its answer.
    pub remark: &'a Cell<Option<Remark>>,
}

/// What the audit log is to have of a command besides its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// The device was not asked, and why.
    Refused(String),
    /// Something that an administrator should know.
    Note(String),
}

/// Normal ACA, in a CDB's last byte (SAM-6 5.2). A disk that knows it would, after a CHECK CONDITION, carry out nothing
/// more for the nexus that sent this, until that nexus sends CLEAR ACA, which Linux never does. The nexus is the host's
/// and all guests have it in common, so to each of them this is a logical unit without NORMACA: such a one has no ACA, and
/// says that a CDB that asks for it has an invalid field.
const NACA: u8 = 0x04;

/// Chooses the executor of a command.
pub struct Router {
    scsi: sg_io::SgIo,
    multipath: Multipath,
    simulator: Option<Simulator>,
    /// Which parts of disks have been spoken of.
    parts: Once,
}

impl Router {
    /// A router whose commands may take `timeout`, PREEMPT AND ABORT twice as long. With `simulate`, what is not a
    /// SCSI device is a simulated one. Messages have the names of devices that the audit log has.
    pub fn new(timeout: Duration, multipath: Multipath, simulate: bool, audit: Arc<Audit>) -> Self {
        Self {
            scsi: sg_io::SgIo::new(timeout, audit),
            multipath,
            simulator: simulate.then(Simulator::default),
            parts: Once::default(),
        }
    }

    /// Whether the thread that served a client may close this itself. The file of a simulated disk is a test's.
    pub fn closes_at_once(&self, identity: Identity) -> bool {
        identity.closes_at_once() || self.simulator.is_some()
    }

    /// The socket on which the multipath broker sends notes, if it is there.
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

    /// The answer to a command that would have reached more than it was sent to.
    fn refuse_part(&self, device: Device<'_>, cdb: &Cdb, reason: String) -> Completion<'static> {
        if self.parts.admit(device.identity) {
            warn!("{} on {} is refused: {reason}", cdb.command(), device.identity);
        }
        device.remark.set(Some(Remark::Refused(reason)));
        Completion::check_condition(Sense::fixed(SenseCode::INVALID_OPERATION_CODE))
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
        let Device { descriptor, identity, client, .. } = device;
        if cdb.command_bytes().last().is_some_and(|control| control & NACA != 0) {
            let note = "not sent: NACA would have let a failure of it block every guest of this host";
            device.remark.set(Some(Remark::Note(note.to_owned())));
            return Completion::check_condition(Sense::fixed(SenseCode::INVALID_FIELD_IN_CDB));
        }
        if identity.kind == Kind::Unknown {
            // Not sent anywhere: on a map it would reach one path of it only.
            let (status, sense) = outcome::errno_failure(&std::io::ErrorKind::Other.into()).parts();
            return Completion { status, sense, data: &[] };
        }
        let route = |by: &str| trace!(target: "pr_helper_route", client, by, device = %identity.number());
        if let Some(simulator) = &self.simulator
            && !pr_sys::sg_io::is_scsi(descriptor)
        {
            route("simulated");
            return simulator.execute(device, cdb, parameters, buffer);
        }
        if !identity.is_device() {
            // No ioctl is made on it: what that does, and when, would be up to the program behind it.
            let error = std::io::Error::from_raw_os_error(libc::ENOTTY);
            self.scsi.no_scsi.tell(identity, &error);
            let (status, sense) = outcome::errno_failure(&error).parts();
            return Completion { status, sense, data: &[] };
        }
        let is_change = matches!(cdb.command(), Command::Out(_));
        if is_change
            && !device.parts
            && let Some(reason) = part::numbered(identity)
        {
            return self.refuse_part(device, cdb, reason);
        }
        if multipath::is_candidate(device) {
            let timeout = self.scsi.timeout_for(cdb);
            route("multipath");
            match self.multipath.execute(device, cdb, parameters, timeout) {
                Handled::Answered(answer) => {
                    if !answer.note.is_empty() {
                        device.remark.set(Some(Remark::Note(answer.note.clone())));
                    }
                    return answer.complete(buffer);
                }
                Handled::Part(reason) if is_change && !device.parts => return self.refuse_part(device, cdb, reason),
                Handled::Part(_) | Handled::NotMultipath => {}
            }
        }
        route("sg_io");
        self.scsi.execute(device, cdb, parameters, buffer)
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use std::{fs::File, os::fd::AsFd};

    use scsi_persistent_reservations::{InAction, OutAction, PersistentReserveIn, PersistentReserveOut, Status};

    use super::*;
    use crate::log::for_tests::Captured;

    /// A router for nothing that takes commands.
    fn router() -> Router {
        let (broker, _) = std::os::unix::net::UnixStream::pair().unwrap();
        let audit = Arc::new(Audit::new(Arc::default(), Arc::default(), None, None));
        let multipath = Multipath::over(broker.into(), Arc::default());
        Router::new(Duration::from_secs(1), multipath, false, audit)
    }

    /// What a command to the block device of this number comes to.
    fn sent(cdb: &Cdb, major: u32, minor: u32, parts: bool) -> (Status, Option<SenseCode>, Option<Remark>) {
        sent_by(&router(), cdb, major, minor, parts)
    }

    fn sent_by(
        router: &Router,
        cdb: &Cdb,
        major: u32,
        minor: u32,
        parts: bool,
    ) -> (Status, Option<SenseCode>, Option<Remark>) {
        let null = File::options().read(true).write(true).open("/dev/null").unwrap();
        let remark = Cell::new(None);
        let identity = Identity { kind: Kind::Block, device: rustix::fs::makedev(major, minor) };
        let device = Device { descriptor: null.as_fd(), identity, client: 1, parts, remark: &remark };
        let completion = router.execute(device, cdb, &[0; 24], &mut []);
        (completion.status, completion.sense.code(), remark.take())
    }

    #[test]
    fn a_partition_of_a_scsi_disk_is_read_but_not_changed_unless_that_is_allowed() {
        let reason = part::of_disk("65:16");
        let refused = (Status::CHECK_CONDITION, Some(SenseCode::INVALID_OPERATION_CODE), Some(Remark::Refused(reason)));
        for &action in OutAction::ALL {
            let cdb = PersistentReserveOut::new(action, None, 24).cdb();
            assert_eq!(sent(&cdb, 65, 19, false), refused, "{action}");
            assert_eq!(sent(&cdb, 65, 19, true).2, None, "{action}");
            assert_eq!(sent(&cdb, 65, 16, false).2, None, "{action}");
        }
        let read = PersistentReserveIn::new(InAction::ReadKeys, 8).cdb();
        assert_eq!(sent(&read, 65, 19, false).2, None);
    }

    #[test]
    fn each_of_two_routers_in_a_process_speaks_of_a_device_once() {
        let log = Captured::new();
        let cdb = PersistentReserveOut::new(OutAction::Clear, None, 24).cdb();
        for router in [router(), router()] {
            for _ in 0..3 {
                log.during(|| sent_by(&router, &cdb, 65, 19, false));
                log.during(|| sent_by(&router, &cdb, 65, 16, false));
            }
        }
        assert_eq!((log.count("is refused"), log.count("takes no SCSI commands")), (2, 2), "{}", log.text());
    }
}
