//! Reserving and releasing: a path holds the reservation, but the map is who holds it.

use anyhow::{Result, ensure};
use scsi_persistent_reservations::{InAction, ReservationType};

use super::outage::expect_in_time;
use super::scene::State;
use super::stage::{Check, Stage};
use super::{KEY, THIRD_KEY};
use crate::fence;
use crate::request::Request;

pub const KIND: ReservationType = ReservationType::WriteExclusiveRegistrantsOnly;
pub const OTHER_KIND: ReservationType = ReservationType::ExclusiveAccessRegistrantsOnly;

pub const CHECKS: &[Check] = &[
    ("questions are answered as the map itself answers them", questions),
    ("the map and each path write, the third initiator is fenced", fencing),
    ("a repeated RESERVE is GOOD, whichever path is used", repeated),
    ("RESERVE of another type conflicts", another_type),
    ("RELEASE leaves the third initiator's reservation alone", release_of_others),
    ("RELEASE ends the reservation and leaves the registrations", release),
    ("RELEASE ends the reservation, whichever path holds it", release_by_other_path),
    ("RELEASE with the wrong type changes nothing", release_with_wrong_type),
    ("every type is reserved and released", every_type),
];

/// Registers and reserves through the helper.
pub fn hold(stage: &mut Stage<'_>) -> Result<()> {
    stage.good(&Request::register(0, KEY))?;
    stage.good(&Request::reserve(KEY, KIND)).map(drop)
}

fn held() -> State {
    State::registered(KEY).held_by(KEY, KIND)
}

fn questions(stage: &mut Stage<'_>) -> Result<()> {
    stage.third(&Request::register(0, THIRD_KEY))?;
    hold(stage)?;
    stage.scene.expect(&held().and_third(THIRD_KEY))?;
    for action in InAction::ALL {
        // Nothing, a header's part, a part of the data, and more than there is.
        for length in [0, 4, 20, 8192] {
            let request = Request::read_up_to(*action, length);
            let direct = stage.scene.map.directly(&request)?;
            let answer = stage.as_qemu(&request)?;
            ensure!(answer == direct, "{}: the map answers {direct}, the helper {answer}", request.name);
        }
    }
    let odd = Request::odd_read(0x1f);
    let direct = stage.scene.map.directly(&odd)?;
    let answer = stage.as_qemu(&odd)?;
    ensure!(answer == direct, "{}: the map answers {direct}, the helper {answer}", odd.name);
    let keys = stage.send(&Request::read(InAction::ReadKeys))?.keys()?;
    ensure!(keys == [KEY, KEY, THIRD_KEY], "READ KEYS tells {keys:x?}");
    let full = stage.send(&Request::read(InAction::ReadFullStatus))?.registrations()?;
    let mut listed: Vec<(u64, bool)> = full.iter().map(|one| (one.key, one.holds)).collect();
    listed.sort_unstable();
    ensure!(listed == [(KEY, false), (KEY, true), (THIRD_KEY, false)], "READ FULL STATUS tells {listed:x?}");
    Ok(())
}

fn fencing(stage: &mut Stage<'_>) -> Result<()> {
    hold(stage)?;
    let writes = |what: &str, stage: &Stage<'_>| -> Result<()> {
        fence::expect(&format!("{what}, the map's write"), stage.scene.map.write(), true)?;
        for path in &stage.scene.paths {
            fence::expect(&format!("{what}, the write by {}", path.name()), path.write(), true)?;
        }
        Ok(())
    };
    writes("with the third unregistered", stage)?;
    fence::expect("the unregistered third's write", stage.scene.third.write(), false)?;
    stage.third(&Request::register(0, THIRD_KEY))?;
    fence::expect("the registered third's write", stage.scene.third.write(), true)?;
    writes("with the third registered", stage)
}

fn repeated(stage: &mut Stage<'_>) -> Result<()> {
    hold(stage)?;
    for path in 0..2 {
        stage.good(&Request::reserve(KEY, KIND))?;
        stage.scene.fail(path)?;
        stage.good(&Request::reserve(KEY, KIND))?;
        stage.scene.reinstate(path)?;
    }
    stage.scene.expect(&held())
}

fn another_type(stage: &mut Stage<'_>) -> Result<()> {
    hold(stage)?;
    for path in 0..2 {
        stage.conflict(&Request::reserve(KEY, OTHER_KIND))?;
        stage.scene.fail(path)?;
        stage.conflict(&Request::reserve(KEY, OTHER_KIND))?;
        stage.scene.reinstate(path)?;
    }
    stage.scene.expect(&held())
}

fn release_of_others(stage: &mut Stage<'_>) -> Result<()> {
    stage.third(&Request::register(0, THIRD_KEY))?;
    stage.third(&Request::reserve(THIRD_KEY, KIND))?;
    stage.good(&Request::register(0, KEY))?;
    let expected = State::registered(KEY).and_third(THIRD_KEY).held_by(THIRD_KEY, KIND);
    stage.scene.expect(&expected)?;
    for path in 0..2 {
        stage.good(&Request::release(KEY, KIND))?;
        stage.scene.expect(&expected)?;
        stage.scene.fail(path)?;
        stage.good(&Request::release(KEY, KIND))?;
        stage.scene.reinstate(path)?;
        stage.scene.expect(&expected)?;
    }
    Ok(())
}

fn release(stage: &mut Stage<'_>) -> Result<()> {
    stage.third(&Request::register(0, THIRD_KEY))?;
    hold(stage)?;
    stage.good(&Request::release(KEY, KIND))?;
    stage.scene.expect(&State::registered(KEY).and_third(THIRD_KEY))?;
    // Nothing is held: nothing to do is no mistake.
    stage.good(&Request::release(KEY, KIND))?;
    stage.scene.expect(&State::registered(KEY).and_third(THIRD_KEY))
}

fn release_by_other_path(stage: &mut Stage<'_>) -> Result<()> {
    stage.third(&Request::register(0, THIRD_KEY))?;
    stage.good(&Request::register(0, KEY))?;
    for path in 0..2 {
        // This path and no other holds it, and then it is not the one that the map uses.
        stage.scene.paths[path].directly(&Request::reserve(KEY, KIND))?.good()?;
        stage.scene.fail(path)?;
        stage.good(&Request::release(KEY, KIND))?;
        stage.scene.reinstate(path)?;
        // The key was preempted from the path that held and was away, and is given to it when it is back.
        expect_in_time(stage, &State::registered(KEY).and_third(THIRD_KEY))?;
    }
    Ok(())
}

fn release_with_wrong_type(stage: &mut Stage<'_>) -> Result<()> {
    hold(stage)?;
    for path in 0..2 {
        for _ in 0..2 {
            let answer = stage.send(&Request::release(KEY, OTHER_KIND))?;
            ensure!(answer.clone().good().is_err(), "RELEASE with the wrong type answers {answer}");
            stage.scene.expect(&held())?;
            stage.scene.fail(path)?;
        }
        stage.scene.reinstate(path)?;
    }
    Ok(())
}

fn every_type(stage: &mut Stage<'_>) -> Result<()> {
    stage.good(&Request::register(0, KEY))?;
    for kind in ReservationType::ALL {
        let holder = if kind.is_all_registrants() { 0 } else { KEY };
        stage.good(&Request::reserve(KEY, kind))?;
        stage.scene.expect(&State::registered(KEY).held_by(holder, kind))?;
        stage.good(&Request::reserve(KEY, kind))?;
        stage.good(&Request::release(KEY, kind))?;
        stage.scene.expect(&State::registered(KEY))?;
    }
    Ok(())
}
