//! Runs the steps of sequences as the initiators, and removes their registrations afterwards.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use pr_wire::Reply;
use scsi_pr::{InAction, PrOut, ReadKeys, ReservationKey, ReservationType, Status};
use signal_hook::{consts, flag};

use super::{
    sequences::Initiators,
    step::{Command, Expect, Step, Verdict},
};
use crate::{
    error::Error,
    output::text,
    request::{Access, Request},
    target::{Device, Disk, Helper, is_attention},
};

/// How often a command that met a unit attention or a busy disk is sent again: libmpathpersist tries five times.
const TRIES: usize = 5;

/// A signal that asks the program to stop.
pub struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    /// From now on a signal is noted, and a second one ends the program at once.
    pub fn watch() -> Result<Self, Error> {
        let (seen, again) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        for signal in [consts::SIGINT, consts::SIGTERM, consts::SIGHUP] {
            // The order matters: the first of them sees what the last one has not yet set.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&again))
                .and_then(|_| flag::register(signal, Arc::clone(&again)))
                .and_then(|_| flag::register_usize(signal, Arc::clone(&seen), signal.unsigned_abs() as usize))
                .map_err(Error::Signals)?;
        }
        Ok(Self(seen))
    }

    /// The exit status that the signal asks for.
    pub fn status(&self) -> Option<u8> {
        match self.0.load(Ordering::SeqCst) {
            0 => None,
            signal => u8::try_from(128 + signal).ok(),
        }
    }
}

/// The result of a step.
pub struct StepReport {
    pub verdict: Verdict,
    pub expected: String,
    pub received: String,
    /// The unit attentions that came first.
    pub attentions: Vec<String>,
}

/// The initiators, each with its own transport to the disk.
pub struct Runner<'a> {
    helper: &'a Helper,
    devices: Vec<&'a Device>,
    disks: Vec<Disk<'a>>,
    initiators: Initiators,
    /// PRGENERATION as it was read last, and whether it has to have changed since.
    generation: Option<u32>,
    counted: bool,
}

impl<'a> Runner<'a> {
    /// Opens a transport for each of the devices.
    pub fn open(helper: &'a Helper, devices: Vec<&'a Device>, initiators: Initiators) -> Result<Self, Error> {
        let disks = open_all(helper, &devices)?;
        Ok(Self { helper, devices, disks, initiators, generation: None, counted: false })
    }

    /// The keys that are registered.
    pub fn keys(&mut self) -> Result<Vec<ReservationKey>, Error> {
        let disk = self.disks.first_mut().ok_or(Error::NoInitiator)?;
        let reply = disk.ask_settled(InAction::ReadKeys)?;
        match ReadKeys::parse(&reply.data) {
            Ok(keys) if reply.status == Status::GOOD => Ok(keys.keys().collect()),
            _ => disk.data(InAction::ReadKeys).and_then(|data| Err(disk.too_short(InAction::ReadKeys, &data))),
        }
    }

    /// Begins a new sequence: PRGENERATION is not compared with that of the sequence before.
    pub fn begin(&mut self) {
        self.generation = None;
        self.counted = false;
    }

    /// Runs one step.
    pub fn run(&mut self, step: &Step) -> StepReport {
        let expected = step.expect.to_string();
        let mut attentions = Vec::new();
        let reply = match self.send(step, &mut attentions) {
            Ok(reply) => reply,
            Err(error) => {
                return StepReport { verdict: Verdict::Failed, expected, received: error.to_string(), attentions };
            }
        };
        let (verdict, received) = step.expect.compare(&reply);
        if let (Verdict::Ok, Some((expected, received))) = (verdict, self.count(step, &reply)) {
            return StepReport { verdict: Verdict::Failed, expected, received, attentions };
        }
        StepReport { verdict, expected, received, attentions }
    }

    /// Sends a step's command, again after unit attentions unless one is what the step is about.
    fn send(&mut self, step: &Step, attentions: &mut Vec<String>) -> Result<Reply, Error> {
        let disk = self.disks.get_mut(step.initiator as usize).ok_or(Error::NoInitiator)?;
        let mut once = || match &step.command {
            Command::Change(request) => disk.send(request),
            Command::Read(action, length) => disk.ask_for(*action, *length),
        };
        let mut reply = once()?;
        if matches!(step.expect, Expect::UnitAttention(_)) {
            return Ok(reply);
        }
        for _ in 0..TRIES {
            if !is_attention(&reply) {
                break;
            }
            attentions.push(text::reply(&reply));
            reply = once()?;
        }
        Ok(reply)
    }

