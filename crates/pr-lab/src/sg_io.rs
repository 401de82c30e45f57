//! `SG_IO` for a device that is not there.
//!
//! A seccomp user notification diverts the helper's `SG_IO` ioctls to a thread of the test, which answers as any device might.
//! The descriptor that the helper makes them on does not matter: /dev/null will do.

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use crate::faults::{Fate, Faults};
use crate::raw::fixed_sense;
use crate::sys::sg_io::{FROM_DEVICE, Header as SgIoHeader, NO_DATA, TO_DEVICE};
use crate::sys::{memory, notify};
use crate::{Mapper, Raw, eventually, mailbox};

/// Where the data of a command goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Nowhere: `SG_DXFER_NONE`.
    None,
    /// To the device: `SG_DXFER_TO_DEV`.
    ToDevice,
    /// From the device: `SG_DXFER_FROM_DEV`.
    FromDevice,
    /// Anything else that was in the field.
    Other(i32),
}

/// A command as the kernel would have seen it: the fields of `sg_io_hdr`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The thread that sent it: the helper's, or that of a process which the helper started.
    pub thread: i32,
    /// Its file descriptor.
    pub fd: i32,
    /// The device number of what is behind the descriptor; 0 for a file that is no device.
    pub device: u64,
    /// `interface_id`.
    pub interface: i32,
    /// `dxfer_direction`.
    pub direction: Direction,
    /// The CDB, `cmd_len` bytes.
    pub cdb: Vec<u8>,
    /// `mx_sb_len`.
    pub max_sense_len: u8,
    /// `iovec_count`.
    pub iovec_count: u16,
    /// `dxfer_len`.
    pub dxfer_len: u32,
    /// `timeout`, in milliseconds.
    pub timeout_ms: u32,
    /// `flags`.
    pub flags: u32,
    /// What goes to the device, `dxfer_len` bytes.
    pub data_out: Vec<u8>,
}

/// What becomes of a command.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The ioctl returns 0 with this.
    Answer(Answer),
    /// The ioctl fails.
    Errno(i32),
    /// The ioctl does not return until [`SgIo::release`].
    Hang,
}

/// What a device and its transport answer.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// SCSI status.
    pub status: u8,
    /// Sense bytes to write, `mx_sb_len` at most.
    pub sense: Vec<u8>,
    /// `sb_len_wr`, if it is not the number of bytes written.
    pub sense_len: Option<u8>,
    /// `host_status`.
    pub host_status: u16,
    /// `driver_status`.
    pub driver_status: u16,
    /// `resid`, if it is not what `data_in` leaves over.
    pub resid: Option<i32>,
    /// Bytes for the initiator, `dxfer_len` at most.
    pub data_in: Vec<u8>,
}

impl Answer {
    /// GOOD, with this data.
    pub fn good(data_in: &[u8]) -> Self {
        Self { data_in: data_in.to_vec(), ..Self::default() }
    }

    /// A bare status.
    pub fn status(status: u8) -> Self {
        Self { status, ..Self::default() }
    }

    /// CHECK CONDITION with these sense bytes, as the kernel hands it on.
    pub fn check(sense: &[u8]) -> Self {
        Self { status: 2, sense: sense.to_vec(), driver_status: 8, ..Self::default() }
    }

    /// CHECK CONDITION with fixed format sense, as the kernel hands it on.
    pub fn check_fixed(key: u8, code: u8, qualifier: u8) -> Self {
        Self::check(&fixed_sense(key, code, qualifier)[..18])
    }

    /// A transport failure, with the SCSI status that the adapter left.
    pub fn host(host_status: u16, status: u8) -> Self {
        Self { status, host_status, ..Self::default() }
    }
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

type Device = Box<dyn FnMut(&Command) -> Outcome + Send>;

/// The device that is not there.
#[derive(Clone)]
pub struct SgIo {
    /// Comes when the helper is about to start.
    listener: Arc<OnceLock<OwnedFd>>,
    state: Arc<Mutex<State>>,
    faults: Option<Faults>,
    mapper: Option<Mapper>,
}

struct State {
    device: Device,
    seen: Vec<Command>,
    hung: Vec<Call>,
}

#[derive(Clone, Copy)]
struct Call {
    waiting: notify::Waiting,
    from_device: bool,
    header: Header,
}

#[derive(Debug, Clone, Copy)]
struct Header {
    data: u64,
    sense: u64,
    max_sense_len: u8,
    dxfer_len: u32,
}

impl SgIo {
    /// Answers every diverted ioctl that arrives at the listener that arrives in the mailbox, until the last process with
    /// the filter is gone. Other calls that wait are for `faults`.
    pub(crate) fn answering(mailbox: OwnedFd, device: Device, faults: Option<Faults>, mapper: Option<Mapper>) -> Self {
        let state = Arc::new(Mutex::new(State { device, seen: Vec::new(), hung: Vec::new() }));
        let device = Self { listener: Arc::default(), state, faults, mapper };
        let worker = device.clone();
        thread::spawn(move || {
            // Where there is none the helper has not started, and that is said elsewhere.
            if let Ok(listener) = mailbox::receive(&mailbox) {
                worker.work(worker.listener.get_or_init(|| listener));
            }
        });
        device
    }

