//! `validate`: tests whether a disk, and the helper in front of it, do what cluster software needs.
//!
//! The sequences are `pr-conformance`'s; the runner runs them and cleans up after each, and the report says which step failed.

mod ports;
mod products;
mod report;
mod runner;

use std::{
    hash::{BuildHasher as _, RandomState},
    path::PathBuf,
};

use clap::{Args, builder::PossibleValuesParser};
use pr_conformance::{ALL, Initiator, Initiators, Sequence, Step, StepReport, Verdict};
use scsi_persistent_reservations::ReservationKey;

use self::{
    ports::Known,
    report::{Report, SequenceReport, SequenceResult},
    runner::{Interrupt, Pair, Runner},
};
use super::global::{Global, Run};
use crate::{
    error::{Error, exit},
    target::{Device, host},
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

    /// Also test writes: write the first block with its present contents
    #[arg(long)]
    write: bool,

    /// Treat remarks as failures
    #[arg(long)]
    strict: bool,

    /// Run only this sequence (--help lists them); may be repeated
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
  basics                       register, read, unregister
  windows-failover-clustering  Windows' validation of shared storage
  windows-arbitration          a node defends its disk against another one
  fence_scsi                   the fence agent for disks
  fence_scsi-4.16              fence_scsi 4.16 and newer: preempts its own key
  fence_mpath                  the fence agent for multipath maps
  ocf-sg_persist               the resource agent of Pacemaker
  qemu-11-migrate-pr           QEMU migrating a guest with its reservation
  qemu-11-migrate-key          QEMU migrating a guest that is only registered
  qemu-11.1-migrate-key        the same with QEMU 11.1 and newer
  lvm-persist                  vgchange --persist, all types
  lvm-persist-2.03.36          LVM 2.03.36 and newer: start, stop, take over
  rules                        rules of SPC that cluster software relies on
  enforcement-type-1           who can read and write: Write Exclusive
  enforcement-type-3           Exclusive Access
  enforcement-type-5           Write Exclusive, registrants only
  enforcement-type-6           Exclusive Access, registrants only
  enforcement-type-7           Write Exclusive, all registrants
  enforcement-type-8           Exclusive Access, all registrants

Without --second half of the steps are skipped. They need a second initiator:
the same disk through another host adapter or iSCSI session. For a simulated
disk, --second may name the same DEVICE.

The enforcement sequences read the first block of the disk with SG_IO, not
through the helper. With --write they also write it, with what they have just
read. If the disk does not enforce reservations, another host might write in
between, so do not use --write while the disk is in use. Without --write types
1, 5 and 7, which exclude writes only, are not tested completely.

Where sysfs has the ports of this host (Fibre Channel, SAS, open-iscsi), they
are compared with those that the disk has registered, and the key of each path
of a multipath map is checked: ports-and-paths in the report.

The registrations are removed afterwards.

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

/// Runs the sequences that are wanted; the exit status.
fn run(global: &Global, validate: &Validate) -> Result<u8, Error> {
    let device = &validate.device;
    let second = validate.second.clone().map(|path| Device { path, direct: device.direct });
    let devices: Vec<&Device> = std::iter::once(device).chain(&second).collect();
    let [one, two, third] = fresh_keys();
    let initiators = Initiators {
        writes: validate.write,
        several_paths: host::paths(&device.path).is_some_and(|paths| paths > 1),
        ..Initiators::new(one, two, second.is_some())
    };

    let interrupt = Interrupt::watch()?;
    let mut runner = Runner::open(&global.helper, devices, initiators, third)?;
    // A simulated disk has no data.
    let initiators = Initiators { writes: initiators.writes || runner.has_no_data(), ..initiators };
    let known = Known::of(std::iter::once(device).chain(&second).map(|device| device.path.as_path()));
    prepare(&mut runner, validate, initiators, &known)?;
    let mut report = Report::begin(global, device, second.as_ref(), initiators)?;
    let mut left = Vec::new();
    if validate.only.is_empty() {
        let sequence_report = run_ports(&mut runner, &known, initiators, validate.strict, &mut report);
        left = runner.clean_up().map_err(|error| not_cleaned(device, initiators, &error))?;
        sequence_report?.into_iter().for_each(|sequence_report| report.end_sequence(sequence_report));
        runner.settle();
    }
    let wanted = |sequence: &&Sequence| validate.only.is_empty() || validate.only.iter().any(|n| n == sequence.name);
    for sequence in ALL.iter().filter(wanted) {
        if !left.is_empty() || interrupt.status().is_some() {
            break;
        }
        // Another initiator may have registered meanwhile, and is not to be removed.
        match runner.keys()?.len() {
            0 => {}
            registrations => return Err(in_use(&mut runner, device, registrations)),
        }
        let sequence_report = run_sequence(&mut runner, sequence, initiators, validate.strict, &interrupt, &mut report);
        // The disk is cleaned up before any error is returned, that of a closed output included.
        left = runner.clean_up().map_err(|error| not_cleaned(device, initiators, &error))?;
        report.end_sequence(sequence_report?);
        runner.settle();
    }
    report.finish(&left, interrupt.status().is_some())?;
    Ok(interrupt.status().unwrap_or(if report.passed() && left.is_empty() { exit::GOOD } else { exit::NEGATIVE }))
}

/// Checks that the disk is not in use, and that two devices are one disk and two initiators.
fn prepare(runner: &mut Runner<'_>, validate: &Validate, initiators: Initiators, known: &Known) -> Result<(), Error> {
    let device = validate.device.path.clone();
    let registrations = runner.keys()?.len();
    match (registrations, validate.force) {
        (0, _) => runner.settle(),
        (registrations, false) => return Err(in_use(runner, &validate.device, registrations)),
        (_, true) => runner.clear(),
    }
    if !initiators.pair {
        return Ok(());
    }
    let pair = runner.is_pair();
    runner.clean_up().map_err(|error| not_cleaned(&validate.device, initiators, &error))?;
    runner.settle();
    let second = validate.second.clone().unwrap_or_default();
    match pair {
        Some(Pair::OtherDisk) => Err(Error::OtherDisk { device, second }),
        Some(Pair::SameInitiator) => Err(match known.different() {
            Some(ports) => Error::RegistersHosts { device, second, ports },
            None => Error::SameInitiator { device, second },
        }),
        Some(Pair::Proper) | None => Ok(()),
    }
}

/// The error for a disk that others use, or this host as it was.
fn in_use(runner: &mut Runner<'_>, device: &Device, registrations: usize) -> Error {
    // Not every disk says who is registered.
    let registered = runner.registered(Initiator::One).unwrap_or_default();
    let stale = ports::stale(&registered, &host::sessions());
    Error::InUse { device: device.path.clone(), registrations, stale }
}

/// Compares what the disk says of this host with what the host says; `None` if it says nothing.
fn run_ports(
    runner: &mut Runner<'_>,
    known: &Known,
    initiators: Initiators,
    strict: bool,
    report: &mut Report,
) -> Result<Option<SequenceReport>, Error> {
    let steps = known.steps(initiators);
    if steps.is_empty() {
        return Ok(None);
    }
    report.begin_sequence(ports::NAME)?;
    runner.begin();
    let mut sequence_report = SequenceReport::new(ports::NAME, steps.len());
    for (number, (step, check)) in (1..).zip(&steps) {
        let key = if step.initiator == Initiator::One { initiators.one } else { initiators.two };
        let step_report = ports::run(runner, step, check, key);
        if step_done(report, &mut sequence_report, number, step, step_report, strict)? {
            break;
        }
    }
    Ok(Some(sequence_report))
}

/// Runs a sequence up to the first step that fails: the results of the steps after it would mean nothing.
fn run_sequence(
    runner: &mut Runner<'_>,
    sequence: &Sequence,
    initiators: Initiators,
    strict: bool,
    interrupt: &Interrupt,
    report: &mut Report,
) -> Result<SequenceReport, Error> {
    let steps = sequence.steps(initiators);
    let total = steps.len();
    report.begin_sequence(sequence.name)?;
    runner.begin();
    let mut sequence_report = SequenceReport::new(sequence.name, total);
    for (number, step) in (1..).zip(&steps) {
        if interrupt.status().is_some() {
            sequence_report.result = SequenceResult::Interrupted;
            break;
        }
        let step_report = runner.run(step);
        if step_done(report, &mut sequence_report, number, step, step_report, strict)? {
            break;
        }
    }
    Ok(sequence_report)
}

/// Notes a step; whether it is the last one.
fn step_done(
    report: &mut Report,
    sequence_report: &mut SequenceReport,
    number: usize,
    step: &Step,
    mut step_report: StepReport,
    strict: bool,
) -> Result<bool, Error> {
    if strict && step_report.verdict == Verdict::Remark {
        step_report.verdict = Verdict::Failed;
    }
    let failed = step_report.verdict == Verdict::Failed;
    report.step(number, step, &step_report)?;
    sequence_report.note(number, step, step_report);
    Ok(failed)
}

/// The error for a disk that could not be cleaned up.
fn not_cleaned(device: &Device, initiators: Initiators, error: &Error) -> Error {
    let keys = format!("{} and {}", initiators.one, initiators.two);
    Error::NotCleaned { device: device.path.clone(), keys, reason: error.to_string(), exit: error.exit_status() }
}

/// Keys that are not in use: their first bytes are "pr", and the rest is random.
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
