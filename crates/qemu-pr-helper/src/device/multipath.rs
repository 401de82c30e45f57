//! dm-multipath: every path, one command.
//!
//! The daemon has no rights beyond `SG_IO`. What a multipath map needs more (opening its paths, suspending it, and
//! multipathd, who talks to root alone) is done by the broker, which was forked before the rights went: a keeper, and a
//! worker for each map (`pr-broker`). This file is the daemon's end: it hands over the descriptor and the command and
//! turns the verdict into a SCSI answer and, where an administrator should know, one line in the log.

use std::{
    io::{self, IoSlice, PipeReader},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use pr_broker::message::{Answer, MAX_VERDICT, Report, Request, Verdict};
use pr_device::{Identity, Kind};
use rustix::{
    buffer::spare_capacity,
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, read},
    net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, sendmsg},
    pipe::{PipeFlags, pipe_with},
};
use scsi_persistent_reservations::{Cdb, Command, SenseCode};
use tracing::{Level, error, trace, warn};

use super::Device;
use crate::{
    log::{RateLimit, Source},
    metrics::Metrics,
};

/// The keeper answers in time; this is for one that does not.
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
    /// Nobody is at the other end any more.
    is_gone: AtomicBool,
    metrics: Arc<Metrics>,
    /// Limits the messages about maps.
    messages: RateLimit,
}

/// What follows from a command that nobody has seen the end of.
const UNKNOWN: &str = "whether it was carried out the disk knows (READ KEYS, READ RESERVATION)";

