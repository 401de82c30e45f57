//! Memory, and what grows with the number of connections.

use std::time::Duration;

use anyhow::Result;

use super::figure::Figure;
use super::machine::most_connections;
use super::plan::Plan;
use pr_measure::crowd::Crowd;
use pr_measure::request::{Request, Target};
use pr_measure::subject::Subject;
use pr_measure::turn::{in_rounds, started};

/// Resident memory of the helper's own process.
pub const IDLE: &str = "idle RSS";
/// What a thousand idle connections add to the helper and its children.
pub const ADDED: &str = "RSS added by 1000 idle connections";
/// What a request costs, server and client together.
pub const COST: &str = "growth: a PR IN";
/// The memory of the helper and its children.
pub const RESIDENT: &str = "growth: RSS";

/// The loads of the growth, before the largest.
const CONNECTIONS: [u32; 6] = [1, 4, 16, 64, 256, 1000];

/// The largest load of the growth.
pub const MOST: u32 = 3000;

/// How many idle connections.
const MANY: u32 = 1000;

/// How often a memory is measured: it is nearly the same each time.
const TIMES: usize = 3;

/// Idle memory, and that of 1000 idle connections.
pub fn measure(subjects: &[Subject]) -> Result<Vec<Figure>> {
    let mut idle = Figure::new(IDLE, None, "kB");
    let mut children = Figure::new("idle RSS of its children", None, "kB");
    let mut proportional = Figure::new("idle PSS with its children", None, "kB");
    let mut private = Figure::new("idle private memory with its children", None, "kB");
    let mut added = Figure::new(ADDED, None, "kB");
    let target = Target::nothing()?;
    for _ in 0..TIMES {
        for subject in subjects {
            let name = &subject.name;
            let running = subject.with_room_for(MANY).start();
            // The first client's way is warm, as in any helper that has served one.
            Crowd::connect(running.socket(), 1, &target)?.ask_times(Request::In, 10)?;
            let (own, below) = (running.memory()?, running.children_memory()?);
            idle.push(name, own.resident);
            children.push(name, below.resident);
            proportional.push(name, (own + below).proportional);
            private.push(name, (own + below).private);
            let crowd = Crowd::connect(running.socket(), MANY, &target)?;
            settle();
            let with = running.memory()? + running.children_memory()?;
            added.push(name, with.resident - (own + below).resident);
            drop(crowd);
        }
    }
    Ok(vec![idle, children, proportional, private, added])
}

/// Cost and memory at every load up to 3000 connections.
pub fn measure_growth(plan: &Plan, subjects: &[Subject]) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let (most, why) = most_connections(MOST);
    if let Some(why) = &why {
        println!("{why}");
    }
    for connections in CONNECTIONS.into_iter().chain([most]) {
        let mut cost = Figure::new(COST, Some(connections), "µs");
        let mut resident = Figure::new(RESIDENT, Some(connections), "kB");
        let mut all = started(subjects, connections, &Target::nothing()?)?;
        in_rounds(plan.rounds, Request::In, &mut all, |name, turn| cost.push(name, turn.each(turn.used())))?;
        for (name, running, _) in &all {
            let memory = running.memory()? + running.children_memory()?;
            resident.push(name, memory.resident);
        }
        (cost.note, resident.note) = (why.clone(), why.clone());
        figures.extend([cost, resident]);
    }
    Ok(figures)
}

/// The last greeting's answer has been sent; the helper is to have read it.
fn settle() {
    std::thread::sleep(Duration::from_millis(50));
}
