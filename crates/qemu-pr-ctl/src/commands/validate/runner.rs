//! Runs the steps of sequences as the initiators, and removes their registrations afterwards.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use pr_conformance::{Command, Initiator, Initiators, Judge, Step, StepReport, TRIES};
use qemu_pr_protocol::Reply;
use scsi_persistent_reservations::{FullStatus, InAction, PrOut, ReadKeys, ReservationKey, ReservationType, Status};
use signal_hook::{consts, flag};

use crate::{
    error::Error,
    request::{Access, Request},
    target::{Device, Disk, Helper},
};

/// How often registrations are removed by key before they are said to be left.
const REMOVALS: usize = 8;

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

/// The initiators, each with its own transport to the disk.
pub struct Runner<'a> {
    helper: &'a Helper,
    devices: Vec<&'a Device>,
    disks: Vec<Disk<'a>>,
    initiators: Initiators,
    /// The key that registrations are removed with.
    third: ReservationKey,
    judge: Judge,
    /// The block that was read since the last change, to be written back.
    block: Option<Vec<u8>>,
}

impl<'a> Runner<'a> {
    /// Opens a transport for each of the devices.
    pub fn open(
        helper: &'a Helper,
        devices: Vec<&'a Device>,
        initiators: Initiators,
        third: ReservationKey,
    ) -> Result<Self, Error> {
        let disks = open_all(helper, &devices)?;
        Ok(Self { helper, devices, disks, initiators, third, judge: Judge::default(), block: None })
    }

    /// Whether a write destroys nothing, whatever it writes.
    pub fn has_no_data(&self) -> bool {
        self.disks.iter().all(Disk::is_file)
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
        self.judge = Judge::default();
    }

    /// Runs one step.
    pub fn run(&mut self, step: &Step) -> StepReport {
        let Self { disks, judge, block, .. } = self;
        let mut disk = disks.get_mut(step.initiator as usize);
        judge.play(step, |command| {
            let disk = disk.as_mut().ok_or(Error::NoInitiator)?;
            match command {
                Command::Change(change) => {
                    // From here on somebody else may be who writes.
                    *block = None;
                    disk.send(&Request::from(*change))
                }
                Command::Read(action, length) => disk.ask_for(*action, *length),
                Command::ReadBlock => {
                    let mut reply = disk.read_block()?;
                    if reply.status == Status::GOOD {
                        *block = Some(std::mem::take(&mut reply.data));
                    }
                    Ok(reply)
                }
                Command::WriteBlock => disk.write_block(block.as_deref().ok_or(Error::NotRead)?),
            }
        })
    }

    /// The initiator ports that the disk has a key for.
    pub fn registered_ports(&mut self, who: Initiator, key: ReservationKey) -> Result<Vec<String>, Error> {
        let registered = self.registered(who)?;
        Ok(registered.into_iter().filter(|(other, _)| *other == key).map(|(_, port)| port).collect())
    }

    /// The keys and initiator ports that the disk has, as it tells a node.
    pub fn registered(&mut self, who: Initiator) -> Result<Vec<(ReservationKey, String)>, Error> {
        let disk = self.disks.get_mut(who as usize).ok_or(Error::NoInitiator)?;
        disk.ask_settled(InAction::ReadFullStatus)?;
        let data = disk.data(InAction::ReadFullStatus)?;
        let status = FullStatus::parse(&data).map_err(|_| disk.too_short(InAction::ReadFullStatus, &data))?;
        Ok(status.descriptors().map(|one| (one.key, one.transport_id.to_string())).collect())
    }

    /// Registers a key again on one path of the first device; whatever the disk answers.
    pub fn register_on(&self, path: &Path, key: ReservationKey) -> Result<Reply, Error> {
        let direct = self.devices.first().is_some_and(|device| device.direct);
        let device = Device { path: path.to_path_buf(), direct };
        let mut disk = Disk::open_as(self.helper, &device, Access::Write, None)?;
        disk.ask_settled(InAction::ReadKeys)?;
        disk.send(&PrOut::register(key, key).into())
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
        // A helper that has a map's commands take any path may have each of these take another one.
        for _ in 0..REMOVALS {
            let left = self.own_keys()?;
            if left.is_empty() {
                return Ok(left);
            }
            self.remove(&left);
        }
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
        keys.retain(|key| [one, two, self.third].contains(key));
        Ok(keys)
    }

    /// Removes registrations by key, as another node of a cluster would.
    fn remove(&mut self, left: &[ReservationKey]) {
        let own = self.third;
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

/// The first one is whom the command line says; the second one is another, and without a name its connection.
fn open_all<'a>(helper: &'a Helper, devices: &[&'a Device]) -> Result<Vec<Disk<'a>>, Error> {
    let names = std::iter::once(helper.initiator).chain(std::iter::repeat(None));
    let devices = devices.iter().zip(names);
    devices.map(|(device, name)| Disk::open_as(helper, device, Access::Write, name)).collect()
}

/// Sends a change, again after unit attentions; the status, if there is one.
fn settled(disk: &mut Disk<'_>, request: &Request) -> Option<Status> {
    (0..=TRIES)
        .map(|_| disk.send(request))
        .find(|reply| !reply.as_ref().is_ok_and(Reply::is_unit_attention))?
        .ok()
        .map(|r| r.status)
}
