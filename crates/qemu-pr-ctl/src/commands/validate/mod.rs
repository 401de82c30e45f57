//! `validate`: does a disk, and the helper in front of it, do what cluster software needs?
//!
//! The sequences are data; the stage plays them, cleans up behind each, and the table says how it went.

mod sequences;
mod stage;
mod step;
mod table;

use std::{
    hash::{BuildHasher as _, RandomState},
    path::PathBuf,
};

use clap::{Args, builder::PossibleValuesParser};
use scsi_pr::ReservationKey;

use self::{
    sequences::{ALL, Cast, Sequence},
    stage::{Interrupt, Outcome, Pair, Stage},
    step::{Step, Verdict},
    table::{Ending, Page, Played},
};
use super::global::{Global, Run};
use crate::{
    error::{Error, exit},
    target::Device,
};

/// Test a disk with the command sequences of cluster software
#[derive(Debug, Args)]
#[command(after_long_help = SEQUENCES)]
pub struct Validate {
    #[command(flatten)]
    device: Device,

    /// The same disk through another initiator
    #[arg(long, value_name = "DEVICE")]
    second: Option<PathBuf>,

    /// Remove all existing registrations first
    #[arg(long)]
    force: bool,

    /// Treat remarks as failures
    #[arg(long)]
    strict: bool,

    /// Run only this sequence (see --help); may be repeated
    #[arg(
        long,
        value_name = "SEQUENCE",
        hide_possible_values = true,
        value_parser = PossibleValuesParser::new(names())
    )]
    only: Vec<String>,
}

const SEQUENCES: &str = "\
Sequences:
  basics                       what all other sequences rely on
  windows-failover-clustering  Windows' validation of shared storage
  fence_scsi                   the fence agent for disks
  fence_mpath                  the fence agent for multipath maps
  ocf-sg_persist               the resource agent of Pacemaker
  qemu-11-migrate-pr           QEMU migrating a guest with its reservation
  qemu-11-migrate-key          QEMU migrating a guest that is only registered
  lvm-persist                  vgchange --persist, all types

With one device, half of the steps are run. The other half needs a second
initiator: the same disk through another host adapter or iSCSI session. For a
simulated disk, --second may name the same DEVICE.

The command removes its registrations afterwards.

A missing unit attention is a remark, not a failure, because a path checker may
have received it. The PREEMPT without a type, which QEMU sends for a guest that
is only registered, may succeed or fail; if it removes the guest's registration,
that is a remark.
";

/// The names of the sequences.
fn names() -> Vec<&'static str> {
    ALL.iter().map(|sequence| sequence.name).collect()
}

impl Run for Validate {
    fn run(&self, global: &Global) -> Result<u8, Error> {
        run(global, self)
    }
}

/// Plays what is wanted; the exit status.
fn run(global: &Global, validate: &Validate) -> Result<u8, Error> {
    let device = &validate.device;
    let second = validate.second.clone().map(|path| Device { path, direct: device.direct });
    let devices: Vec<&Device> = std::iter::once(device).chain(&second).collect();
    let [one, two, third] = fresh_keys();
    let cast = Cast { one, two, third, pair: second.is_some() };

    let interrupt = Interrupt::watch()?;
    let mut stage = Stage::open(&global.helper, devices, cast)?;
    prepare(&mut stage, validate, cast)?;
    let mut page = Page::begin(global, device, second.as_ref(), cast)?;
    let wanted = |sequence: &&Sequence| validate.only.is_empty() || validate.only.iter().any(|n| n == sequence.name);
    let mut left = Vec::new();
    for sequence in ALL.iter().filter(wanted) {
        // Somebody may have come in the meantime, and is not to be cleared away.
        match stage.keys()?.len() {
            0 => {}
            registrations => return Err(Error::InUse { device: device.path.clone(), registrations }),
        }
        let played = play(&mut stage, sequence, cast, validate.strict, &interrupt, &mut page);
        // Whatever went wrong, even that nobody reads this any more: first of all the disk is cleaned up.
        left = stage.clean_up().map_err(|error| not_cleaned(device, cast, &error))?;
        page.end_sequence(played?);
        stage.settle();
        if !left.is_empty() || interrupt.status().is_some() {
            break;
        }
    }
    page.finish(&left, interrupt.status().is_some())?;
    Ok(interrupt.status().unwrap_or(if page.passed() && left.is_empty() { exit::GOOD } else { exit::FALSE }))
}

/// Sees to it that nobody is disturbed, and that two devices are what they are taken for.
fn prepare(stage: &mut Stage<'_>, validate: &Validate, cast: Cast) -> Result<(), Error> {
    let device = validate.device.path.clone();
    let registrations = stage.keys()?.len();
    match (registrations, validate.force) {
        (0, _) => stage.settle(),
        (registrations, false) => return Err(Error::InUse { device, registrations }),
        (_, true) => stage.clear(),
    }
    if !cast.pair {
        return Ok(());
    }
    let pair = stage.is_pair();
    stage.clean_up().map_err(|error| not_cleaned(&validate.device, cast, &error))?;
    stage.settle();
    let second = validate.second.clone().unwrap_or_default();
    match pair {
        Some(Pair::OtherDisk) => Err(Error::OtherDisk { device, second }),
        Some(Pair::SameInitiator) => Err(Error::SameInitiator { device, second }),
        Some(Pair::Proper) | None => Ok(()),
    }
}

/// Plays a sequence up to the first step that fails: what comes after it would say nothing.
fn play(
    stage: &mut Stage<'_>,
    sequence: &Sequence,
    cast: Cast,
    strict: bool,
    interrupt: &Interrupt,
    page: &mut Page,
) -> Result<Played, Error> {
    let steps = (sequence.steps)(cast);
    let total = steps.len();
    page.begin_sequence(sequence.name)?;
    stage.begin();
    let mut played = Played::new(sequence.name, total);
    for (number, step) in (1..).zip(&steps) {
        if interrupt.status().is_some() {
            played.result = Ending::Interrupted;
            break;
        }
        let mut came = stage.play(step);
        if strict && came.verdict == Verdict::Remark {
            came.verdict = Verdict::Failed;
        }
        if step_done(page, &mut played, number, step, came)? {
            break;
        }
    }
    Ok(played)
}

/// Notes a step; whether it is the last one.
fn step_done(page: &mut Page, played: &mut Played, number: usize, step: &Step, came: Outcome) -> Result<bool, Error> {
    let failed = came.verdict == Verdict::Failed;
    page.step(number, step, &came)?;
    played.note(number, step, came);
    Ok(failed)
}

/// The error for a disk that could not be cleaned up.
fn not_cleaned(device: &Device, cast: Cast, error: &Error) -> Error {
    let keys = format!("{} and {}", cast.one, cast.two);
    Error::NotCleaned { device: device.path.clone(), keys, reason: error.to_string(), exit: error.exit_status() }
}

/// Keys that nobody has: they name this program, and no two runs have the same.
fn fresh_keys() -> [ReservationKey; 3] {
    let random = RandomState::new().hash_one(std::process::id()) & 0xffff_fff0;
    [1, 2, 3].map(|last| ReservationKey(0x7072_0000_0000_0000 | random | last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_sequence() {
        for name in names() {
            assert!(SEQUENCES.contains(&format!("  {name} ")), "{name}");
        }
    }
}