    /// Every command so far, in order of arrival.
    pub fn seen(&self) -> Vec<Command> {
        self.lock().seen.clone()
    }

    /// The last command so far.
    #[track_caller]
    pub fn last(&self) -> Command {
        self.lock().seen.last().cloned().expect("the device has seen a command")
    }

    /// How many commands there were.
    pub fn count(&self) -> usize {
        self.lock().seen.len()
    }

    /// Waits until this many commands have arrived in all.
    #[track_caller]
    pub fn await_count(&self, count: usize) {
        eventually(&format!("command {count} reaches the device"), || self.count() >= count);
    }

    /// From now on, the device behaves so.
    pub fn behave(&self, device: impl FnMut(&Command) -> Outcome + Send + 'static) {
        self.lock().device = Box::new(device);
    }

    /// Ends every hung command with this outcome.
    pub fn release(&self, outcome: impl Into<Outcome>) {
        let outcome = outcome.into();
        for call in std::mem::take(&mut self.lock().hung) {
            _ = self.finish(&call, &outcome);
        }
    }

    fn listener(&self) -> BorrowedFd<'_> {
        self.listener.get().expect("a command came by way of it").as_fd()
    }

    fn work(&self, listener: &OwnedFd) {
        loop {
            let mut ready = [PollFd::new(listener, PollFlags::IN)];
            if poll(&mut ready, None).is_err() {
                continue;
            }
            let events = ready[0].revents();
            if events.contains(PollFlags::IN) {
                // A caller that died meanwhile leaves nothing to receive, and its memory cannot be read.
                let Ok(waiting) = notify::receive(listener.as_fd()) else { continue };
                self.attend(listener.as_fd(), waiting);
            } else if !events.is_empty() {
                return;
            }
        }
    }

    fn attend(&self, listener: BorrowedFd<'_>, waiting: notify::Waiting) {
        match self.faults.as_ref().map_or(Fate::Pass, |faults| faults.decide(&waiting)) {
            Fate::Fail(errno) => notify::answer(listener, waiting.id, Some(errno)),
            Fate::Return(value) => notify::give(listener, waiting.id, value),
            Fate::Pass if waiting.is_sg_io() => {
                if self.serve(waiting).is_err() {
                    notify::answer(listener, waiting.id, Some(libc::EFAULT));
                }
            }
            Fate::Pass => match self.mapper.as_ref().filter(|_| waiting.is_mapper()) {
                Some(mapper) if mapper.holds_up(&waiting) => {
                    let (device, mapper) = (self.clone(), mapper.clone());
                    thread::spawn(move || {
                        while mapper.holds_up(&waiting) {
                            thread::sleep(Duration::from_millis(5));
                        }
                        device.map(&mapper, waiting);
                    });
                }
                Some(mapper) => self.map(mapper, waiting),
                None => notify::pass(listener, waiting.id),
            },
        }
    }

    fn map(&self, mapper: &Mapper, waiting: notify::Waiting) {
        let errno = mapper.serve(&waiting).unwrap_or(libc::EFAULT);
        notify::answer(self.listener(), waiting.id, Some(errno));
    }

    fn serve(&self, waiting: notify::Waiting) -> io::Result<()> {
        let (command, header) = read_command(waiting)?;
        let call = Call { waiting, from_device: command.direction == Direction::FromDevice, header };
        let outcome = {
            let mut state = self.lock();
            let outcome = (state.device)(&command);
            state.seen.push(command);
            if matches!(outcome, Outcome::Hang) {
                state.hung.push(call);
            }
            outcome
        };
        self.finish(&call, &outcome)
    }

