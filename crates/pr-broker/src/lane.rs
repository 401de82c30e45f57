//! One path of a map: a thread of its own, which opens it and sends it one command after the other. A path that hangs
//! keeps its thread, and nobody else's.

use std::{
    fs::File,
    io,
    os::fd::AsFd,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use pr_device::{DataBuffer, outcome};
use pr_multipath::{Budget, CommandResult, Fate, HostSays, PathCommand, PathId};
use pr_sys::sg_io::{self, Transfer};
use scsi_persistent_reservations::{SENSE_LENGTH, Status};

use super::{identity, map};

/// What a thread does needs little; the buffer is on the heap.
const STACK: usize = 128 * 1024;

/// PERSISTENT RESERVE IN, and the two groups of commands whose CDBs are longer than six bytes.
const PERSISTENT_RESERVE_IN: u8 = 0x5e;

/// What a path is to do.
struct Order {
    number: u64,
    /// With how long it may take; to be opened if it is none.
    command: Option<(PathCommand, Duration)>,
}

/// What it has done.
pub struct Done {
    /// Which path.
    pub device: u64,
    /// The number of the order.
    number: u64,
    what: What,
}

enum What {
    Opened(Result<HostSays, String>),
    Came(CommandResult),
}

/// A path's thread, as others see it.
pub struct Lane {
    /// What the map engine calls the path.
    pub id: PathId,
    /// The name of the path.
    pub name: String,
    /// Who it is to the logical unit.
    pub identity: HostSays,
    /// Why it cannot be opened; `None` once it has been.
    pub closed: Option<String>,
    orders: Sender<Order>,
    /// The order that is being carried out.
    busy: Option<u64>,
}

impl Lane {
    /// Starts the thread of a path. What it has done it says to `done`.
    ///
    /// # Errors
    /// There is no room for another one.
    pub fn start(device: u64, id: PathId, done: Sender<Done>) -> io::Result<Self> {
        let name = map::name_of(device);
        let (orders, receiver) = channel();
        let worker = Worker { device, name: name.clone(), node: None, buffer: DataBuffer::default() };
        thread::Builder::new().name("path".into()).stack_size(STACK).spawn(move || worker.work(&receiver, &done))?;
        Ok(Self {
            id,
            name,
            identity: HostSays::Nothing,
            closed: Some("it takes too long".to_owned()),
            orders,
            busy: None,
        })
    }

    /// Whether its node is open.
    pub const fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// Whether something is still out on it.
    pub const fn is_busy(&self) -> bool {
        self.busy.is_some()
    }

    /// Whether it has to be opened, and can be now.
    pub const fn is_to_be_opened(&self) -> bool {
        self.closed.is_some() && self.busy.is_none()
    }

    /// Has it opened, under this number.
    pub fn open(&mut self, number: u64) -> bool {
        self.order(Order { number, command: None })
    }

    /// Sends a command that may take so long, under this number; false where that cannot be.
    pub fn send(&mut self, number: u64, command: PathCommand, limit: Duration) -> bool {
        self.is_open() && !self.is_busy() && self.order(Order { number, command: Some((command, limit)) })
    }

    fn order(&mut self, order: Order) -> bool {
        let number = order.number;
        let is_sent = self.orders.send(order).is_ok();
        self.busy = is_sent.then_some(number);
        is_sent
    }

    /// Takes note of what it has done; the number of the order, and what came of a command.
    pub fn settle(&mut self, done: Done) -> (u64, Option<CommandResult>) {
        let is_current = self.busy == Some(done.number);
        if is_current {
            self.busy = None;
        }
        match done.what {
            What::Came(result) => (done.number, Some(result)),
            What::Opened(opened) => {
                match opened {
                    // What another disk has done that had the number before.
                    _ if !is_current => {}
                    Ok(identity) => (self.identity, self.closed) = (identity, None),
                    Err(why) => self.closed = Some(why),
                }
                (done.number, None)
            }
        }
    }
}

/// Asks a path whether it answers at all, beside what is out on it: TEST UNIT READY, by another descriptor and a thread of
/// its own. What comes of it is said to `done` under this number, if anything does.
pub fn probe(device: u64, number: u64, done: Sender<Done>, limit: Duration) {
    let mut worker = Worker { device, name: map::name_of(device), node: None, buffer: DataBuffer::default() };
    let ask = move || {
        let cdb = [0; 16];
        let command = PathCommand { path: PathId(device), cdb, list: Vec::new(), room: 0, budget: Budget::Path };
        if worker.open().is_ok() {
            let what = What::Came(worker.send(&command, limit));
            let _ = done.send(Done { device, number, what });
        }
    };
    // Without a thread nothing comes, as from a path that hangs.
    let _ = thread::Builder::new().name("probe".into()).stack_size(STACK).spawn(ask);
}

/// Whether a command whose ioctl failed was not sent: there was no node, or no device behind it.
fn is_unsent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotConnected || matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENXIO))
}

/// The thread's own.
struct Worker {
    device: u64,
    name: String,
    node: Option<File>,
    buffer: DataBuffer,
}

impl Worker {
    fn work(mut self, orders: &Receiver<Order>, done: &Sender<Done>) {
        for Order { number, command } in orders {
            let what = match command {
                None => {
                    What::Opened(self.open().map(|()| identity::of(self.device)).map_err(|error| error.to_string()))
                }
                Some((command, limit)) => What::Came(self.send(&command, limit)),
            };
            if done.send(Done { device: self.device, number, what }).is_err() {
                return;
            }
        }
    }

    fn open(&mut self) -> io::Result<()> {
        self.name = map::name_of(self.device);
        self.node = Some(map::open(&self.name, self.device)?);
        Ok(())
    }

    fn send(&mut self, command: &PathCommand, limit: Duration) -> CommandResult {
        let mut result = self.try_to_send(command, limit);
        // The device went away and another has its number now. The command was sent to neither.
        if matches!(&result, Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENXIO)))
            && self.open().is_ok()
        {
            result = self.try_to_send(command, limit);
        }
        result.unwrap_or_else(|error| {
            let (status, sense) = outcome::errno_failure(&error).parts();
            let fate = if is_unsent(&error) { Fate::Unsent } else { Fate::Lost };
            CommandResult { status, sense, data: Vec::new(), fate }
        })
    }

    fn try_to_send(&mut self, command: &PathCommand, limit: Duration) -> io::Result<CommandResult> {
        let node = self.node.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let room = command.room.min(self.buffer.len());
        let length = match command.cdb[0] >> 5 {
            0 => 6,
            1 | 2 => 10,
            _ => 16,
        };
        let transfer = match command.cdb[0] {
            PERSISTENT_RESERVE_IN if room > 0 => Transfer::FromDevice(&mut self.buffer[..room]),
            _ if !command.list.is_empty() => Transfer::ToDevice(&command.list),
            _ => Transfer::None,
        };
        let mut sense = [0; SENSE_LENGTH];
        let came = sg_io::execute(node.as_fd(), &command.cdb[..length], transfer, &mut sense, limit)?;
        let (status, sense) = outcome::answer(came, &sense);
        let fate = if outcome::reached(came) { Fate::Answered } else { Fate::Lost };
        let is_in = command.cdb[0] == PERSISTENT_RESERVE_IN && status == Status::GOOD;
        let length = if is_in { room.saturating_sub(usize::try_from(came.resid).unwrap_or(0)) } else { 0 };
        Ok(CommandResult { status, sense, data: self.buffer[..length].to_vec(), fate })
    }
}
