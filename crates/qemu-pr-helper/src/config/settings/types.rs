//! What a settings file means.

use scsi_persistent_reservations::{Command, InAction, OutAction, ReservationKey};
use serde::Deserialize;

use super::{defaults::Defaults, glob::Glob};

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// What happens to a request that no rule is about.
    pub default: Decision,
    /// Options for a helper that was started without them.
    pub defaults: Defaults,
    /// Which devices may be changed, and how.
    pub devices: Devices,
    /// How much of everything one client may have.
    pub limits: Limits,
    /// The first that fits decides.
    pub rules: Vec<Rule>,
    /// What is allowed and yet looks like a mistake.
    pub warnings: Vec<String>,
}

/// What a rule comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// The request is carried out.
    #[default]
    Allow,
    /// It is refused.
    Deny,
}

/// What may be done to devices that are not simply a disk with one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Devices {
    /// PERSISTENT RESERVE OUT on a partition or a volume, which reaches the whole disk.
    pub parts: Decision,
    /// On a multipath map, reservations of the types that admit one of its paths only.
    pub single_path_reservations: Decision,
}

impl Default for Devices {
    fn default() -> Self {
        Self { parts: Decision::Deny, single_path_reservations: Decision::Allow }
    }
}

/// Limits; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Connections of one user at a time.
    pub connections_per_user: Option<u32>,
    /// Connections of one process at a time.
    pub connections_per_process: Option<u32>,
    /// Requests a second of one process, over all of its connections.
    pub requests_per_second: Option<u32>,
    /// How many of these it may send at once after a pause.
    pub burst: Option<u32>,
    /// Commands that are under way on one device at a time.
    pub commands_per_device: Option<u32>,
}

/// A rule. Every condition that is there has to hold; a condition holds if anything in its list does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// What it is called where it decides.
    pub name: String,
    /// Users by number.
    pub users: Option<Vec<u32>>,
    /// Groups by number: the process' own, or one of its supplementary ones.
    pub groups: Option<Vec<u32>>,
    /// systemd units, or control groups if there is a slash in it.
    pub units: Option<Vec<Glob>>,
    /// Security contexts.
    pub contexts: Option<Vec<Glob>>,
    /// Names of disks.
    pub devices: Option<Vec<Glob>>,
    /// Commands.
    pub actions: Option<Vec<Action>>,
    /// What follows.
    pub decision: Decision,
    /// The keys that the client may use, if it may not use all.
    pub keys: Option<KeyLimit>,
}

/// Some commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Every PERSISTENT RESERVE IN.
    Read,
    /// Every PERSISTENT RESERVE OUT.
    Change,
    /// One service action of PERSISTENT RESERVE IN.
    In(InAction),
    /// One service action of PERSISTENT RESERVE OUT.
    Out(OutAction),
}

/// The keys whose bits under `mask` are those of `value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyLimit {
    /// The bits that all of them have.
    pub value: u64,
    /// Which bits those are.
    pub mask: u64,
    /// No other client uses the path to the disk: whatever is registered there is this client's own.
    pub own_nexus: bool,
}

impl Action {
    /// Whether a command is one of these.
    pub fn covers(self, command: Command) -> bool {
        match (self, command) {
            (Self::Read, Command::In(_)) | (Self::Change, Command::Out(_)) => true,
            (Self::In(action), Command::In(command)) => command.action() == Some(action),
            (Self::Out(action), Command::Out(command)) => command.action() == Some(action),
            _ => false,
        }
    }
}

impl KeyLimit {
    /// Whether a key is one of these.
    pub const fn contains(self, key: ReservationKey) -> bool {
        key.0 & self.mask == self.value
    }
}

impl Rule {
    /// Whether it is about everything that everybody does.
    pub const fn is_unconditional(&self) -> bool {
        let Self { users, groups, units, contexts, devices, actions, .. } = self;
        users.is_none()
            && groups.is_none()
            && units.is_none()
            && contexts.is_none()
            && devices.is_none()
            && actions.is_none()
    }
}