    fn finish(&self, call: &Call, outcome: &Outcome) -> io::Result<()> {
        match outcome {
            Outcome::Hang => return Ok(()),
            Outcome::Errno(errno) => notify::answer(self.listener(), call.waiting.id, Some(*errno)),
            Outcome::Answer(answer) => {
                write_answer(call, answer)?;
                notify::answer(self.listener(), call.waiting.id, None);
            }
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads `struct sg_io_hdr` and what it points at.
fn read_command(waiting: notify::Waiting) -> io::Result<(Command, Header)> {
    let bytes = memory::read(waiting.thread, waiting.arguments[2], size_of::<SgIoHeader>())?;
    let int = |at: usize| i32::from_ne_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    let short = |at: usize| u16::from_ne_bytes(bytes[at..at + 2].try_into().expect("2 bytes"));
    let pointer = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    let header = Header {
        data: pointer(offset_of!(SgIoHeader, dxferp)),
        sense: pointer(offset_of!(SgIoHeader, sbp)),
        max_sense_len: bytes[offset_of!(SgIoHeader, mx_sb_len)],
        dxfer_len: int(offset_of!(SgIoHeader, dxfer_len)).cast_unsigned(),
    };
    let direction = match int(offset_of!(SgIoHeader, dxfer_direction)) {
        NO_DATA => Direction::None,
        TO_DEVICE => Direction::ToDevice,
        FROM_DEVICE => Direction::FromDevice,
        other => Direction::Other(other),
    };
    let out = if direction == Direction::ToDevice { header.dxfer_len as usize } else { 0 };
    let command = Command {
        thread: waiting.thread,
        fd: waiting.fd(),
        device: std::fs::metadata(format!("/proc/{}/fd/{}", waiting.thread, waiting.fd()))?.rdev(),
        interface: int(offset_of!(SgIoHeader, interface_id)),
        direction,
        cdb: memory::read(
            waiting.thread,
            pointer(offset_of!(SgIoHeader, cmdp)),
            bytes[offset_of!(SgIoHeader, cmd_len)].into(),
        )?,
        max_sense_len: header.max_sense_len,
        iovec_count: short(offset_of!(SgIoHeader, iovec_count)),
        dxfer_len: header.dxfer_len,
        timeout_ms: int(offset_of!(SgIoHeader, timeout)).cast_unsigned(),
        flags: int(offset_of!(SgIoHeader, flags)).cast_unsigned(),
        data_out: memory::read(waiting.thread, header.data, out)?,
    };
    Ok((command, header))
}

/// Where the header's second half begins: what the kernel writes, without a gap from here on.
const STATUS: u64 = offset_of!(SgIoHeader, status) as u64;

fn write_answer(call: &Call, answer: &Answer) -> io::Result<()> {
    let Call { waiting, from_device, header } = *call;
    let sense = &answer.sense[..answer.sense.len().min(header.max_sense_len.into())];
    memory::write(waiting.thread, header.sense, sense)?;
    let room = if from_device { header.dxfer_len as usize } else { 0 };
    let data = &answer.data_in[..answer.data_in.len().min(room)];
    memory::write(waiting.thread, header.data, data)?;
    let left = i32::try_from(room - data.len()).expect("a small residual");
    let sense_len = answer.sense_len.unwrap_or(u8::try_from(sense.len()).expect("at most mx_sb_len"));
    let abnormal = answer.status != 0 || answer.host_status != 0 || answer.driver_status != 0;
    let mut out = Vec::with_capacity(20);
    out.extend([answer.status, answer.status >> 1 & 0x1f, 0, sense_len]);
    out.extend(answer.host_status.to_ne_bytes());
    out.extend(answer.driver_status.to_ne_bytes());
    out.extend(answer.resid.unwrap_or(left).to_ne_bytes());
    out.extend(1_u32.to_ne_bytes());
    out.extend(u32::from(abnormal).to_ne_bytes());
    memory::write(waiting.thread, waiting.arguments[2] + STATUS, &out)
}

impl std::fmt::Debug for SgIo {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SgIo").field("seen", &self.count()).finish_non_exhaustive()
    }
}

/// The CDB that the helper was sent, as far as the command must carry it: the ten bytes of a PR command.
impl Command {
    /// Whether this is a PERSISTENT RESERVE OUT.
    pub fn is_out(&self) -> bool {
        self.cdb.first() == Some(&crate::PR_OUT)
    }

    /// Whether the CDB's ten meaningful bytes are those of `sent`.
    pub fn carries(&self, sent: &[u8; 16]) -> bool {
        self.cdb.get(..10) == Some(&sent[..10])
    }
}

impl Raw {
    /// A READ KEYS with room for eight bytes on a device that is not there, which must succeed: the helper serves.
    #[track_caller]
    pub fn expect_served(&self) {
        let reply = self.pr_in(crate::null(), 0, 8);
        assert_eq!(reply.size as usize, reply.payload.len());
    }

    /// The same on a device that answers with these bytes.
    #[track_caller]
    pub fn expect_served_with(&self, payload: &[u8]) {
        let length = u16::try_from(payload.len()).expect("a short payload");
        assert_eq!(self.pr_in(crate::null(), 0, length).payload, payload);
    }
}
