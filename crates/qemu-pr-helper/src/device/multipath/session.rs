//! Sending commands to a map and to its paths.

use std::{
    cell::OnceCell,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use scsi_pr::{
    BasicParameters, Capabilities, Cdb, InAction, OutAction, PersistentReserveIn, PersistentReserveOut, ReadKeys,
    ReadReservation, ReservationKey, SenseKey, Status,
};

use super::map::{Map, PathDevice};
use crate::{
    device::{
        DataBuffer,
        sg_io::{Came, SgIo},
    },
    sys::dm,
};

/// How often a command is sent again to a path that answers with a unit attention.
const ATTENTIONS: usize = 3;

/// How often a map is asked again after it has failed its dead paths.
const PROBES: usize = 5;

/// One command's dealings with a map.
pub struct Session<'a> {
    /// The map, by the client's descriptor.
    pub map: BorrowedFd<'a>,
    /// The map, by name.
    pub about: Map,
    timeout: Duration,
    paths: OnceCell<Vec<PathDevice>>,
}

impl<'a> Session<'a> {
    /// Dealings that may take `timeout` for each command.
    pub fn new(map: BorrowedFd<'a>, about: Map, timeout: Duration) -> Self {
        Self { map, about, timeout, paths: OnceCell::new() }
    }

    /// The paths that can be opened.
    pub fn paths(&self) -> &[PathDevice] {
        self.paths.get_or_init(|| self.about.paths().0)
    }

    /// Sends a command to the map: whichever path it uses now. With a newer kernel a path that fails is failed, and the
    /// next one tried.
    pub fn send(&self, cdb: &Cdb, parameters: &[u8], buffer: &mut [u8]) -> Came {
        let mut came = SgIo::send(self.map, cdb, parameters, buffer, self.timeout);
        for _ in 0..PROBES {
            if came.reached || dm::probe_paths(self.map).is_err() {
                break;
            }
            came = SgIo::send(self.map, cdb, parameters, buffer, self.timeout);
        }
        came
    }

    /// Sends a command to one path, past unit attentions: they are of that path, and its guest is the map's.
    pub fn send_to(&self, path: &PathDevice, cdb: &Cdb, parameters: &[u8], buffer: &mut [u8]) -> Came {
        let mut came = SgIo::send(path.file.as_fd(), cdb, parameters, buffer, self.timeout);
        for _ in 0..ATTENTIONS {
            if !is_unit_attention(&came) {
                break;
            }
            came = SgIo::send(path.file.as_fd(), cdb, parameters, buffer, self.timeout);
        }
        came
    }

    /// Sends a command to the map, and while the answer does not settle it, to one path after the other. What no path
    /// settles is answered with what a device said, if one did.
    pub fn send_until(&self, cdb: &Cdb, parameters: &[u8], buffer: &mut [u8], settles: impl Fn(&Came) -> bool) -> Came {
        let mut best = self.send(cdb, parameters, buffer);
        if settles(&best) {
            return best;
        }
        for path in self.paths() {
            let came = self.send_to(path, cdb, parameters, buffer);
            if settles(&came) {
                return came;
            }
            if !best.reached {
                best = came;
            }
        }
        best
    }

    /// Asks for something. Any path knows.
    pub fn ask(&self, action: InAction, buffer: &mut [u8]) -> Came {
        let length = u16::try_from(buffer.len()).unwrap_or(u16::MAX);
        self.send_until(&PersistentReserveIn::new(action, length).cdb(), &[], buffer, |came| came.reached)
    }

    /// The reservation that is held now.
    ///
    /// # Errors
    /// What came instead. A unit attention is for the guest to see, so it is not swallowed here.
    pub fn reservation(&self) -> Result<Option<scsi_pr::Reservation>, Came> {
        let mut buffer = [0; 24];
        let came = self.ask(InAction::ReadReservation, &mut buffer);
        match ReadReservation::parse(&buffer[..came.data]) {
            Some(data) if came.status == Status::GOOD => Ok(data.reservation),
            _ => Err(came),
        }
    }

    /// Whether registrations persist through power loss now; sending a registration again must not change that. A disk
    /// that cannot say has none that do.
    ///
    /// # Errors
    /// A unit attention, which is for the guest to see.
    pub fn persists(&self) -> Result<bool, Came> {
        let mut buffer = [0; 8];
        let came = news(self.ask(InAction::ReportCapabilities, &mut buffer))?;
        Ok(Capabilities::parse(&buffer[..came.data]).is_some_and(|data| data.persist_through_power_loss_active))
    }

    /// Whether a key is registered, by whomever. Where not all keys can be read it may be.
    ///
    /// # Errors
    /// What came instead, as for [`Session::reservation`].
    pub fn has_key(&self, key: ReservationKey) -> Result<bool, Came> {
        let mut buffer = DataBuffer::default();
        let came = self.ask(InAction::ReadKeys, &mut buffer);
        match ReadKeys::parse(&buffer[..came.data]) {
            Some(data) if came.status == Status::GOOD => {
                Ok(data.is_truncated() || data.keys().any(|other| other == key))
            }
            _ => Err(came),
        }
    }

    /// Puts a key on one path, whatever is there now.
    pub fn register_on(&self, path: &PathDevice, key: ReservationKey, persist: bool) -> Came {
        let parameters =
            BasicParameters { activate_persist: persist, ..BasicParameters::keys(ReservationKey::ZERO, key) };
        let (cdb, list) = basic(OutAction::RegisterAndIgnoreExistingKey, 0, &parameters);
        self.send_to(path, &cdb, &list, &mut [])
    }
}

/// A command with a basic parameter list.
pub fn basic(
    action: OutAction,
    scope_type: u8,
    parameters: &BasicParameters<'_>,
) -> (Cdb, [u8; scsi_pr::BASIC_LENGTH]) {
    let list = parameters.to_bytes();
    let parameter_list_length = u32::try_from(list.len()).unwrap_or(0);
    let command = PersistentReserveOut { service_action: action.code(), scope_type, parameter_list_length };
    (command.cdb(), list)
}

/// The device answered, and it was not that this path is unknown to it.
pub fn settled(came: &Came) -> bool {
    came.reached && came.status != Status::RESERVATION_CONFLICT
}

/// An answer to what the guest did not ask for.
///
/// # Errors
/// A unit attention: a device tells it once, so it is passed on and not swallowed. The guest repeats its command.
pub fn news(came: Came) -> Result<Came, Came> {
    if is_unit_attention(&came) { Err(came) } else { Ok(came) }
}

/// Whether the device has news before it does anything.
pub fn is_unit_attention(came: &Came) -> bool {
    const UNIT_ATTENTION: SenseKey = SenseKey(0x6);
    came.status == Status::CHECK_CONDITION && came.sense.code().is_some_and(|code| code.key == UNIT_ATTENTION)
}
