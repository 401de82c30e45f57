//! `qemu-pr-ctl validate` on the map: everything that cluster software does to a disk, done to one with two paths.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::reserve::KIND;
use super::scene::State;
use super::stage::{Check, Stage};
use super::{KEY, THIRD_KEY};
use crate::ctl::{same, validates};
use crate::request::Request;

const MAP: &str = "/dev/mapper/mpatha";

pub const CHECKS: &[Check] = &[
    ("qemu-pr-ctl agrees with sg_persist about the map", agree),
    ("qemu-pr-ctl validate passes on the map alone", alone),
    ("qemu-pr-ctl validate passes between the map and the third initiator", between),
    ("qemu-pr-ctl validate passes between the third initiator and the map", other_way_round),
];

fn agree(stage: &mut Stage<'_>) -> Result<()> {
    same(&stage.helper, MAP).context("without registrations")?;
    stage.good(&Request::register(0, KEY))?;
    stage.third(&Request::register(0, THIRD_KEY))?;
    same(&stage.helper, MAP).context("with registrations")?;
    stage.good(&Request::reserve(KEY, KIND))?;
    same(&stage.helper, MAP).context("with a reservation")
}

fn alone(stage: &mut Stage<'_>) -> Result<()> {
    let said = validates(&stage.helper, Path::new(MAP), None)?;
    ensure!(said.contains("this is a multipath map of 2 paths"), "it does not tell of types 1 and 3: {said}");
    stage.scene.expect(&State::default())
}

fn between(stage: &mut Stage<'_>) -> Result<()> {
    let third = Path::new("/dev").join(stage.scene.third.name());
    validates(&stage.helper, Path::new(MAP), Some(&third))?;
    stage.scene.expect(&State::default())
}

fn other_way_round(stage: &mut Stage<'_>) -> Result<()> {
    let third = Path::new("/dev").join(stage.scene.third.name());
    validates(&stage.helper, &third, Some(Path::new(MAP)))?;
    stage.scene.expect(&State::default())
}
