//! dm-multipath: every path, one command.
//!
//! The daemon has no rights beyond `SG_IO`. What a multipath map needs more (opening its paths, suspending it, the
//! library and multipathd, who talks to root alone) is done by the broker, a process that was forked before the rights
//! went, in a child for each command. This file is the daemon's end: it hands over the descriptor and the command and
//! turns the verdict into a SCSI answer and, where an administrator should know, one line in the log.

pub mod broker;
mod change;
mod child;
mod hints;
mod map;
pub mod message;
mod register;
mod session;
mod takeover;

use std::{
    ffi::CStr,
    io::{self, IoSlice, PipeReader, Read},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

pub use hints::is_multipathd_reachable;
use message::{Answer, MAX_VERDICT, Request, Verdict};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
    pipe::{PipeFlags, pipe_with},
};
use scsi_pr::{Cdb, SenseCode, Status};
use tracing::{Level, trace, warn};

use super::{Device, Kind};
use crate::{
    boot::{
        Privileged,
        companion::{self, CompanionError, UnreadyError},
        privilege,
    },
    confine::{self, Sandbox},
    observe::{
        limit::{Limit, Source},
        metrics::METRICS,
    },
};

/// The broker kills a child in time; this is for a broker that does not.
const GRACE: Duration = Duration::from_secs(5);

/// How often, and how long in between, a command is tried again while too many descriptors are on their way.
const IN_FLIGHT_TRIES: u32 = 100;
const IN_FLIGHT_PAUSE: Duration = Duration::from_millis(10);

/// The daemon's line to the broker.
pub struct Multipath {
    broker: OwnedFd,
    /// Held from the making of a pipe until its other end is the broker's: however many commands are under way, one
    /// such end is open here. Nobody waits longer for it: the line takes one message at a time.
    sending: Mutex<()>,
}

/// What the broker is called among the processes.
const NAME: &CStr = c"qemu-pr-broker";

/// Starts the broker.
pub fn start_broker(privileged: &Privileged, sandbox: Sandbox) -> Result<Multipath, CompanionError> {
    let broker = companion::start(privileged, NAME, || reduce(sandbox), broker::serve)?;
    Ok(Multipath::over(broker))
}

/// Makes this process the broker of the daemon at the other end of the line.
pub fn become_broker(_: &Privileged, line: &OwnedFd, sandbox: Sandbox) -> ! {
    companion::become_one(line, NAME, || reduce(sandbox), broker::serve)
}

/// Leaves the broker what multipath needs.
fn reduce(sandbox: Sandbox) -> Result<(), UnreadyError> {
    privilege::keep_for_multipath()?;
    Ok(confine::broker(sandbox)?)
}

/// What came of handing a command over.
pub enum Handled {
    /// The device has nothing to do with multipath.
    NotMultipath,
    /// Nor is it a whole disk: why a command that changes something is not for it.
    Part(String),
    /// It was carried out, or refused.
    Answered(Answer),
}

impl Multipath {
    /// The daemon's end of a line with a broker at the other.
    pub const fn over(broker: OwnedFd) -> Self {
        Self { broker, sending: Mutex::new(()) }
    }

    /// Waits until the broker is ready.
    pub fn await_ready(&self) -> Result<(), CompanionError> {
        companion::await_ready(&self.broker)
    }

