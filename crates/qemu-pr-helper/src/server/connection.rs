//! One client: its bytes become requests, its requests answers. How it ends is in `close.rs`.

mod close;

use std::{
    cell::Cell,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Instant,
};

use pr_device::{DataBuffer, Identity};
use qemu_pr_protocol::{Decoder, Descriptors, GREETING, HEADER_LENGTH, MAX_DATA, ReplyHeader, Request, Step, channel};
use rustix::{
    event::epoll::EventFlags,
    io::Errno,
    net::{RecvFlags, Shutdown, recv, shutdown},
};
use scsi_persistent_reservations::{Command, Completion, Target};
use tracing::{field, trace};

pub use self::close::Reason;
use super::{shared::Shared, status::ConnectionStatus, token::Token};
use crate::{
    audit::{Audit, Event, Quota},
    clock,
    device::{Device, Remark},
    peer::Origin,
    policy::{self, ClientState, Policy, Refusal, Refused, is_probe, keys_of},
};

/// A connection. Between requests there is nothing but this.
pub struct Connection {
    /// Shared with the thread that arms it, which does so after it has let go of the connection.
    socket: Arc<OwnedFd>,
    origin: Origin,
    quota: Quota,
    /// What the policy keeps for the client.
    state: Option<Box<ClientState>>,
    decoder: Decoder<OwnedFd>,
    /// The rest of an answer that the client has not taken.
    unsent: Option<Box<[u8]>>,
    /// By when the client has to send or take the rest.
    deadline: Option<Instant>,
    is_overdue: bool,
    /// What came with the last request, if its closing may take long.
    device: Option<OwnedFd>,
    /// That is being closed. Until then nothing more is read from this client, so that each has one such thing at most.
    is_closing: bool,
}

/// The buffers of a thread.
#[derive(Default)]
pub struct Scratch {
    input: DataBuffer,
    data: DataBuffer,
}

/// What to do with a connection after an event.
pub enum Next {
    /// Wait until the socket has input, or room for output.
    Wait(EventFlags),
    /// Do not read from it before this.
    Delay(Instant),
    /// Close it.
    Close(Reason),
}

