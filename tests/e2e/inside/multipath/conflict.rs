//! Wrong keys: refused as a single path refuses them, and nothing is changed on the way.

use std::fmt;

use anyhow::{Context as _, Result};

use super::reserve::{KIND, hold};
use super::scene::State;
use super::stage::{Check, Stage};
use super::{KEY, NEW_KEY, THIRD_KEY, WRONG_KEY};
use crate::request::Request;

pub const CHECKS: &[Check] = &[
    ("wrong keys conflict while the map holds the reservation", while_holding),
    ("wrong keys conflict while the third initiator holds it", while_another_holds),
    ("wrong keys conflict for a map that is not registered", while_unregistered),
];

fn while_holding(stage: &mut Stage<'_>) -> Result<()> {
    stage.third(&Request::register(0, THIRD_KEY))?;
    hold(stage)?;
    let expected = State::registered(KEY).and_third(THIRD_KEY).held_by(KEY, KIND);
    refused(stage, &[WRONG_KEY, THIRD_KEY], &expected, Refusal::Conflict)
}

fn while_another_holds(stage: &mut Stage<'_>) -> Result<()> {
    stage.third(&Request::register(0, THIRD_KEY))?;
    stage.third(&Request::reserve(THIRD_KEY, KIND))?;
    stage.good(&Request::register(0, KEY))?;
    let expected = State::registered(KEY).and_third(THIRD_KEY).held_by(THIRD_KEY, KIND);
    refused(stage, &[WRONG_KEY, THIRD_KEY], &expected, Refusal::AsByPath)
}

fn while_unregistered(stage: &mut Stage<'_>) -> Result<()> {
    stage.third(&Request::register(0, THIRD_KEY))?;
    let expected = State { third: Some(THIRD_KEY), keys: vec![THIRD_KEY], ..State::default() };
    refused(stage, &[KEY, THIRD_KEY], &expected, Refusal::AsByPath)
}

/// How a wrong key is refused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// As SPC has it.
    Conflict,
    /// Or in the words that a single path has for it. LIO takes the key of a RELEASE for right where there is nothing to
    /// release, and is not ready for those it does not know.
    AsByPath,
}

/// Tries everything that has to prove a key.
fn refused(stage: &mut Stage<'_>, wrong: &[u64], expected: &State, refusal: Refusal) -> Result<()> {
    stage.scene.expect(expected)?;
    for wrong in wrong {
        for request in [
            Request::reserve(*wrong, KIND),
            Request::release(*wrong, KIND),
            Request::clear(*wrong),
            Request::preempt(*wrong, THIRD_KEY, KIND),
            Request::preempt(*wrong, *wrong, KIND),
            Request::register(*wrong, NEW_KEY),
            Request::register(*wrong, 0),
        ] {
            let place = || format!("{} with the key {wrong:#x}", request.name);
            // What was changed tells more than the answer does.
            let unchanged = |stage: &Stage<'_>, answer: &dyn fmt::Display| {
                stage.scene.expect(expected).with_context(|| format!("{} answers {answer}", place()))
            };
            if refusal == Refusal::Conflict {
                let answer = stage.send(&request).with_context(place)?;
                unchanged(stage, &answer)?;
                answer.conflict().with_context(place)?;
                continue;
            }
            // Byte by byte.
            let answer = stage.as_qemu(&request).with_context(place)?;
            unchanged(stage, &answer)?;
            if answer == stage.scene.paths[0].directly(&request)? {
                stage.scene.expect(expected).with_context(|| format!("{} by a path", place()))?;
                continue;
            }
            answer.conflict().with_context(place)?;
        }
    }
    Ok(())
}