    /// Carries out a command for a block device, if multipath has anything to do with it.
    pub fn execute(&self, device: Device<'_>, cdb: &Cdb, parameters: &[u8], timeout: Duration) -> Handled {
        static NOTES: Limit = Limit::new();
        let request = Request { timeout, cdb: *cdb, parameters: parameters.to_vec() };
        let failed = |code, note| Answer { note, ..change::invalid(code) };
        METRICS.multipath_asked.count();
        let verdict = self.ask_traced(&request, device);
        METRICS.multipath_returned.count();
        let is_answered = matches!(verdict, Ok(Verdict::Answered(_)));
        let answer = match verdict {
            Ok(Verdict::NotMultipath) => return Handled::NotMultipath,
            Ok(Verdict::Part(reason)) => return Handled::Part(reason),
            Ok(Verdict::Answered(answer)) => answer,
            Ok(Verdict::Exited(code, said)) => {
                failed(SenseCode::COMMUNICATION_FAILURE, format!("libmpathpersist exited with {code}: {said}"))
            }
            Ok(Verdict::Killed(signal, said)) => {
                failed(SenseCode::COMMUNICATION_FAILURE, format!("libmpathpersist died of signal {signal}: {said}"))
            }
            Ok(Verdict::Overdue) => failed(
                SenseCode::COMMAND_TIMEOUT,
                format!("no answer within {timeout:?}; is a path left? (multipath -ll)"),
            ),
            Ok(Verdict::NoChild(why)) => Answer { status: Status::BUSY, note: why, ..change::good() },
            Err(error) => failed(
                SenseCode::COMMUNICATION_FAILURE,
                format!("the multipath broker cannot be reached: {error}; restart this program"),
            ),
        };
        METRICS.multipath_commands.count();
        METRICS.multipath_failures.add(u64::from(!is_answered));
        let Answer { note, status, .. } = &answer;
        if !note.is_empty()
            && let Some(more) = NOTES.admit(Source::Device(device.identity.device))
        {
            warn!("{} on multipath device {}: {status}: {note}{more}", cdb.command(), device.identity.number());
        }
        Handled::Answered(answer)
    }

    fn ask_traced(&self, request: &Request, device: Device<'_>) -> io::Result<Verdict> {
        let Device { identity, client, .. } = device;
        trace!(
            target: "pr_helper_broker_start",
            client, device = %identity.number(), timeout_ms = request.timeout.as_millis()
        );
        let start = tracing::enabled!(target: "pr_helper_broker_exit", Level::TRACE).then(Instant::now);
        let verdict = self.ask(request, device);
        if let Some(start) = start {
            let end = match &verdict {
                Ok(verdict) => verdict.to_string(),
                Err(error) => error.to_string(),
            };
            trace!(target: "pr_helper_broker_exit", client, end, microseconds = start.elapsed().as_micros());
        }
        verdict
    }

    /// Hands a command over; the pipe that the verdict comes back on.
    fn hand_over(&self, request: &Request, device: BorrowedFd<'_>) -> io::Result<PipeReader> {
        let _sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        let (reply, write) = pipe_with(PipeFlags::CLOEXEC)?;
        let descriptors = [device, write.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let bytes = request.to_bytes();
        let mut send = || sendmsg(&self.broker, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL);
        let mut outcome = send();
        while outcome == Err(Errno::INTR) {
            outcome = send();
        }
        for _ in 0..IN_FLIGHT_TRIES {
            // The kernel counts the descriptors that all processes of this user have sent and nobody has received
            // yet against this process' limit. Others' are soon received.
            if outcome != Err(Errno::TOOMANYREFS) {
                break;
            }
            thread::sleep(IN_FLIGHT_PAUSE);
            outcome = send();
        }
        outcome?;
        Ok(reply.into())
    }

    /// Hands a command over and waits for the verdict.
    fn ask(&self, request: &Request, device: Device<'_>) -> io::Result<Verdict> {
        let reply = self.hand_over(request, device.descriptor)?;
        let deadline = Instant::now() + request.timeout + GRACE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(&reply, PollFlags::IN)], Some(&timeout)) {
                Ok(0) => return Ok(Verdict::Overdue),
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // One write of the broker's, smaller than the pipe: it is there whole, or not at all.
        let mut bytes = Vec::with_capacity(MAX_VERDICT);
        reply.take(u64::try_from(MAX_VERDICT).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
        Verdict::parse(&bytes).ok_or_else(|| io::Error::other("it has ended"))
    }
}

/// Whether a descriptor could be a multipath map: a block device that is not plainly a SCSI disk.
pub fn is_candidate(device: Device<'_>) -> bool {
    device.identity.kind == Kind::Block && !is_disk(device.identity.major())
}

/// The majors of the kernel's `sd` driver (`<linux/major.h>`): a path, not a map.
const fn is_disk(major: u32) -> bool {
    matches!(major, 8 | 65..=71 | 128..=135)
}
