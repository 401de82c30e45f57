//! Many clients in one thread, each with one request on its way.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};

use crate::request::{Request, Target, connect, device, hello, take_answer};

/// After so long without any answer, none will come.
const PATIENCE: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };

/// What was done in how much time.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    /// How many requests were answered.
    pub requests: u32,
    /// From the first request to the last answer.
    pub time: Duration,
}

/// Clients that are connected and have greeted.
pub struct Crowd {
    set: OwnedFd,
    clients: Vec<UnixStream>,
    target: Target,
    events: Vec<Event>,
}

impl Crowd {
    /// Connects so many clients, who will send their requests to this target.
    pub fn connect(socket: &Path, count: u32, target: &Target) -> Result<Self> {
        Self::of((0..count).map(|_| connect(socket)).collect::<Result<_>>()?, target)
    }

    /// These clients, who have greeted.
    pub fn of(clients: Vec<UnixStream>, target: &Target) -> Result<Self> {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (number, client) in (0_u64..).zip(&clients) {
            epoll::add(&set, client, EventData::new_u64(number), EventFlags::IN)?;
        }
        Ok(Self { set, clients, target: target.clone(), events: Vec::with_capacity(256) })
    }

    /// Lets every client ask again as soon as it has its answer, for so long.
    pub fn ask_for(&mut self, request: Request, time: Duration) -> Result<Slice> {
        let start = Instant::now();
        self.ask(request, start, |_| start.elapsed() < time)
    }

    /// The same until somebody says stop.
    pub fn ask_until(&mut self, request: Request, stop: &AtomicBool) -> Result<Slice> {
        self.ask(request, Instant::now(), |_| !stop.load(Ordering::Relaxed))
    }

    /// Lets the clients ask until so many requests have been answered, exactly.
    pub fn ask_times(&mut self, request: Request, count: u32) -> Result<Slice> {
        let clients = u32::try_from(self.clients.len())?;
        self.ask(request, Instant::now(), |answered| answered + clients <= count)
    }

    fn ask(&mut self, request: Request, start: Instant, more: impl Fn(u32) -> bool) -> Result<Slice> {
        for client in &self.clients {
            request.send(client, &self.target)?;
        }
        let mut waiting = self.clients.len();
        let mut requests = 0;
        while waiting > 0 {
            wait(&self.set, &mut self.events)?;
            for event in &self.events {
                let client = &self.clients[usize::try_from(event.data.u64())?];
                self.target.take_answer(client)?;
                requests += 1;
                if more(requests) {
                    request.send(client, &self.target)?;
                } else {
                    waiting -= 1;
                }
            }
        }
        Ok(Slice { requests, time: start.elapsed() })
    }
}

/// A client that is connected and waits: for the greeting, or for its answer.
struct Guest {
    socket: UnixStream,
    greeted: bool,
}

/// Lets so many clients at a time come, greet, ask once and leave, for so long.
pub fn come_and_go(socket: &Path, count: u32, time: Duration) -> Result<Slice> {
    let mut place = Door { socket: socket.to_owned(), set: epoll::create(epoll::CreateFlags::CLOEXEC)? };
    let device = device()?;
    let mut events = Vec::with_capacity(256);
    let start = Instant::now();
    let mut guests: Vec<Option<Guest>> =
        (0..count).map(|number| place.come(number.into()).map(Some)).collect::<Result<_>>()?;
    let (mut waiting, mut requests) = (guests.len(), 0);
    while waiting > 0 {
        wait(&place.set, &mut events)?;
        let more = start.elapsed() < time;
        for event in &events {
            let number = event.data.u64();
            let Some(guest) = &mut guests[usize::try_from(number)?] else { bail!("a client that has left is awake") };
            if !guest.greeted {
                hello(&guest.socket)?;
                Request::In.send(&guest.socket, &device)?;
                guest.greeted = true;
                continue;
            }
            take_answer(&guest.socket)?;
            requests += 1;
            // The old one leaves before the next one comes.
            guests[usize::try_from(number)?] = None;
            if more {
                guests[usize::try_from(number)?] = Some(place.come(number)?);
            } else {
                waiting -= 1;
            }
        }
    }
    Ok(Slice { requests, time: start.elapsed() })
}

struct Door {
    socket: PathBuf,
    set: OwnedFd,
}

impl Door {
    fn come(&mut self, number: u64) -> Result<Guest> {
        let socket = UnixStream::connect(&self.socket)?;
        epoll::add(&self.set, &socket, EventData::new_u64(number), EventFlags::IN)?;
        Ok(Guest { socket, greeted: false })
    }
}

fn wait(set: &OwnedFd, events: &mut Vec<Event>) -> Result<()> {
    events.clear();
    epoll::wait(set, spare_capacity(events), Some(&PATIENCE))?;
    if events.is_empty() {
        bail!("a helper does not answer any more");
    }
    Ok(())
}
