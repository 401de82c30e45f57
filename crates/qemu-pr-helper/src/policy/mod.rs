//! Whether a request may be carried out. A refusal is a SCSI answer; the connection stays.
//!
//! What the settings refuse is answered ILLEGAL REQUEST, ACCESS DENIED - NO ACCESS RIGHTS (5/20/02): SPC's words for
//! just this, which no disk says for any other reason, and which no guest retries. RESERVATION CONFLICT would tell a
//! cluster that another node has the disk, and it would begin to fence.

// A new service action is an error of the compiler: absence is not permission.
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

mod facts;
mod keys;
mod limits;
mod rules;

use std::{
    borrow::Cow,
    collections::HashMap,
    os::fd::BorrowedFd,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use pr_device::{Identity, Kind};
use pr_resolver::Aliases;
use rustix::fs::{OFlags, fcntl_getfl};
use scsi_persistent_reservations::{
    Cdb, Command, Completion, OutAction, PersistentReserveOut, ReservationKey, Sense, SenseCode, Status,
};
use tracing::warn;

use self::{
    facts::{Live, Memory},
    keys::Denied,
    rules::PolicyDecision,
};
pub use self::{keys::keys_of, limits::ClientState};
pub use crate::metrics::Refusal;
use crate::{
    bucket::{Bucket, Shares},
    clock,
    config::settings::{Decision, Settings},
    log::RateLimit,
    peer::{Origin, Peer},
    resolver::{Lookup, Resolver},
};

/// A refusal, and why in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which kind.
    pub kind: Refusal,
    /// Why: without keys, which may be secret.
    pub reason: Cow<'static, str>,
}

impl Refusal {
    fn because(self, reason: impl Into<Cow<'static, str>>) -> Refused {
        Refused { kind: self, reason: reason.into() }
    }

    /// The answer.
    pub fn answer(self) -> Completion<'static> {
        match self {
            Self::BusyDevice => Completion::status(Status::BUSY),
            Self::ReadOnly | Self::Part => Completion::check_condition(Sense::fixed(SenseCode::INVALID_OPERATION_CODE)),
            Self::Policy | Self::Keys | Self::NoNames => {
                Completion::check_condition(Sense::fixed(SenseCode::NO_ACCESS_RIGHTS))
            }
        }
    }
}

/// Settings that have been read.
#[derive(Debug)]
pub struct InForce {
    /// The file that they came from.
    pub path: PathBuf,
    /// When, in microseconds since the Unix epoch.
    pub since_us: u64,
    /// What they say.
    pub settings: Settings,
}

/// Decides about requests. Without settings that is one look at a flag.
pub struct Policy {
    on: AtomicBool,
    /// Whether parts of disks may be changed.
    parts: AtomicBool,
    /// Whether there are rules that name units.
    units: AtomicBool,
    current: RwLock<Option<Arc<InForce>>>,
    memory: Memory,
    under_way: Mutex<HashMap<Identity, u32>>,
    /// How often the client processes may send requests.
    buckets: Mutex<Shares<Bucket>>,
    /// Limits the messages about what can neither be allowed nor denied.
    unknown: RateLimit,
}

/// A request, and its client.
pub struct Request<'a> {
    /// The command.
    pub cdb: &'a Cdb,
    /// Its parameter list.
    pub parameters: &'a [u8],
    /// Where it is to go.
    pub descriptor: BorrowedFd<'a>,
    /// What is there.
    pub device: Identity,
    /// The client.
    pub origin: Origin,
    /// The client's socket.
    pub socket: BorrowedFd<'a>,
    /// What is kept for the client, if anything is.
    pub state: &'a mut Option<Box<ClientState>>,
}

/// A command among those that are under way on its device, until this is dropped.
#[must_use]
pub struct DeviceSlot<'a>(&'a Policy, Identity);

impl Drop for DeviceSlot<'_> {
    fn drop(&mut self) {
        let mut under_way = self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = under_way.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.1);
            }
        }
    }
}

impl Policy {
    /// With the settings of the start, if there are any.
    pub fn new(settings: Option<(PathBuf, Settings)>, resolver: Option<Arc<Resolver>>) -> Self {
        let policy = Self {
            on: AtomicBool::new(false),
            parts: AtomicBool::new(false),
            units: AtomicBool::new(false),
            current: RwLock::default(),
            memory: Memory::new(resolver),
            under_way: Mutex::default(),
            buckets: Mutex::default(),
            unknown: RateLimit::default(),
        };
        if let Some((path, settings)) = settings {
            policy.replace(path, settings);
        }
        policy
    }

    /// From here on these settings are in force. Requests that are being looked at are still decided by the others.
    pub fn replace(&self, path: PathBuf, settings: Settings) {
        self.parts.store(settings.devices.parts == Decision::Allow, Ordering::Relaxed);
        self.units.store(settings.rules.iter().any(|rule| rule.units.is_some()), Ordering::Relaxed);
        let new = Arc::new(InForce { path, since_us: clock::unix_micros(), settings });
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(new);
        self.on.store(true, Ordering::Release);
    }

    /// Whether parts of disks may be changed.
    pub fn allows_parts(&self) -> bool {
        self.parts.load(Ordering::Relaxed)
    }

    /// The process that finds out what rules need to know.
    pub const fn resolver(&self) -> Option<&Arc<Resolver>> {
        self.memory.resolver()
    }

    /// Asks for the unit of a client that has just connected, if there are rules that name units.
    pub fn ask(&self, origin: Origin) -> Option<Lookup> {
        if self.units.load(Ordering::Relaxed) { self.memory.ask(origin) } else { None }
    }

