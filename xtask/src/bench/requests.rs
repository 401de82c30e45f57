//! Requests a second, and what they cost the server.

use std::time::Duration;

use anyhow::Result;

use super::crowd::{Crowd, Slice, come_and_go};
use super::figure::Figure;
use super::machine::stay_on;
use super::plan::Plan;
use super::request::Request;
use super::stats::order;
use super::subject::{Running, Subject};

/// The loads of the table.
pub const CONNECTIONS: [u32; 5] = [1, 16, 64, 256, 1000];

/// How many clients come and go at a time.
pub const COMING: [u32; 4] = [1, 4, 16, 64];

/// The row of the server's processor time.
pub fn processor_row(request: Request) -> String {
    format!("server CPU per {}", request.name())
}

/// PR IN and PR OUT at every load, everything on one processor.
pub fn measure(plan: &Plan, subjects: &[Subject]) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for connections in CONNECTIONS {
        let mut all = started(subjects, connections)?;
        for request in [Request::In, Request::Out] {
            let mut rate = Figure::new(request.name(), Some(connections), "requests/s");
            let mut processor = Figure::new(&processor_row(request), Some(connections), "µs");
            in_rounds(plan, request, &mut all, |name, slice, time| {
                rate.push(name, slice.rate());
                processor.push(name, slice.each(time));
            })?;
            figures.extend([rate, processor]);
        }
    }
    Ok(figures)
}

/// PR IN with the server on one processor and the client on another.
pub fn measure_on_two(plan: &Plan, subjects: &[Subject]) -> Result<Vec<Figure>> {
    let [clients, servers, ..] = plan.processors[..] else {
        println!("two processors are wanted and one is there: left out");
        return Ok(Vec::new());
    };
    let mut figures = Vec::new();
    for connections in CONNECTIONS {
        stay_on(servers)?;
        let mut all = started(subjects, connections)?;
        stay_on(clients)?;
        let mut rate = Figure::new("PR IN, two processors", Some(connections), "requests/s");
        in_rounds(plan, Request::In, &mut all, |name, slice, _| rate.push(name, slice.rate()))?;
        figures.push(rate);
    }
    Ok(figures)
}

/// Clients that come, greet, ask once and leave.
pub fn measure_coming(plan: &Plan, subjects: &[Subject]) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for clients in COMING {
        let all: Vec<_> = subjects.iter().map(|subject| (subject.name.as_str(), subject.start())).collect();
        let mut rate = Figure::new("connect", Some(clients), "connections/s");
        for (_, running) in &all {
            come_and_go(running.socket(), clients, plan.slice / 4)?;
        }
        for round in 0..plan.rounds {
            for index in order(round, all.len()) {
                let (name, running) = &all[index];
                rate.push(name, come_and_go(running.socket(), clients, plan.slice)?.rate());
            }
        }
        figures.push(rate);
    }
    Ok(figures)
}

/// A subject, running, with its clients.
pub type Busy<'a> = (&'a str, Running, Crowd);

/// Starts every subject and connects so many clients to each. Who is not being measured only sleeps.
pub fn started(subjects: &[Subject], connections: u32) -> Result<Vec<Busy<'_>>> {
    subjects
        .iter()
        .map(|subject| {
            let running = subject.start();
            let crowd = Crowd::connect(running.socket(), connections)?;
            Ok((subject.name.as_str(), running, crowd))
        })
        .collect()
}

/// Measures all subjects in each round, and before that once for nothing. `take` gets a subject's name, what was done,
/// and the processor time that the server used.
pub fn in_rounds(
    plan: &Plan,
    request: Request,
    all: &mut [Busy<'_>],
    mut take: impl FnMut(&str, Slice, Duration),
) -> Result<()> {
    for (_, _, crowd) in all.iter_mut() {
        crowd.ask_for(request, plan.slice / 4)?;
    }
    for round in 0..plan.rounds {
        for index in order(round, all.len()) {
            let (name, running, crowd) = &mut all[index];
            let before = running.processor_time()?;
            let slice = crowd.ask_for(request, plan.slice)?;
            take(name, slice, running.processor_time()?.saturating_sub(before));
        }
    }
    Ok(())
}