/// Lets nothing more arrive on a socket; whether nothing is in it, so that closing it closes nothing else.
pub fn is_empty(socket: &OwnedFd) -> bool {
    let _ = shutdown(socket, Shutdown::Both);
    !matches!(recv(socket, &mut [0; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT), Ok((1.., _)))
}

/// Sends the first message, which is the server's.
pub fn handshake(socket: &OwnedFd) -> rustix::io::Result<()> {
    loop {
        match channel::send(socket, &GREETING, &[]) {
            Ok(sent) if sent == GREETING.len() => return Ok(()),
            Ok(_) => return Err(Errno::AGAIN),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

impl Connection {
    /// A client that was just accepted.
    pub fn new(socket: OwnedFd, origin: Origin, audit: &Audit) -> Self {
        Self {
            socket: Arc::new(socket),
            origin,
            quota: Quota::new(audit, origin.peer),
            state: None,
            decoder: Decoder::new(),
            unsent: None,
            deadline: None,
            is_overdue: false,
            device: None,
            is_closing: false,
        }
    }

    /// Asks for what rules need to know of the client: as it is now, and before a request waits for it.
    pub fn look_up(&mut self, policy: &Policy) {
        if let Some(asked) = policy.ask(self.origin) {
            self.state.get_or_insert_default().known.expect(asked);
        }
    }

    /// The client.
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// The socket.
    pub const fn socket(&self) -> &Arc<OwnedFd> {
        &self.socket
    }

    /// What came with the last request, if its closing may take long. It has to be closed now.
    pub fn take_device(&mut self) -> Option<OwnedFd> {
        let device = self.device.take();
        self.is_closing = device.is_some();
        device
    }

    /// That is closed; what is waited for now.
    pub const fn device_closed(&mut self) -> EventFlags {
        self.is_closing = false;
        self.awaits()
    }

    /// Whether it is the one that an event is told of.
    pub const fn is(&self, token: Token) -> bool {
        token.is_of(self.origin.client)
    }

    /// Waits for its next event again after a delay. False if that has to be tried again.
    pub fn resume(&self, shared: &Shared, token: Token) -> bool {
        shared.arm(&self.socket, token, self.awaits()).is_ok()
    }

    /// What is waited for.
    const fn awaits(&self) -> EventFlags {
        match (self.is_closing, &self.unsent) {
            (true, _) => EventFlags::empty(),
            (false, Some(_)) => EventFlags::OUT,
            (false, None) => EventFlags::IN,
        }
    }

    /// Whether closing it closes nothing that the client made.
    pub fn closes_at_once(&self) -> bool {
        self.device.is_none() && !self.decoder.holds_descriptor() && is_empty(&self.socket)
    }

    /// Goes on after an event.
    pub fn handle(&mut self, shared: &Shared, status: &ConnectionStatus, scratch: &mut Scratch) -> Next {
        if self.is_overdue {
            return Next::Close(Reason::Overdue);
        }
        if self.is_closing {
            // The client has closed the connection.
            return Next::Close(Reason::Finished);
        }
        if let Some(rest) = self.unsent.take() {
            return self.send(shared, &rest, &[]);
        }
        // During the shutdown no client is delayed: what it has sent until then is answered.
        if self.decoder.is_idle()
            && !shared.is_draining()
            && let Some(due) = shared.policy.delay(&mut self.state, self.origin.peer)
        {
            shared.metrics.paused.count();
            return Next::Delay(due);
        }
        loop {
            let buffer = &mut scratch.input[..self.decoder.needs()];
            let received = if self.decoder.takes_descriptor() {
                channel::receive_with_descriptors(&self.socket, buffer)
            } else {
                channel::receive(&self.socket, buffer).map(|length| (length, Descriptors::None))
            };
            let (length, descriptors) = match received {
                Ok((0, _)) if shared.is_draining() => return Next::Close(Reason::Draining),
                Ok((0, _)) => {
                    return Next::Close(self.decoder.end().err().map_or(Reason::Finished, Reason::Violation));
                }
                Ok(received) => received,
                // Once more after that: the client may have been faster.
                Err(Errno::AGAIN) if shared.is_draining() && self.close_if_idle() => continue,
                Err(Errno::AGAIN) => return self.wait_for_more(shared),
                Err(Errno::INTR) => continue,
                // A reset is how the kernel reports a client that left without reading all; not worth a word.
                Err(Errno::CONNRESET) if self.decoder.is_idle() => return Next::Close(Reason::Finished),
                Err(error) => return Next::Close(Reason::Broken(error)),
            };
            match self.decoder.feed(&scratch.input[..length], descriptors) {
                Ok(Step::Incomplete) => {}
                Ok(Step::Negotiated) => trace!(target: "pr_helper_hello", client = self.origin.client),
                Ok(Step::Request(request)) => {
                    return self.answer(shared, status, request, &mut scratch.data);
                }
                Err(violation) => return Next::Close(Reason::Violation(violation)),
            }
        }
    }

    /// Nothing more has come. In the middle of a request the clock runs, from the first wait on.
    fn wait_for_more(&mut self, shared: &Shared) -> Next {
        if self.decoder.is_idle() {
            self.deadline = None;
        } else if self.deadline.is_none() {
            self.deadline = Some(Instant::now() + shared.request_timeout);
            shared.arm_timer();
        }
        Next::Wait(EventFlags::IN)
    }

    fn answer(
        &mut self,
        shared: &Shared,
        status: &ConnectionStatus,
        Request { cdb, device: sent, parameters }: Request<'_, OwnedFd>,
        data: &mut [u8],
    ) -> Next {
        // A request that begins after the deadline of the shutdown would hold it up.
        let Some(_in_flight) = shared.begin() else {
            self.device = Some(sent);
            return Next::Close(Reason::Draining);
        };
        self.deadline = None;
        let length = match cdb.command() {
            Command::In(command) => usize::from(command.allocation_length).min(MAX_DATA),
            Command::Out(_) => 0,
        };
        // Nothing of an earlier request or of another client is in what a device does not write.
        let buffer = &mut data[..length];
        buffer.fill(0);

        let descriptor = sent.as_fd();
        let identity = Identity::of(descriptor);
        let remark = Cell::new(None);
        let parts = shared.policy.allows_parts();
        let device = Device { descriptor, identity, client: self.origin.client, parts, remark: &remark };
        let keys = keys_of(&parameters);
        trace!(
            target: "pr_helper_request",
            client = self.origin.client, action = %cdb.command(), device = %identity.number(),
            cdb = format_args!("{:02x?}", cdb.command_bytes()),
            key = keys.map(|[key, _]| field::display(key)),
            service_action_key = keys.map(|[_, key]| field::display(key)), length = parameters.len()
        );
        let start = status.command_started(&cdb, identity);
        let admitted = shared.policy.admit(policy::Request {
            cdb: &cdb,
            parameters: &parameters,
            descriptor,
            device: identity,
            origin: self.origin,
            socket: self.socket.as_fd(),
            state: &mut self.state,
        });
        // What is not about a disk is neither in the audit log nor in the metrics.
        let is_probe = is_probe(&cdb, identity, keys);
        let is_recorded = !is_probe && (admitted.is_err() || matches!(cdb.command(), Command::Out(_)));
        if is_recorded {
            self.quota.prefetch_names(&shared.audit, self.origin);
        }
        let (completion, refusal, note) = match admitted {
            Err(refused) => {
                if !is_probe {
                    shared.metrics.refusal(refused.kind);
                }
                (self.refuse(&refused), Some(refused.reason), None)
            }
            Ok(slot) => {
                trace!(target: "pr_helper_policy", client = self.origin.client, verdict = "allowed");
                let completion = shared.router.execute(device, &cdb, &parameters, buffer);
                drop(slot);
                match remark.take() {
                    None => (completion, None, None),
                    Some(Remark::Note(note)) => (completion, None, Some(note)),
                    Some(Remark::Refused(reason)) => {
                        shared.metrics.refusal(Refusal::Part);
                        (completion, Some(reason.into()), None)
                    }
                }
            }
        };
        let took = start.elapsed();
        status.command_done(&cdb, completion.status, &completion.sense);
        if !is_probe {
            shared.metrics.request(&cdb, completion.status, took);
        }
        drop(parameters);
        if shared.router.closes_at_once(identity) {
            // A client that has the answer may rely on it that the disk is not open here any more.
            status.closing_started();
            drop(sent);
            status.closing_done();
        } else {
            // A client that sent something else gets its answer, however long that takes.
            self.device = Some(sent);
        }
        // Before the answer: what a client does because of it comes later in the audit log.
        if is_recorded {
            let origin = self.origin;
            let Completion { status: result, ref sense, .. } = completion;
            let event = || Event {
                origin,
                device: identity,
                cdb,
                keys,
                status: result,
                sense: sense.clone(),
                took,
                refusal,
                note,
                time_us: clock::unix_micros(),
            };
            self.quota.record(&shared.audit, origin, event, &cdb, result);
        }
        let header: [u8; HEADER_LENGTH] = ReplyHeader::new(&completion).to_bytes();
        trace!(
            target: "pr_helper_reply",
            client = self.origin.client, status = %completion.status, sense = %completion.sense,
            bytes = HEADER_LENGTH + completion.data.len()
        );
        self.send(shared, &header, completion.data)
    }

    fn refuse(&self, Refused { kind, reason }: &Refused) -> Completion<'static> {
        let answer = kind.answer();
        trace!(
            target: "pr_helper_policy",
            client = self.origin.client, verdict = "refused", rule = &**reason, status = %answer.status,
            sense = %answer.sense
        );
        answer
    }

    /// Sends an answer, or the rest of one. What the client does not take now is kept, and no request is read before
    /// it has gone.
    fn send(&mut self, shared: &Shared, head: &[u8], tail: &[u8]) -> Next {
        let last = shared.is_draining();
        if last {
            // Before the answer: what the client sends next comes after it.
            let _ = shutdown(&self.socket, Shutdown::Read);
        }
        let sent = match channel::send(&self.socket, head, tail) {
            Ok(sent) => sent,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(error) => return Next::Close(Reason::Broken(error)),
        };
        if sent == head.len() + tail.len() {
            self.deadline = None;
            // Of what a client sends ahead nothing more is begun, as with the C helper; unless it would have been answered
            // by now had it not been made to wait here.
            let ends = last && !self.state.as_ref().is_some_and(|state| state.is_limited());
            return if ends { Next::Close(Reason::Draining) } else { Next::Wait(EventFlags::IN) };
        }
        let rest = [head, tail].concat().split_off(sent);
        self.unsent = Some(rest.into_boxed_slice());
        if self.deadline.is_none() {
            self.deadline = Some(Instant::now() + shared.request_timeout);
            shared.arm_timer();
        }
        Next::Wait(EventFlags::OUT)
    }
}

const _: () = assert!(size_of::<Connection>() <= 160, "a thousand idle clients are to cost next to nothing");

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests;