/// The longest report.
const MAX_REPORT: usize = 4096;

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
    pub fn over(broker: OwnedFd, metrics: Arc<Metrics>) -> Self {
        Self {
            broker,
            sending: Mutex::new(()),
            is_gone: AtomicBool::new(false),
            metrics,
            messages: RateLimit::default(),
        }
    }

    /// Carries out a command for a block device, if multipath has anything to do with it.
    pub fn execute(&self, device: Device<'_>, cdb: &Cdb, parameters: &[u8], timeout: Duration) -> Handled {
        let request = Request { timeout, only_recovers: false, cdb: *cdb, parameters: parameters.to_vec() };
        let start = Instant::now();
        self.metrics.multipath_asked.count();
        let mut verdict = self.ask_traced(&request, device);
        let mut recovered = None;
        match cdb.command() {
            // Reading changes nothing, so it is tried again with the keeper that has taken over.
            Command::In(_) if verdict.is_err() => verdict = self.ask_traced(&request, device),
            // What is told now is what the guest finds afterwards.
            Command::Out(_) if matches!(verdict, Err(_) | Ok(Verdict::Died(_))) => {
                let timeout = timeout.saturating_sub(start.elapsed());
                recovered = self.ask_traced(&Request { timeout, only_recovers: true, ..request }, device).ok();
            }
            Command::In(_) | Command::Out(_) => {}
        }
        self.metrics.multipath_returned.count();
        let is_answered = matches!(verdict, Ok(Verdict::Answered(_)));
        let mut answer = match verdict {
            Ok(Verdict::NotMultipath) => return Handled::NotMultipath,
            Ok(Verdict::Part(reason)) => return Handled::Part(reason),
            Ok(Verdict::Answered(answer)) => answer,
            Ok(Verdict::Died(how)) => Answer::check(
                SenseCode::COMMUNICATION_FAILURE,
                format!("the process that carried this out {how}, and another one has taken over; {UNKNOWN}"),
            ),
            Ok(Verdict::Overdue) => Answer::check(
                SenseCode::COMMAND_TIMEOUT,
                format!("no answer within {timeout:?}; is a path left? (multipath -ll)"),
            ),
            Ok(Verdict::NotBegun(why)) => Answer::busy(why),
            Err(error) => Answer::check(
                SenseCode::COMMUNICATION_FAILURE,
                format!("the multipath broker gave no answer: {error}; {UNKNOWN}"),
            ),
        };
        if let Some(Verdict::Answered(Answer { note, .. })) = recovered
            && !note.is_empty()
        {
            answer.note = format!("{}; {note}", answer.note);
        }
        self.metrics.multipath_commands.count();
        self.metrics.multipath_failures.add(u64::from(!is_answered));
        let Answer { note, status, .. } = &answer;
        if !note.is_empty() {
            self.log(
                device.identity,
                &format!("{} on multipath device {}: {status}: {note}", cdb.command(), device.identity.number()),
            );
        }
        Handled::Answered(answer)
    }

    /// The line, on which reports come; `None` once nobody is there any more.
    pub fn line(&self) -> Option<&OwnedFd> {
        (!self.is_gone.load(Ordering::Relaxed)).then_some(&self.broker)
    }

    /// Logs the notes and takes the figures that have come.
    pub fn hear(&self) {
        let Some(line) = self.line() else { return };
        let mut bytes = [0; MAX_REPORT];
        loop {
            match recv(line, &mut bytes[..], RecvFlags::DONTWAIT) {
                Ok((length @ 1.., _)) => match Report::parse(&bytes[..length]) {
                    Some(Report::Note { map, words }) => {
                        let identity = Identity { kind: Kind::Block, device: map };
                        self.log(identity, &format!("multipath device {}: {words}", identity.number()));
                    }
                    Some(Report::Figures(figures)) => self.metrics.multipath(figures),
                    None => {}
                },
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Ok((0, _)) | Err(_) => {
                    self.is_gone.store(true, Ordering::Relaxed);
                    error!(
                        "the multipath broker is gone, all of it; this program cannot start another one without the \
                         rights that it has given up, and ends: the next one has a broker (Restart= in the unit)"
                    );
                    return;
                }
            }
        }
    }

    /// Counts what there is to say about a map, and logs it within limits.
    fn log(&self, device: Identity, words: &str) {
        self.metrics.multipath_notes.count();
        if let Some(more) = self.messages.admit(Source::Device(device.device)) {
            warn!("{words}{more}");
        }
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

    /// Hands a command over; the pipe that the verdict comes back on, or `None` if nobody has taken it until then.
    fn hand_over(
        &self,
        request: &Request,
        device: BorrowedFd<'_>,
        deadline: Instant,
    ) -> io::Result<Option<PipeReader>> {
        let _sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        let (reply, write) = pipe_with(PipeFlags::CLOEXEC)?;
        let descriptors = [device, write.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let bytes = request.to_bytes();
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let mut send = || sendmsg(&self.broker, &[IoSlice::new(&bytes)], &mut control, flags);
        let mut tries = 0;
        loop {
            match send() {
                Ok(_) => break,
                Err(Errno::INTR) => {}
                // The keeper does not read: it has much to do, or has died, and another one is about to.
                Err(Errno::AGAIN) => {
                    let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now()));
                    if poll(&mut [PollFd::new(&self.broker, PollFlags::OUT)], left.ok().as_ref()) == Ok(0) {
                        return Ok(None);
                    }
                }
                // The kernel counts the descriptors that all processes of this user have sent and nobody has received
                // yet against this process' limit. Others' are soon received.
                Err(Errno::TOOMANYREFS) if tries < IN_FLIGHT_TRIES => {
                    tries += 1;
                    thread::sleep(IN_FLIGHT_PAUSE);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(reply.into()))
    }

    /// Hands a command over and waits for the verdict.
    fn ask(&self, request: &Request, device: Device<'_>) -> io::Result<Verdict> {
        let deadline = Instant::now() + request.timeout + GRACE;
        let Some(reply) = self.hand_over(request, device.descriptor, deadline)? else { return Ok(Verdict::Overdue) };
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
        while let Err(error) = read(&reply, spare_capacity(&mut bytes)) {
            if error != Errno::INTR {
                return Err(error.into());
            }
        }
        Verdict::parse(&bytes).ok_or_else(|| io::Error::other("it has died, and another one has taken over"))
    }
}

/// Whether a descriptor could be a multipath map: a block device that is not plainly a SCSI disk, which is a path.
pub fn is_candidate(device: Device<'_>) -> bool {
    device.identity.kind == Kind::Block && !device.identity.is_scsi_disk()
}
