//! A subject's turn in a round: what was done, and what it took.

use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::crowd::{Crowd, Slice, come_and_go};
use crate::request::{Request, Target};
use crate::stats::order;
use crate::subject::{Running, Subject};
use crate::sys::processor_time;

/// How often all subjects have their turns, and how long one takes.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    /// How many rounds, each of them once over all subjects.
    pub count: usize,
    /// How long a subject is measured in a round.
    pub slice: Duration,
}

/// What was done in how much time.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// The requests, and the time by the clock.
    pub slice: Slice,
    /// The server's processor time.
    pub server: Duration,
    /// The client's processor time.
    pub client: Duration,
}

impl Turn {
    /// Watches what both sides use while `work` is done.
    fn of(running: &Running, work: impl FnOnce() -> Result<Slice>) -> Result<Self> {
        let own = i32::try_from(std::process::id())?;
        let (server, client) = (running.processor_time()?, processor_time(own)?);
        let slice = work()?;
        let (server_then, client_then) = (running.processor_time()?, processor_time(own)?);
        Ok(Self { slice, server: server_then.saturating_sub(server), client: client_then.saturating_sub(client) })
    }

    /// What both sides used. On one processor, which one of them always uses, that is the time that all of it takes
    /// on a machine that does nothing else; and on one that does, it stays the same.
    pub fn used(self) -> Duration {
        self.server + self.client
    }

    /// Requests a second of [`Turn::used`].
    pub fn rate(self) -> f64 {
        f64::from(self.slice.requests) / self.used().as_secs_f64()
    }

    /// Requests a second by the clock.
    pub fn rate_by_clock(self) -> f64 {
        f64::from(self.slice.requests) / self.slice.time.as_secs_f64()
    }

    /// So much for each request, in microseconds.
    pub fn each(self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / f64::from(self.slice.requests)
    }
}

/// A turn's value on its way from the machine that it was measured in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// What was measured.
    pub row: String,
    /// At how many connections.
    pub load: u32,
    /// Whose turn it was.
    pub subject: String,
    /// What came of it.
    pub value: f64,
}

/// A subject, running, with its clients.
pub type Busy<'a> = (&'a str, Running, Crowd);

/// Starts every subject with so many clients. Who is not being measured only sleeps.
pub fn started<'a>(subjects: &'a [Subject], connections: u32, target: &Target) -> Result<Vec<Busy<'a>>> {
    let start = |subject: &Subject| -> Result<(Running, Crowd)> {
        let running = subject.with_room_for(connections).start();
        let crowd = Crowd::connect(running.socket(), connections, target)?;
        Ok((running, crowd))
    };
    subjects
        .iter()
        .map(|subject| start(subject).map(|(running, crowd)| (subject.name.as_str(), running, crowd)))
        .collect()
}

/// Measures all subjects in each round, and before that once for nothing.
pub fn in_rounds(
    rounds: Rounds,
    request: Request,
    all: &mut [Busy<'_>],
    mut take: impl FnMut(&str, Turn),
) -> Result<()> {
    for (_, _, crowd) in all.iter_mut() {
        crowd.ask_for(request, rounds.slice / 4)?;
    }
    for round in 0..rounds.count {
        for index in order(round, all.len()) {
            let (name, running, crowd) = &mut all[index];
            take(name, Turn::of(running, || crowd.ask_for(request, rounds.slice))?);
        }
    }
    Ok(())
}

/// The same for clients that come, ask once and go.
pub fn coming_in_rounds(
    rounds: Rounds,
    clients: u32,
    all: &[(&str, Running)],
    mut take: impl FnMut(&str, Turn),
) -> Result<()> {
    for (_, running) in all {
        come_and_go(running.socket(), clients, rounds.slice / 4)?;
    }
    for round in 0..rounds.count {
        for index in order(round, all.len()) {
            let (name, running) = &all[index];
            take(name, Turn::of(running, || come_and_go(running.socket(), clients, rounds.slice))?);
        }
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    #[test]
    fn what_others_do_on_the_processor_meanwhile_does_not_count() {
        let slice = Slice { requests: 1000, time: Duration::from_millis(900) };
        let turn = Turn { slice, server: Duration::from_millis(30), client: Duration::from_millis(20) };
        assert!((turn.rate() - 20_000.0).abs() < 1e-6);
        assert!((turn.each(turn.server) - 30.0).abs() < 1e-9);
        assert!((turn.rate_by_clock() - 1000.0 / 0.9).abs() < 1e-6);
    }
}
