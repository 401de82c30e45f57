//! A disk, and the transport to it: every command goes through here.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use pr_sim::{InitiatorPort, Medium};
use qemu_pr_protocol::{MAX_DATA, Reply};
use scsi_persistent_reservations::{Cdb, InAction, PersistentReserveIn, Status};

use super::{
    block,
    device::{self, Device},
    direct,
    helper::Helper,
    transport::Transport,
};
use crate::{
    error::Error,
    request::{Access, Action, Request},
};

/// The most data that the protocol allows.
#[expect(clippy::cast_possible_truncation, reason = "8192 fits, and the test for it is this line's compilation")]
const ALL: u16 = {
    assert!(MAX_DATA <= u16::MAX as usize);
    MAX_DATA as u16
};

/// More unit attentions in a row than a disk reports.
pub const MAX_ATTENTIONS: usize = 8;

/// A disk that commands can be sent to.
pub struct Disk<'a> {
    path: PathBuf,
    device: OwnedFd,
    /// The way through a helper; without one commands go from this process.
    transport: Option<Transport<'a>>,
    initiator: Option<InitiatorPort>,
    timeout: Duration,
}

impl<'a> Disk<'a> {
    /// Opens the disk, and then the transport to it.
    pub fn open(helper: &'a Helper, device: &Device, access: Access) -> Result<Self, Error> {
        Self::open_as(helper, device, access, helper.initiator)
    }

    /// The same as another initiator than the command line says, or as one without a name.
    pub fn open_as(
        helper: &'a Helper,
        device: &Device,
        access: Access,
        initiator: Option<InitiatorPort>,
    ) -> Result<Self, Error> {
        let (path, direct) = (device.path.clone(), device.direct);
        let device = device::open(&path, access, initiator)?;
        let transport = if direct { None } else { Some(Transport::open(helper)?) };
        Ok(Self { path, device, transport, initiator, timeout: helper.timeout() })
    }

    /// Whether it may be a simulated disk. Then nothing is lost by a write.
    pub fn is_file(&self) -> bool {
        device::is_file(&self.device).unwrap_or(false)
    }

    /// Reads the first block, without a helper; whatever the disk answers. A simulated disk has no data.
    pub fn read_block(&mut self) -> Result<Reply, Error> {
        self.access(Medium::Read, &[])
    }

    /// Writes it, with what it contains.
    pub fn write_block(&mut self, block: &[u8]) -> Result<Reply, Error> {
        self.access(Medium::Write, block)
    }

    fn access(&mut self, medium: Medium, block: &[u8]) -> Result<Reply, Error> {
        let is_file = self.is_file();
        match &mut self.transport {
            Some(transport) if is_file => block::simulated(&self.path, &self.device, transport, self.initiator, medium),
            _ if medium == Medium::Read => block::read(&self.path, &self.device, self.timeout),
            _ => block::write(&self.path, &self.device, block, self.timeout),
        }
    }

    /// The name that it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Has a command carried out; whatever the disk answers.
    pub fn execute(&mut self, cdb: &Cdb, parameters: &[u8]) -> Result<Reply, Error> {
        match &mut self.transport {
            Some(transport) => transport.execute(&self.device, cdb, parameters),
            None => direct::execute(&self.path, &self.device, cdb, parameters, self.timeout),
        }
    }

    /// Sends a PERSISTENT RESERVE IN; whatever the disk answers.
    pub fn ask(&mut self, action: InAction) -> Result<Reply, Error> {
        self.ask_for(action, ALL)
    }

    /// Reads until no unit attention is pending: the disk reports each once.
    pub fn ask_settled(&mut self, action: InAction) -> Result<Reply, Error> {
        let mut reply = self.ask(action)?;
        for _ in 0..MAX_ATTENTIONS {
            if !reply.is_unit_attention() {
                break;
            }
            reply = self.ask(action)?;
        }
        Ok(reply)
    }

    /// The same with an allocation length.
    pub fn ask_for(&mut self, action: InAction, allocation_length: u16) -> Result<Reply, Error> {
        self.execute(&PersistentReserveIn::new(action, allocation_length).cdb(), &[])
    }

    /// Sends a change; whatever the disk answers.
    pub fn send(&mut self, request: &Request) -> Result<Reply, Error> {
        self.execute(&request.cdb, &request.list)
    }

    /// The data of a PERSISTENT RESERVE IN; anything but success is an error.
    pub fn data(&mut self, action: InAction) -> Result<Vec<u8>, Error> {
        let reply = self.ask(action)?;
        self.good(Action::In(action), reply)
    }

    /// Has the disk change; anything but success is an error.
    pub fn change(&mut self, request: &Request) -> Result<(), Error> {
        let reply = self.send(request)?;
        self.good(Action::Out(request.action), reply).map(drop)
    }

    /// The data, if the status is GOOD.
    fn good(&self, action: Action, reply: Reply) -> Result<Vec<u8>, Error> {
        match reply.status {
            Status::GOOD => Ok(reply.data),
            status => Err(Error::refused(&self.path, action, status, reply.sense.code())),
        }
    }

    /// The error for data that are too short.
    pub fn too_short(&self, action: InAction, data: &[u8]) -> Error {
        Error::TooShort { device: self.path.clone(), action: Action::In(action), length: data.len() }
    }
}
