//! One line of the audit log.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What one client did, or was refused, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When it was over: microseconds since the Unix epoch.
    pub time_us: u64,
    /// Who did it.
    pub client: Client,
    /// What was done.
    #[serde(flatten)]
    pub what: What,
}

/// The kinds of records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// A PERSISTENT RESERVE OUT went to its device.
    Command {
        /// The device.
        device: Device,
        /// The command.
        command: Command,
        /// What came of it.
        outcome: Outcome,
        /// What an administrator should know about it besides, if there is anything.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// A command was answered without its device being asked.
    Refusal {
        /// The device.
        device: Device,
        /// The command.
        command: Command,
        /// The answer.
        outcome: Outcome,
        /// Why, in words.
        reason: String,
    },
    /// The client did so much that not everything got a record of its own: how often it did what besides.
    LeftOut {
        /// Each action and result, and how often.
        counts: Vec<Count>,
    },
    /// Somebody at the control socket asked for new settings.
    Reload {
        /// The settings file, as it was named.
        path: String,
        /// Whether the settings are in force now.
        accepted: bool,
        /// How many rules are, if they are.
        #[serde(skip_serializing_if = "Option::is_none")]
        rules: Option<u64>,
        /// Why not, if they are not.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

/// The process at the other end of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// The number of the connection, from 1 on since the start of the helper; 0 at the control socket.
    pub connection: u64,
    /// Its process number when it connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its user when it connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The program: its path where that may be known, otherwise the name in the process list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// The unit of the system's own manager that it runs in, below `/machine.slice` or `/system.slice`; otherwise the
    /// path of its control group, which begins with a slash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The innermost unit below that one, by the account of whoever made it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inner_unit: Option<String>,
    /// The virtual machine, if the unit is the scope of one, directly below `/machine.slice`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm: Option<String>,
}

/// A disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// `block`, `character` or `file`.
    pub kind: String,
    /// Major and minor number, `8:16`; of a file those of its file system.
    pub number: String,
    /// The kernel's name, `sdb`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The link under `/dev/disk/by-id` that says most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_id: Option<String>,
    /// The World Wide Identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wwid: Option<String>,
    /// The device-mapper name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map: Option<String>,
}

/// A command, in SPC's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The service action: `PREEMPT AND ABORT`.
    pub action: String,
    /// The type, for actions that have one: `write-exclusive-registrants-only`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub reservation_type: Option<String>,
    /// The scope, where it is another than the logical unit (`0x1`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// RESERVATION KEY, `0x` and hexadecimal digits, or what stands for it where keys are not to be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// SERVICE ACTION RESERVATION KEY, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_action_key: Option<String>,
}

/// What came of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The SCSI status: `GOOD`, `RESERVATION CONFLICT`.
    pub status: String,
    /// The sense data in words, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sense: Option<String>,
    /// How long it took, in microseconds.
    pub microseconds: u64,
}

/// How often a client did something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The service action.
    pub action: String,
    /// What came of it, as in [`crate::Requests::result`].
    pub result: String,
    /// How often.
    pub count: u64,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.client)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command { device, command, outcome, note } => {
                write!(f, "{}: {outcome}; {command}disk {device}", command.action)?;
                note.iter().try_for_each(|note| write!(f, "; note: {note}"))
            }
            Self::Refusal { device, command, outcome, reason } => {
                write!(f, "{} refused: {reason}: {outcome}; {command}disk {device}", command.action)
            }
            Self::LeftOut { counts } => {
                f.write_str("left out of this trail, because there was so much of it:")?;
                for (index, Count { action, result, count }) in counts.iter().enumerate() {
                    write!(f, "{} {count} x {action} {result}", if index == 0 { "" } else { "," })?;
                }
                Ok(())
            }
            Self::Reload { path, rules, reason, .. } => match reason {
                Some(reason) => write!(f, "new settings refused: {reason}; file {path}"),
                None => write!(f, "new settings, with {} rules; file {path}", rules.unwrap_or(0)),
            },
        }
    }
}

/// The parameters, each with a semicolon behind it: something follows.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [
            ("key", &self.key),
            ("service action key", &self.service_action_key),
            ("type", &self.reservation_type),
            ("scope", &self.scope),
        ];
        let mut some = false;
        for (name, value) in named {
            if let Some(value) = value {
                write!(f, "{}{name} {value}", if some { ", " } else { "" })?;
                some = true;
            }
        }
        if some { f.write_str("; ") } else { Ok(()) }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.status)?;
        if let Some(sense) = &self.sense {
            write!(f, ", {sense}")?;
        }
        write!(f, " in {} us", self.microseconds)
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} {}", self.number)?,
            None => write!(f, "{} {}", self.kind, self.number)?,
        }
        if let Some(map) = &self.map {
            write!(f, ", map {map}")?;
        }
        if let Some(by_id) = &self.by_id {
            write!(f, ", {by_id}")?;
        }
        match &self.wwid {
            // The links' names end with it most of the time.
            Some(wwid) if self.by_id.as_ref().is_none_or(|by_id| !by_id.contains(wwid.as_str())) => {
                write!(f, ", WWID {wwid}")
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.connection {
            0 => f.write_str("by the control socket")?,
            connection => write!(f, "client {connection}")?,
        }
        if let Some(vm) = &self.vm {
            write!(f, ", VM {vm}")?;
        }
        match (&self.program, self.pid) {
            (Some(program), Some(pid)) => write!(f, ", {program}[{pid}]")?,
            (None, Some(pid)) => write!(f, ", process {pid}")?,
            _ => {}
        }
        if let Some(uid) = self.uid {
            write!(f, ", user {uid}")?;
        }
        if let Some(unit) = &self.unit {
            write!(f, ", in {unit}")?;
        }
        if let Some(inner) = &self.inner_unit {
            write!(f, ", inner unit {inner}")?;
        }
        Ok(())
    }
}
