//! Requests a second, and what they cost the server.

use anyhow::Result;

use super::figure::Figure;
use super::plan::Plan;
use pr_measure::processors::stay_on;
use pr_measure::request::{Request, Target};
use pr_measure::subject::Subject;
use pr_measure::turn::{coming_in_rounds, in_rounds, started};

/// The loads of the table.
pub const CONNECTIONS: [u32; 5] = [1, 16, 64, 256, 1000];

/// How many clients come and go at a time.
pub const COMING: [u32; 4] = [1, 4, 16, 64];

/// The row of the server's processor time.
pub fn processor_row(request: Request) -> String {
    format!("server CPU per {}", request.name())
}

/// How much of the processor client and server had: less than nearly all, and the machine did other things as well.
pub const SHARE: &str = "share of the processor";

/// PR IN and PR OUT at every load, everything on one processor.
pub fn measure(plan: &Plan, subjects: &[Subject]) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for connections in CONNECTIONS {
        let mut all = started(subjects, connections, &Target::nothing()?)?;
        let mut share = Figure::new(SHARE, Some(connections), "%");
        for request in [Request::In, Request::Out] {
            let mut rate = Figure::new(request.name(), Some(connections), "requests/s");
            let mut processor = Figure::new(&processor_row(request), Some(connections), "µs");
            in_rounds(plan.rounds, request, &mut all, |name, turn| {
                rate.push(name, turn.rate());
                processor.push(name, turn.each(turn.server));
                share.push(name, 100.0 * turn.rate_by_clock() / turn.rate());
            })?;
            figures.extend([rate, processor]);
        }
        figures.push(share);
    }
    Ok(figures)
}

/// PR IN with the server on one processor and the client on another, by the clock.
pub fn measure_on_two(plan: &Plan, subjects: &[Subject]) -> Result<Vec<Figure>> {
    let [clients, servers, ..] = plan.processors[..] else {
        println!("two processors are wanted and one is there: left out");
        return Ok(Vec::new());
    };
    let mut figures = Vec::new();
    for connections in CONNECTIONS {
        stay_on(&[servers])?;
        let mut all = started(subjects, connections, &Target::nothing()?)?;
        stay_on(&[clients])?;
        let mut rate = Figure::new("PR IN, two processors", Some(connections), "requests/s");
        in_rounds(plan.rounds, Request::In, &mut all, |name, turn| rate.push(name, turn.rate_by_clock()))?;
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
        coming_in_rounds(plan.rounds, clients, &all, |name, turn| rate.push(name, turn.rate()))?;
        figures.push(rate);
    }
    Ok(figures)
}