    /// Checks that PRGENERATION changes; if it does not, what was expected and what was received.
    fn count(&mut self, step: &Step, reply: &Reply) -> Option<(String, String)> {
        if reply.status == Status::GOOD && step.command.counts() {
            self.counted = true;
        }
        let Expect::Keys(_) = step.expect else { return None };
        let generation = ReadKeys::parse(&reply.data).ok()?.generation;
        let before = self.generation.replace(generation);
        let stands = self.counted && before == Some(generation);
        self.counted = false;
        stands.then(|| (format!("PRGENERATION above {generation}"), format!("PRGENERATION still {generation}")))
    }

    /// Removes the registrations of this run; those that are left.
    pub fn clean_up(&mut self) -> Result<Vec<ReservationKey>, Error> {
        self.unregister();
        match self.own_keys() {
            Ok(left) if left.is_empty() => return Ok(left),
            _ => {}
        }
        // The connection failed, so that a new one may be another initiator, or unregistering does not work.
        self.disks = open_all(self.helper, &self.devices)?;
        self.unregister();
        let left = self.own_keys()?;
        self.remove(&left);
        self.own_keys()
    }

    fn unregister(&mut self) {
        let request = Request::from(PrOut::register_and_ignore_existing_key(ReservationKey::ZERO));
        for disk in &mut self.disks {
            settled(disk, &request);
        }
    }

    /// The keys of this run that are registered.
    fn own_keys(&mut self) -> Result<Vec<ReservationKey>, Error> {
        let Initiators { one, two, .. } = self.initiators;
        let mut keys = self.keys()?;
        keys.retain(|key| [one, two].contains(key));
        Ok(keys)
    }

    /// Removes registrations by key, as another node of a cluster would.
    fn remove(&mut self, left: &[ReservationKey]) {
        let own = self.initiators.third;
        let Some(disk) = self.disks.first_mut() else { return };
        settled(disk, &PrOut::register_and_ignore_existing_key(own).into());
        for victim in left {
            settled(disk, &PrOut::preempt(own, *victim, ReservationType::WriteExclusive).into());
        }
        settled(disk, &PrOut::register_and_ignore_existing_key(ReservationKey::ZERO).into());
    }

    /// Removes all registrations, those of other initiators too.
    pub fn clear(&mut self) {
        let Some(disk) = self.disks.first_mut() else { return };
        let own = self.initiators.one;
        settled(disk, &PrOut::register_and_ignore_existing_key(own).into());
        settled(disk, &PrOut::clear(own).into());
        self.settle();
    }

    /// Receives the unit attentions that are pending.
    pub fn settle(&mut self) {
        for disk in &mut self.disks {
            // An error shows in the first step that needs the disk.
            let _ = disk.ask_settled(InAction::ReadKeys);
        }
    }

    /// Whether the two devices are one disk and two initiators; `None` if that is not known.
    pub fn is_pair(&mut self) -> Option<Pair> {
        let initiators = self.initiators;
        let [first, second] = &mut self.disks[..] else { return None };
        let register = |key| Request::from(PrOut::register(ReservationKey::ZERO, key));
        if settled(first, &register(initiators.one))? != Status::GOOD {
            return None;
        }
        let reply = second.ask_settled(InAction::ReadKeys).ok()?;
        let keys = ReadKeys::parse(&reply.data).ok()?;
        if keys.keys().all(|key| key != initiators.one) {
            return Some(Pair::OtherDisk);
        }
        match settled(second, &register(initiators.two))? {
            Status::RESERVATION_CONFLICT => Some(Pair::SameInitiator),
            _ => Some(Pair::Proper),
        }
    }
}

/// How two devices are related.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pair {
    Proper,
    OtherDisk,
    SameInitiator,
}

fn open_all<'a>(helper: &'a Helper, devices: &[&'a Device]) -> Result<Vec<Disk<'a>>, Error> {
    devices.iter().map(|device| Disk::open(helper, device, Access::Write)).collect()
}

/// Sends a change, again after unit attentions; the status, if there is one.
fn settled(disk: &mut Disk<'_>, request: &Request) -> Option<Status> {
    (0..=TRIES)
        .map(|_| disk.send(request))
        .find(|reply| !reply.as_ref().is_ok_and(is_attention))?
        .ok()
        .map(|r| r.status)
}
