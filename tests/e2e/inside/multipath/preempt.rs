//! Preempting: of another's key, and of the map's own, which is how a migrated guest takes its disk along.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, Result};
use scsi_persistent_reservations::{ReservationType, SenseCode};

use super::reserve::{KIND, hold};
use super::scene::State;
use super::stage::{Check, Stage};
use super::{KEY, THIRD_KEY};
use crate::fence;
use crate::request::Request;

pub const CHECKS: &[Check] = &[
    ("PREEMPT of the own key: the map writes all the time and stays registered", |stage| of_oneself(stage, PREEMPT)),
    ("PREEMPT AND ABORT of the own key: the same", |stage| of_oneself(stage, PREEMPT_AND_ABORT)),
    (
        "PREEMPT of the own key without a reservation ends the registration, as on one disk",
        of_oneself_without_reservation,
    ),
    ("PREEMPT of the third initiator: it is told, and fenced", |stage| of_the_third(stage, PREEMPT)),
    ("PREEMPT AND ABORT of the third initiator: the same", |stage| of_the_third(stage, PREEMPT_AND_ABORT)),
    ("PREEMPT of the third initiator, who holds: the map takes it over", |stage| of_the_holder(stage, PREEMPT)),
    ("PREEMPT AND ABORT of the third initiator, who holds: the same", |stage| of_the_holder(stage, PREEMPT_AND_ABORT)),
];

/// One of the two commands, with the own key and the other's.
type Preempt = fn(u64, u64, ReservationType) -> Request;
const PREEMPT: Preempt = Request::preempt;
const PREEMPT_AND_ABORT: Preempt = Request::preempt_and_abort;

/// How often a guest migrates here.
const TIMES: u32 = 20;

fn of_oneself(stage: &mut Stage<'_>, preempt: Preempt) -> Result<()> {
    stage.third(&Request::register(0, THIRD_KEY))?;
    hold(stage)?;
    let expected = State::registered(KEY).and_third(THIRD_KEY).held_by(KEY, KIND);
    stage.scene.expect(&expected)?;

    let map = stage.scene.map.writer()?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<()> {
            let mut count = 0;
            while count < TIMES || !done.load(Ordering::SeqCst) {
                map.write().with_context(|| format!("write {} through the map", count + 1))?;
                count += 1;
            }
            Ok(())
        });
        let preempted = (1..=TIMES).try_for_each(|time| {
            stage.good(&preempt(KEY, KEY, KIND)).map(drop).with_context(|| format!("time {time}"))
        });
        done.store(true, Ordering::SeqCst);
        let written = writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?;
        preempted.and(written)
    })?;
    stage.scene.expect(&expected)
}

fn of_oneself_without_reservation(stage: &mut Stage<'_>) -> Result<()> {
    stage.third(&Request::register(0, THIRD_KEY))?;
    // What QEMU sends when a guest arrives by live migration.
    for _ in 0..2 {
        stage.good(&Request::register(0, KEY))?;
        stage.scene.expect(&State::registered(KEY).and_third(THIRD_KEY))?;
        stage.good(&Request::preempt(KEY, KEY, KIND))?;
        stage.scene.expect(&State::default().and_third(THIRD_KEY))?;
    }
    Ok(())
}

fn of_the_third(stage: &mut Stage<'_>, preempt: Preempt) -> Result<()> {
    stage.third(&Request::register(0, THIRD_KEY))?;
    hold(stage)?;
    fence::expect("the registered third's write", stage.scene.third.write(), true)?;
    preempt_third(stage, preempt)
}

fn of_the_holder(stage: &mut Stage<'_>, preempt: Preempt) -> Result<()> {
    stage.third(&Request::register(0, THIRD_KEY))?;
    stage.third(&Request::reserve(THIRD_KEY, KIND))?;
    stage.good(&Request::register(0, KEY))?;
    preempt_third(stage, preempt)
}

fn preempt_third(stage: &mut Stage<'_>, preempt: Preempt) -> Result<()> {
    stage.scene.third.settle()?;
    stage.good(&preempt(KEY, THIRD_KEY, KIND))?;
    let told = stage.scene.third.directly(&Request::reserve(THIRD_KEY, KIND))?;
    told.check_condition(SenseCode::REGISTRATIONS_PREEMPTED).context("the third's next command")?;
    stage.scene.expect(&State::registered(KEY).held_by(KEY, KIND))?;
    fence::expect("the preempted third's write", stage.scene.third.write(), false)?;
    fence::expect("the map's write", stage.scene.map.write(), true)
}
