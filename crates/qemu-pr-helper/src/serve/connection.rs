//! One client: its bytes become requests, its requests answers. How it leaves is in `leaving.rs`.

mod leaving;

use std::{
    cell::Cell,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use pr_wire::{Decoder, Descriptors, GREETING, HEADER_LENGTH, MAX_DATA, ReplyHeader, Request, Step, channel};
use rustix::{
    event::epoll::{self, EventFlags},
    io::Errno,
    net::{RecvFlags, Shutdown, recv, shutdown},
};
use scsi_pr::{Command, Completion, ReservationKey, Target};
use tracing::{field, trace, warn};

use super::{
    closing::{Closing, Left, Then},
    crew::Place,
    ending::Reason,
    flight::Flight,
    hub::{Hub, Token},
    policy::{Asked, Refusal, Refused, is_probe},
    share::Share,
};
use crate::{
    audit::{self, Quota},
    clock,
    device::{DataBuffer, Device, Remark},
    identity::Identity,
    metrics::METRICS,
    peer::Origin,
};

/// A connection. Between requests there is nothing but this.
pub struct Connection {
    /// Shared with the thread that arms it, which does so after it has let go of the connection.
    socket: Arc<OwnedFd>,
    origin: Origin,
    quota: Quota,
    share: Option<Box<Share>>,
    decoder: Decoder<OwnedFd>,
    /// The rest of an answer that the client has not taken.
    unsent: Option<Box<[u8]>>,
    /// By when the client has to send or take the rest.
    deadline: Option<Instant>,
    overdue: bool,
    /// What came with the last request, if its closing may take long.
    device: Option<OwnedFd>,
    /// It is being closed. Until then nothing more is read from this client, so that each has one such thing at most.
    closing: bool,
}

/// How soon it is looked again whether there is a thread for a connection.
const NO_THREAD: Duration = Duration::from_millis(100);

/// The buffers of a thread.
#[derive(Default)]
pub struct Scratch {
    input: DataBuffer,
    data: DataBuffer,
}

/// How it goes on with a connection.
enum Next {
    /// Wait until the socket has input, or room for output.
    Wait(EventFlags),
    /// Do not read from it before this.
    Pause(Instant),
    /// Hang up.
    Close(Reason),
}

/// Carries one event of a connection to its end. A thread in whose place none waits does not begin with it.
pub fn serve(hub: &Arc<Hub>, token: Token, covered: bool, scratch: &mut Scratch) -> Place {
    let slot = hub.slots.get(token.place());
    if !covered {
        let place = hub.crew.rejoin();
        hub.pause(Instant::now() + NO_THREAD, token);
        return place;
    }
    let mut guard = slot.lock();
    let Some(connection) = guard.as_mut().filter(|connection| connection.is(token)) else {
        return hub.crew.rejoin();
    };
    let reason = match connection.drive(hub, &slot.flight, scratch) {
        Next::Wait(flags) => {
            let (origin, socket) = (connection.origin, Arc::clone(&connection.socket));
            if let Some(device) = connection.device.take() {
                connection.closing = true;
                slot.flight.closing();
                drop(guard);
                // Of its client nothing is heard until then but that it has hung up.
                arm(hub, socket, token, origin.client, EventFlags::empty());
                let left = Left { origin, then: Then::Resume(token), what: Box::new(device) };
                Closing::take(hub, left);
                return hub.crew.rejoin();
            }
            let place = hub.crew.rejoin();
            // Its next event may wake another thread at once, which is not to find the door locked.
            drop(guard);
            arm(hub, socket, token, origin.client, flags);
            return place;
        }
        Next::Pause(due) => {
            let place = hub.crew.rejoin();
            hub.pause(due, token);
            return place;
        }
        Next::Close(reason) => reason,
    };
    connection.say(hub, &reason);
    hub.router.forget(connection.origin.client);
    drop(guard);
    leave(hub, token);
    hub.crew.rejoin()
}

/// Waits for the next event of a connection.
fn arm(hub: &Arc<Hub>, socket: Arc<OwnedFd>, token: Token, client: u64, flags: EventFlags) {
    let armed = hub.arm(&socket, token, flags);
    drop(socket);
    if let Err(error) = armed {
        // Nothing would ever be heard of it again; then its client had better know.
        warn!("hanging up on client {client}, which cannot be waited for: {error}");
        leave(hub, token);
    }
}

/// What a client sent is closed: it is read again, if it is still there.
pub fn closed(hub: &Arc<Hub>, token: Token) {
    let slot = hub.slots.get(token.place());
    let mut guard = slot.lock();
    let Some(connection) = guard.as_mut().filter(|connection| connection.is(token)) else { return };
    connection.closing = false;
    slot.flight.closed();
    let (socket, client, flags) = (Arc::clone(&connection.socket), connection.origin.client, connection.awaits());
    drop(guard);
    arm(hub, socket, token, client, flags);
}

/// Takes a connection out of its place, unless that is the next client's already, and lets go of it. The place is free at
/// once, unless too much of those who are gone waits to be closed.
pub fn leave(hub: &Arc<Hub>, token: Token) {
    let place = token.place();
    let Some(connection) = hub.slots.get(place).lock().take_if(|connection| connection.is(token)) else { return };
    if connection.closes_at_once() {
        drop(connection);
        return hub.release(place);
    }
    let _ = epoll::delete(&hub.epoll, &connection.socket);
    // Whoever has just armed it lets go of it in a moment, and must not be the last to do so.
    while Arc::strong_count(&connection.socket) > 1 {
        thread::yield_now();
    }
    let origin = connection.origin;
    let then = if hub.closing.has_room() { Then::Nothing } else { Then::Release(place) };
    if then == Then::Nothing {
        hub.release(place);
    }
    Closing::take(hub, Left { origin, then, what: Box::new(connection) });
}

/// Lets nothing more come on a socket; whether nothing is in it, so that closing it closes nothing else.
pub fn is_empty(socket: &OwnedFd) -> bool {
    let _ = shutdown(socket, Shutdown::Both);
    !matches!(recv(socket, &mut [0; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT), Ok((1.., _)))
}

impl Connection {
    /// A client that was just accepted.
    pub fn new(socket: OwnedFd, origin: Origin) -> Self {
        Self {
            socket: Arc::new(socket),
            origin,
            quota: Quota::new(origin.peer),
            share: None,
            decoder: Decoder::new(),
            unsent: None,
            deadline: None,
            overdue: false,
            device: None,
            closing: false,
        }
    }

    /// Asks for what rules need to know of the client: as it is now, and before anybody waits for it.
    pub fn look_up(&mut self, hub: &Hub) {
        if let Some(asked) = hub.policy.ask(self.origin) {
            self.share.get_or_insert_default().known.expect(asked);
        }
    }

    /// Shows it to those who look from outside.
    pub fn show(&self, flight: &Flight) {
        flight.open(self.origin);
    }

    /// The socket.
    pub fn socket(&self) -> impl AsFd {
        &self.socket
    }

    /// Whether it is the one that an event is told of.
    pub const fn is(&self, token: Token) -> bool {
        token.is_of(self.origin.client)
    }

    /// Waits for its next event again after a pause. False if that has to be tried again.
    pub fn resume(&self, hub: &Hub, token: Token) -> bool {
        hub.arm(&self.socket, token, self.awaits()).is_ok()
    }

    /// What is waited for.
    const fn awaits(&self) -> EventFlags {
        match (self.closing, &self.unsent) {
            (true, _) => EventFlags::empty(),
            (false, Some(_)) => EventFlags::OUT,
            (false, None) => EventFlags::IN,
        }
    }

    /// Whether letting go of it closes nothing that the client made.
    fn closes_at_once(&self) -> bool {
        self.device.is_none() && !self.decoder.holds_descriptor() && is_empty(&self.socket)
    }

    /// Speaks first, as the protocol wants it.
    pub fn greet(&self) -> rustix::io::Result<()> {
        loop {
            match channel::send(&self.socket, &GREETING, &[]) {
                Ok(sent) if sent == GREETING.len() => return Ok(()),
                Ok(_) => return Err(Errno::AGAIN),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn drive(&mut self, hub: &Hub, flight: &Flight, scratch: &mut Scratch) -> Next {
        if self.overdue {
            return Next::Close(Reason::Overdue);
        }
        if self.closing {
            // It has hung up.
            return Next::Close(Reason::Finished);
        }
        if let Some(rest) = self.unsent.take() {
            return self.send(hub, &rest, &[]);
        }
        // At the end nobody is made to wait: what a client has sent until then is answered.
        if self.decoder.is_idle()
            && !hub.is_draining()
            && let Some(due) = Share::wait(&mut self.share, hub, self.origin.peer)
        {
            return Next::Pause(due);
        }
        loop {
            let buffer = &mut scratch.input[..self.decoder.needs()];
            let received = if self.decoder.takes_descriptor() {
                channel::receive_with_descriptors(&self.socket, buffer)
            } else {
                channel::receive(&self.socket, buffer).map(|length| (length, Descriptors::None))
            };
            let (length, descriptors) = match received {
                Ok((0, _)) if hub.is_draining() => return Next::Close(Reason::Draining),
                Ok((0, _)) => {
                    return Next::Close(self.decoder.end().err().map_or(Reason::Finished, Reason::Violation));
                }
                Ok(received) => received,
                // Once more after that: the client may have been faster.
                Err(Errno::AGAIN) if hub.is_draining() && self.dismiss() => continue,
                Err(Errno::AGAIN) => return self.wait_for_more(hub),
                Err(Errno::INTR) => continue,
                // A reset is how the kernel reports a client that left without reading all; not worth a word.
                Err(Errno::CONNRESET) if self.decoder.is_idle() => return Next::Close(Reason::Finished),
                Err(error) => return Next::Close(Reason::Broken(error)),
            };
            match self.decoder.feed(&scratch.input[..length], descriptors) {
                Ok(Step::Incomplete) => {}
                Ok(Step::Negotiated) => trace!(target: "pr_helper_hello", client = self.origin.client),
                Ok(Step::Request(request)) => {
                    return self.answer(hub, flight, request, &mut scratch.data);
                }
                Err(violation) => return Next::Close(Reason::Violation(violation)),
            }
        }
    }

    /// Nothing more has come. In the middle of a request the clock runs, from the first wait on.
    fn wait_for_more(&mut self, hub: &Hub) -> Next {
        if self.decoder.is_idle() {
            self.deadline = None;
        } else if self.deadline.is_none() {
            self.deadline = Some(Instant::now() + hub.request_timeout);
            hub.expect_deadline();
        }
        Next::Wait(EventFlags::IN)
    }

    fn answer(
        &mut self,
        hub: &Hub,
        flight: &Flight,
        Request { cdb, device: sent, parameters }: Request<'_, OwnedFd>,
        data: &mut [u8],
    ) -> Next {
        // What the client has not taken of its answer at the end does not hold up the end.
        let Some(_in_flight) = hub.begin() else {
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
        let parts = hub.policy.allows_parts();
        let device = Device { descriptor, identity, client: self.origin.client, parts, remark: &remark };
        let keys = keys(&parameters);
        trace!(
            target: "pr_helper_request",
            client = self.origin.client, action = %cdb.command(), device = %identity.number(),
            cdb = format_args!("{:02x?}", cdb.command_bytes()),
            key = keys.map(|[key, _]| field::display(key)),
            service_action_key = keys.map(|[_, key]| field::display(key)), length = parameters.len()
        );
        let start = flight.begin(&cdb, identity);
        let admitted = hub.policy.admit(Asked {
            cdb: &cdb,
            parameters: &parameters,
            descriptor,
            device: identity,
            origin: self.origin,
            socket: self.socket.as_fd(),
            share: &mut self.share,
        });
        // What is not about a disk is none of those whose disks these are: neither in the trail nor in the figures.
        let is_probe = is_probe(&cdb, identity, keys);
        let is_recorded = !is_probe && (admitted.is_err() || matches!(cdb.command(), Command::Out(_)));
        if is_recorded {
            self.quota.prefetch_names(self.origin);
        }
        let (completion, refusal, note) = match admitted {
            Err(refused) => (self.refuse(&refused, is_probe), Some(refused.reason), None),
            Ok(place) => {
                trace!(target: "pr_helper_policy", client = self.origin.client, verdict = "allowed");
                let completion = hub.router.execute(device, &cdb, &parameters, buffer);
                drop(place);
                match remark.take() {
                    None => (completion, None, None),
                    Some(Remark::Note(note)) => (completion, None, Some(note)),
                    Some(Remark::Refused(reason)) => {
                        METRICS.refusal(Refusal::Part as usize);
                        (completion, Some(reason.into()), None)
                    }
                }
            }
        };
        let took = start.elapsed();
        flight.end(&cdb, completion.status, &completion.sense);
        if !is_probe {
            METRICS.request(&cdb, completion.status, took);
        }
        drop(parameters);
        if hub.router.closes_at_once(identity) {
            // Who has the answer may count on it that the disk is not held open here any more.
            flight.closing();
            drop(sent);
            flight.closed();
        } else {
            // Who sent something else has the answer whatever becomes of that.
            self.device = Some(sent);
        }
        // Before the answer: what a client does because of it comes later in the trail.
        if is_recorded {
            let origin = self.origin;
            let Completion { status, ref sense, .. } = completion;
            let event = || audit::Event {
                origin,
                device: identity,
                cdb,
                keys,
                status,
                sense: sense.clone(),
                took,
                refusal,
                note,
                time_us: clock::unix_micros(),
            };
            self.quota.record(origin, event, &cdb, status);
        }
        let header: [u8; HEADER_LENGTH] = ReplyHeader::new(&completion).to_bytes();
        trace!(
            target: "pr_helper_reply",
            client = self.origin.client, status = %completion.status, sense = %completion.sense,
            bytes = HEADER_LENGTH + completion.data.len()
        );
        self.send(hub, &header, completion.data)
    }

    fn refuse(&self, Refused { kind, reason }: &Refused, is_probe: bool) -> Completion<'static> {
        if !is_probe {
            METRICS.refusal(*kind as usize);
        }
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
    fn send(&mut self, hub: &Hub, head: &[u8], tail: &[u8]) -> Next {
        let last = hub.is_draining();
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
            let ends = last && !self.share.as_ref().is_some_and(|share| share.is_limited());
            return if ends { Next::Close(Reason::Draining) } else { Next::Wait(EventFlags::IN) };
        }
        let rest = [head, tail].concat().split_off(sent);
        self.unsent = Some(rest.into_boxed_slice());
        if self.deadline.is_none() {
            self.deadline = Some(Instant::now() + hub.request_timeout);
            hub.expect_deadline();
        }
        Next::Wait(EventFlags::OUT)
    }
}

/// The two keys that every parameter list begins with (SPC-4 table 229).
pub fn keys(parameters: &[u8]) -> Option<[ReservationKey; 2]> {
    let (key, rest) = parameters.split_first_chunk()?;
    let service_action_key = rest.first_chunk()?;
    Some([ReservationKey::from_bytes(*key), ReservationKey::from_bytes(*service_action_key)])
}

const _: () = assert!(size_of::<Connection>() <= 160, "a thousand idle clients are to cost next to nothing");