    /// The settings in force.
    pub fn current(&self) -> Option<Arc<InForce>> {
        if !self.on.load(Ordering::Acquire) {
            return None;
        }
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a request may go to its device. It counts as being there until the slot is dropped.
    pub fn admit(&self, request: Request<'_>) -> Result<Option<DeviceSlot<'_>>, Refused> {
        // A client that may only read the disk must not change who may write it. The kernel does not check this.
        if matches!(request.cdb.command(), Command::Out(_)) && is_read_only(request.descriptor) {
            return Err(Refusal::ReadOnly.because("the descriptor is open for reading only"));
        }
        let Some(current) = self.current() else { return Ok(None) };
        self.judge(&current.settings, request)
    }

    fn judge(&self, settings: &Settings, request: Request<'_>) -> Result<Option<DeviceSlot<'_>>, Refused> {
        let Request { cdb, parameters, device, origin, socket, state, .. } = request;
        if !settings.rules.is_empty() || settings.default != Decision::Allow {
            let known = &*state.get_or_insert_default().known;
            let live = Live { origin, socket, device, command: cdb.command(), known, memory: &self.memory };
            match rules::decide(settings, &live) {
                PolicyDecision::Allowed(None) => {}
                PolicyDecision::Allowed(Some((limit, rule))) => {
                    if let Command::Out(out) = cdb.command()
                        && let Err(Denied(why)) = keys::check(limit, out, parameters)
                    {
                        return Err(Refusal::Keys.because(format!("{why} (rule \"{rule}\")")));
                    }
                }
                PolicyDecision::Denied(Some(rule)) => {
                    return Err(Refusal::Policy.because(format!("the rule \"{rule}\" denies it")));
                }
                PolicyDecision::Denied(None) => return Err(Refusal::Policy.because("no rule allows it")),
                PolicyDecision::Unknown(rule, what) => {
                    let why = format!("the rule \"{rule}\" needs {what}, and that cannot be found out now");
                    return Err(self.refuse_unknown(origin.peer, cdb, why));
                }
            }
        }
        if settings.devices.single_path_reservations == Decision::Deny
            && device.kind == Kind::Block
            && !device.is_scsi_disk()
            && let Command::Out(out) = cdb.command()
            && reserves_for_one_path(out, parameters)
        {
            self.refuse_several_paths(device, origin.peer, cdb)?;
        }
        match settings.limits.commands_per_device {
            Some(limit) => self.take_slot(device, limit).map(Some),
            None => Ok(None),
        }
    }

    /// Refuses a reservation that admits one path of a map, if this is a map with more of them.
    fn refuse_several_paths(&self, device: Identity, peer: Peer, cdb: &Cdb) -> Result<(), Refused> {
        match self.memory.aliases(device).and_then(|Aliases { paths, .. }| paths) {
            None => {
                let why = "whether this is a multipath map cannot be found out now (single-path-reservations)";
                Err(self.refuse_unknown(peer, cdb, why.to_owned()))
            }
            Some(0..=1) => Ok(()),
            Some(paths) => Err(Refusal::Policy.because(format!(
                "a reservation of this type admits one of the map's {paths} paths (single-path-reservations); use type 5, 6, 7 \
                 or 8"
            ))),
        }
    }

    /// A refusal of what can neither be allowed nor denied. The administrator should know, audit log or not.
    fn refuse_unknown(&self, peer: Peer, cdb: &Cdb, why: String) -> Refused {
        if let Some(more) = self.unknown.admit(peer.into()) {
            let Peer { pid, uid } = peer;
            warn!("refusing {} of process {pid} of user {uid}: {why}{more}", cdb.command());
        }
        Refusal::NoNames.because(why)
    }

    fn take_slot(&self, device: Identity, limit: u32) -> Result<DeviceSlot<'_>, Refused> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let count = under_way.entry(device).or_default();
        if *count >= limit {
            let why = format!("{count} commands are under way on the device already (commands-per-device)");
            return Err(Refusal::BusyDevice.because(why));
        }
        *count += 1;
        Ok(DeviceSlot(self, device))
    }
}

/// Whether a command makes a reservation that admits the nexus that holds it and no other. One that preempts its own
/// key is spared: that is how a key is carried along in a migration, and the type means nothing unless there is a
/// reservation already.
fn reserves_for_one_path(out: PersistentReserveOut, parameters: &[u8]) -> bool {
    let admits_one = out.reservation_type().is_some_and(|kind| !kind.admits_registrants());
    admits_one
        && match out.action() {
            Some(OutAction::Reserve | OutAction::ReplaceLostReservation) => true,
            Some(OutAction::Preempt | OutAction::PreemptAndAbort) => {
                keys_of(parameters).is_none_or(|[own, victim]| own != victim)
            }
            // What is not known is refused on a map in any case.
            None
            | Some(
                OutAction::Register
                | OutAction::RegisterAndIgnoreExistingKey
                | OutAction::RegisterAndMove
                | OutAction::Release
                | OutAction::Clear,
            ) => false,
        }
}

/// Whether a request asks about the helper and not about a disk, as `qemu-pr-ctl ping` does: there is a pipe where the
/// disk would be, and nothing would be changed if there were one. It is answered like any other.
pub fn is_probe(cdb: &Cdb, device: Identity, keys: Option<[ReservationKey; 2]>) -> bool {
    let is_harmless = match cdb.command() {
        Command::In(_) => true,
        Command::Out(command) => {
            command.action() == Some(OutAction::Register) && keys == Some([ReservationKey::ZERO; 2])
        }
    };
    device.kind == Kind::Pipe && is_harmless
}

/// Whether the client opened the descriptor without the right to write. A descriptor that does not say is read-only.
fn is_read_only(device: BorrowedFd<'_>) -> bool {
    fcntl_getfl(device).map_or(true, |flags| flags & OFlags::RWMODE == OFlags::RDONLY)
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests;
