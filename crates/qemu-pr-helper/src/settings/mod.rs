//! The settings file: who may do what, and how much of it.
//!
//! It is read once while the program starts, with whatever rights that has; later `qemu-pr-ctl reload` brings the text
//! of a new one, because a running helper opens no file. Either way it becomes one immutable [`Settings`], or an error
//! that says where and what to do; there is no third thing.

mod compile;
mod defaults;
mod error;
mod glob;
mod written;

use std::{
    collections::BTreeMap,
    ffi::CString,
    fs, io,
    path::{Path, PathBuf},
};

use scsi_pr::{Command, InAction, OutAction, ReservationKey};
use serde::Deserialize;

pub use self::{
    defaults::{AtStart, Defaults},
    error::SettingsError,
    glob::Glob,
};
use crate::sys::users;

/// Where the file is if nobody says.
pub const DEFAULT_PATH: &str = "/etc/qemu-pr-helper.toml";

/// The longest file, in bytes.
pub const MAX_LENGTH: usize = pr_control::MAX_SETTINGS;

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
    /// Nobody else uses the path to the disk: whatever is registered there is this client's own.
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

/// Who knows the numbers of users and groups.
pub trait Directory {
    /// The number of a user.
    fn user(&self, name: &str) -> Option<u32>;
    /// The number of a group.
    fn group(&self, name: &str) -> Option<u32>;
}

/// This system, as long as the program may still ask it.
pub struct System;

impl Directory for System {
    fn user(&self, name: &str) -> Option<u32> {
        users::user_id(&CString::new(name).ok()?).ok()?
    }

    fn group(&self, name: &str) -> Option<u32> {
        users::group_id(&CString::new(name).ok()?).ok()?
    }
}

/// What somebody else looked up: the maps that come with `qemu-pr-ctl reload`.
pub struct Given {
    /// Users by name.
    pub users: BTreeMap<String, u32>,
    /// Groups by name.
    pub groups: BTreeMap<String, u32>,
}

impl Directory for Given {
    fn user(&self, name: &str) -> Option<u32> {
        self.users.get(name).copied()
    }

    fn group(&self, name: &str) -> Option<u32> {
        self.groups.get(name).copied()
    }
}

impl Settings {
    /// Reads settings. `path` is for the words of an error.
    ///
    /// # Errors
    /// The first thing that is wrong with them.
    pub fn parse(path: &Path, text: &str, directory: &impl Directory) -> Result<Self, SettingsError> {
        let place = |span| error::Place::of(text, span);
        if text.len() > MAX_LENGTH {
            return Err(SettingsError::TooLong { path: path.to_owned(), length: text.len() });
        }
        let file: written::File = toml::from_str(text).map_err(|error| {
            let problem = error::problem_of(error.message());
            SettingsError::Wrong { path: path.to_owned(), place: place(error.span().unwrap_or_default()), problem }
        })?;
        compile::settings(file, directory).map_err(|wrong| SettingsError::Wrong {
            path: path.to_owned(),
            place: place(wrong.span),
            problem: wrong.problem,
        })
    }

    /// Reads the file at `path`; without one the default file, which need not be there. With the path that it was.
    ///
    /// # Errors
    /// The file cannot be read, or what is in it cannot be used.
    pub fn load(path: Option<&Path>) -> Result<Option<(PathBuf, Self)>, SettingsError> {
        let wanted = path.unwrap_or(Path::new(DEFAULT_PATH));
        let bytes = match fs::read(wanted) {
            Ok(bytes) => bytes,
            Err(error) if path.is_none() && error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(SettingsError::Unreadable { path: wanted.to_owned(), error }),
        };
        let text = String::from_utf8(bytes).map_err(|error| {
            let error = io::Error::new(io::ErrorKind::InvalidData, format!("{error}; save it as UTF-8"));
            SettingsError::Unreadable { path: wanted.to_owned(), error }
        })?;
        let settings = Self::parse(wanted, &text, &System)?;
        Ok(Some((std::path::absolute(wanted).unwrap_or_else(|_| wanted.to_owned()), settings)))
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests;
