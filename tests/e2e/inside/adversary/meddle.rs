//! Doing something in the middle of a command: after a while, or when the LUN's registrations have changed so often.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::chance::Chance;
use super::disk::{Act, Told};
use super::faults::{Deed, Reach};

/// When it is done.
#[derive(Clone, Copy, Debug)]
pub enum Moment {
    After(Duration),
    /// When registrations have changed so many times since the command was sent.
    Changes(u32),
}

/// A deed and its moment.
pub struct Plan {
    pub moment: Moment,
    pub deeds: Vec<Deed>,
}

impl Plan {
    pub fn new(chance: &mut Chance, deeds: Vec<Deed>) -> Self {
        let moment = match chance.below(10) {
            0..=3 => Moment::After(Duration::from_micros(chance.below(30_000))),
            _ => Moment::Changes(1 + u32::try_from(chance.below(9)).unwrap_or(0)),
        };
        Self { moment, deeds }
    }
}

/// What was done.
#[derive(Default)]
pub struct Done {
    pub acts: Vec<(Act, Told)>,
    pub deeds: Vec<Deed>,
}

/// Waits for the moment and does it; nothing if the command ends before.
pub fn run(plan: &Plan, reach: &Reach<'_>, ended: &AtomicBool) -> Result<Done> {
    let mut done = Done::default();
    let started = Instant::now();
    let first = reach.array.generation()?;
    loop {
        let is_time = match plan.moment {
            Moment::After(time) => started.elapsed() >= time,
            Moment::Changes(count) => reach.array.generation()?.wrapping_sub(first) >= count,
        };
        if is_time {
            break;
        }
        if ended.load(Ordering::Acquire) {
            return Ok(done);
        }
        thread::sleep(Duration::from_micros(50));
    }
    for deed in &plan.deeds {
        match (deed, reach.perform(deed)?) {
            (Deed::Act(act), Some(told)) => done.acts.push((*act, told)),
            (Deed::Act(_), None) => {}
            _ => done.deeds.push(*deed),
        }
    }
    Ok(done)
}
