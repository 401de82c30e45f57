//! The initiators, and what they do to the disk: steps played, and everything cleaned up behind them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use pr_wire::Reply;
use scsi_pr::{InAction, OutAction, ReadKeys, ReservationKey, Status};
use signal_hook::{consts, flag};

use super::{
    sequences::Cast,
    step::{Due, Step, Verdict, What, Who},
};
use crate::{
    error::Error,
    output::text,
    request::{Access, Request},
    target::{Device, Disk, Helper, is_attention},
};

/// How often a command that met a unit attention or a busy disk is sent again: libmpathpersist tries five times.
const TRIES: usize = 5;

/// A signal that wants this to end.
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

/// What came of a step.
pub struct Outcome {
    pub verdict: Verdict,
    pub expected: String,
    pub came: String,
    /// What the disk had to say first.
    pub attentions: Vec<String>,
}

/// The initiators on their way to the disk.
pub struct Stage<'a> {
    helper: &'a Helper,
    devices: Vec<&'a Device>,
    disks: Vec<Disk<'a>>,
    cast: Cast,
    /// PRGENERATION as it was read last, and whether it has to be another one by now.
    generation: Option<u32>,
    counted: bool,
}

impl<'a> Stage<'a> {
    /// One way for each of the devices.
    pub fn open(helper: &'a Helper, devices: Vec<&'a Device>, cast: Cast) -> Result<Self, Error> {
        let disks = open_all(helper, &devices)?;
        Ok(Self { helper, devices, disks, cast, generation: None, counted: false })
    }

    /// The keys that are registered.
    pub fn keys(&mut self) -> Result<Vec<ReservationKey>, Error> {
        let disk = self.disks.first_mut().ok_or(Error::NoInitiator)?;
        let reply = disk.ask_settled(InAction::ReadKeys)?;
        match ReadKeys::parse(&reply.data) {
            Some(keys) if reply.status == Status::GOOD => Ok(keys.keys().collect()),
            _ => disk.data(InAction::ReadKeys).and_then(|data| Err(disk.too_short(InAction::ReadKeys, &data))),
        }
    }

    /// A new sequence: what was counted before is no concern of it.
    pub fn begin(&mut self) {
        self.generation = None;
        self.counted = false;
    }

    /// Plays one step.
    pub fn play(&mut self, step: &Step) -> Outcome {
        let expected = step.due.to_string();
        let mut attentions = Vec::new();
        let reply = match self.send(step, &mut attentions) {
            Ok(reply) => reply,
            Err(error) => {
                return Outcome { verdict: Verdict::Failed, expected, came: error.to_string(), attentions };
            }
        };
        let (verdict, came) = step.due.compare(&reply);
        if let (Verdict::Ok, Some((expected, came))) = (verdict, self.count(step, &reply)) {
            return Outcome { verdict: Verdict::Failed, expected, came, attentions };
        }
        Outcome { verdict, expected, came, attentions }
    }

    /// Sends a step's command, again after unit attentions unless one is what the step is about.
    fn send(&mut self, step: &Step, attentions: &mut Vec<String>) -> Result<Reply, Error> {
        let disk = self.disks.get_mut(step.who as usize).ok_or(Error::NoInitiator)?;
        let mut once = || match &step.what {
            What::Order(request) => disk.send(request),
            What::Ask(action, length) => disk.ask_for(*action, *length),
        };
        let mut reply = once()?;
        if matches!(step.due, Due::Told(_)) {
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

    /// Sees to it that PRGENERATION counts; otherwise what was expected and what came.
    fn count(&mut self, step: &Step, reply: &Reply) -> Option<(String, String)> {
        if reply.status == Status::GOOD && step.what.counts() {
            self.counted = true;
        }
        let Due::Keys(_) = step.due else { return None };
        let generation = ReadKeys::parse(&reply.data)?.generation;
        let before = self.generation.replace(generation);
        let stands = self.counted && before == Some(generation);
        self.counted = false;
        stands.then(|| (format!("PRGENERATION above {generation}"), format!("PRGENERATION still {generation}")))
    }

    /// Ends the registrations of this run; those that stay nevertheless.
    pub fn clean_up(&mut self) -> Result<Vec<ReservationKey>, Error> {
        self.unregister();
        match self.mine() {
            Ok(left) if left.is_empty() => return Ok(left),
            _ => {}
        }
        // A connection broke, so there is a new one, which may be another initiator; or unregistering does not work.
        self.disks = open_all(self.helper, &self.devices)?;
        self.unregister();
        let left = self.mine()?;
        self.take_out(&left);
        self.mine()
    }

    fn unregister(&mut self) {
        let zero = ReservationKey::ZERO;
        let request = Request::new(OutAction::RegisterAndIgnoreExistingKey, None, zero, zero);
        for disk in &mut self.disks {
            settled(disk, &request);
        }
    }

    /// The keys of this run that are registered.
    fn mine(&mut self) -> Result<Vec<ReservationKey>, Error> {
        let Cast { one, two, .. } = self.cast;
        let mut keys = self.keys()?;
        keys.retain(|key| [one, two].contains(key));
        Ok(keys)
    }

    /// Removes registrations by key, as another node of a cluster would.
    fn take_out(&mut self, left: &[ReservationKey]) {
        let own = self.cast.third;
        let Some(disk) = self.disks.first_mut() else { return };
        let zero = ReservationKey::ZERO;
        settled(disk, &Request::new(OutAction::RegisterAndIgnoreExistingKey, None, zero, own));
        for victim in left {
            let kind = Some(scsi_pr::ReservationType::WriteExclusive);
            settled(disk, &Request::new(OutAction::Preempt, kind, own, *victim));
        }
        settled(disk, &Request::new(OutAction::RegisterAndIgnoreExistingKey, None, zero, zero));
    }

    /// Removes every registration there is, whoever made it.
    pub fn clear(&mut self) {
        let Some(disk) = self.disks.first_mut() else { return };
        let (zero, own) = (ReservationKey::ZERO, self.cast.one);
        settled(disk, &Request::new(OutAction::RegisterAndIgnoreExistingKey, None, zero, own));
        settled(disk, &Request::new(OutAction::Clear, None, own, zero));
        self.settle();
    }

    /// Lets the disk say what it has to say.
    pub fn settle(&mut self) {
        for disk in &mut self.disks {
            // Whatever is wrong shows in the first step that needs it.
            let _ = disk.ask_settled(InAction::ReadKeys);
        }
    }

    /// Whether the two devices are one disk and two initiators; `None` where that cannot be told.
    pub fn is_pair(&mut self) -> Option<Pair> {
        let cast = self.cast;
        let [first, second] = &mut self.disks[..] else { return None };
        let register = |key| Request::new(OutAction::Register, None, ReservationKey::ZERO, key);
        if settled(first, &register(cast.one))? != Status::GOOD {
            return None;
        }
        let reply = second.ask_settled(InAction::ReadKeys).ok()?;
        let keys = ReadKeys::parse(&reply.data)?;
        if keys.keys().all(|key| key != cast.one) {
            return Some(Pair::OtherDisk);
        }
        match settled(second, &register(cast.two))? {
            Status::RESERVATION_CONFLICT => Some(Pair::SameInitiator),
            _ => Some(Pair::Proper),
        }
    }
}

/// What two devices are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pair {
    Proper,
    OtherDisk,
    SameInitiator,
}

fn open_all<'a>(helper: &'a Helper, devices: &[&'a Device]) -> Result<Vec<Disk<'a>>, Error> {
    devices.iter().map(|device| Disk::open(helper, device, Access::Write)).collect()
}

/// Orders a change until no unit attention stands in the way; the status, if there is one.
fn settled(disk: &mut Disk<'_>, request: &Request) -> Option<Status> {
    (0..=TRIES)
        .map(|_| disk.send(request))
        .find(|reply| !reply.as_ref().is_ok_and(is_attention))?
        .ok()
        .map(|r| r.status)
}

/// The number that a person calls an initiator.
pub const fn number(who: Who) -> u8 {
    match who {
        Who::One => 1,
        Who::Two => 2,
    }
}
