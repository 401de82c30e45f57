//! `qemu-pr-ctl` in the hands of whoever sends commands through the helper here.
//!
//! It is what an administrator has, so the plain checks are made with it: its words on the command line, its JSON, its
//! exit statuses. Some things no tool can do, and for those there is [`crate::helper::through`]: answers compared byte by
//! byte with the device's, commands that are wrong or drawn by lot, a descriptor that is open for reading only, and
//! clients by the hundred that hang.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use scsi_persistent_reservations::{Reservation, ReservationKey, SenseCode, SenseKey, Status};
use serde_json::Value;

use crate::helper::Helper;
use crate::request::Request;

pub const PROGRAM: &str = "/usr/bin/qemu-pr-ctl";

/// In seconds; longer than any LUN here hangs.
const PATIENCE: &str = "120";

/// The exit statuses of `sg_persist` (`sg3_utils(8)`).
const ILLEGAL_REQUEST: i32 = 5;
const UNIT_ATTENTION: i32 = 6;
const INVALID_OPERATION_CODE: i32 = 9;
const RESERVATION_CONFLICT: i32 = 24;

/// How the tool ended, and what it said.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub output: String,
    pub complaint: String,
}

impl Run {
    /// Runs it with these words, with this helper.
    pub fn new(helper: &Helper, words: &[&str]) -> Result<Self> {
        Self::at(helper.socket(), words)
    }

    /// The same with whoever listens at this socket.
    pub fn at(socket: &Path, words: &[&str]) -> Result<Self> {
        let output = Command::new(PROGRAM)
            .args(words)
            .arg("--socket")
            .arg(socket)
            .output()
            .with_context(|| format!("{PROGRAM} cannot be started"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Self { code: output.status.code(), output: text(&output.stdout), complaint: text(&output.stderr) })
    }

    /// What it printed, if it ended well.
    pub fn json(&self) -> Result<Value> {
        ensure!(self.code == Some(0), "{self:?}");
        self.parse()
    }

    fn parse(&self) -> Result<Value> {
        serde_json::from_str(&self.output).with_context(|| format!("no JSON: {self:?}"))
    }
}

/// The tool with its helper and its disk.
pub struct Tool {
    socket: PathBuf,
    device: PathBuf,
}

impl Tool {
    pub fn new(helper: &Helper, device: &Path) -> Self {
        Self { socket: helper.socket().to_owned(), device: device.to_owned() }
    }

    /// What it prints for people, if it ends well.
    pub fn prints(&self, words: &[&str]) -> Result<String> {
        let device = self.device.to_str().context("a device has a name")?;
        let run = Run::at(&self.socket, &[words, &[device]].concat())?;
        ensure!(run.code == Some(0), "{run:?}");
        Ok(run.output)
    }

    /// Has it send a command; whatever the device answers.
    pub fn send(&self, request: &Request) -> Result<Told> {
        let words = request.words.as_deref().with_context(|| format!("qemu-pr-ctl never sends {request}"))?;
        self.tell(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The same by its words.
    pub fn tell(&self, words: &[&str]) -> Result<Told> {
        let device = self.device.to_str().context("a device has a name")?;
        let run = Run::at(&self.socket, &[words, &[device, "--json", "--timeout", PATIENCE]].concat())?;
        Told::by(&run).with_context(|| format!("qemu-pr-ctl {}", words.join(" ")))
    }
}

/// What it tells of a device's answer.
#[derive(Clone, Debug)]
pub struct Told {
    pub status: Status,
    pub sense: Option<SenseCode>,
    code: i32,
    answer: Value,
}

impl Told {
    fn by(run: &Run) -> Result<Self> {
        let code = run.code.with_context(|| format!("it was killed: {run:?}"))?;
        let answer = run.parse()?;
        let error = &answer["error"];
        if error.is_null() {
            ensure!(code == 0, "exit status {code} and no error: {answer}");
            return Ok(Self { status: Status::GOOD, sense: None, code, answer });
        }
        let byte = |value: &Value| value.as_u64().and_then(|value| u8::try_from(value).ok());
        let Some(status) = byte(&error["status"]) else { bail!("exit status {code}: {}", error["message"]) };
        ensure!(error["exit"] == code, "exit status {code}, and it says {}", error["exit"]);
        let sense = error["sense"].as_array().map(|bytes| bytes.iter().filter_map(byte).collect::<Vec<_>>());
        let sense = match sense.as_deref() {
            Some([key, code, qualifier]) => Some(SenseCode::new(*key, *code, *qualifier)),
            None => None,
            Some(other) => bail!("{other:x?} is no sense code"),
        };
        Ok(Self { status: Status(status), sense, code, answer })
    }

    /// Insists on GOOD.
    pub fn good(self) -> Result<Self> {
        ensure!(self.status == Status::GOOD, "expected GOOD, came {self}");
        Ok(self)
    }

    /// Insists on RESERVATION CONFLICT.
    pub fn conflict(&self) -> Result<()> {
        ensure!(self.status == Status::RESERVATION_CONFLICT, "expected RESERVATION CONFLICT, came {self}");
        self.exits_with(RESERVATION_CONFLICT)
    }

    /// Insists on CHECK CONDITION for this reason.
    pub fn check_condition(&self, code: SenseCode) -> Result<()> {
        let as_expected = self.status == Status::CHECK_CONDITION && self.sense == Some(code);
        ensure!(as_expected, "expected CHECK CONDITION with {code}, came {self}");
        match code.key {
            _ if code == SenseCode::INVALID_OPERATION_CODE => self.exits_with(INVALID_OPERATION_CODE),
            SenseKey(0x5) => self.exits_with(ILLEGAL_REQUEST),
            SenseKey(0x6) => self.exits_with(UNIT_ATTENTION),
            // The others are not met here.
            _ => bail!("nobody knows the exit status for {code}"),
        }
    }

    fn exits_with(&self, expected: i32) -> Result<()> {
        ensure!(self.code == expected, "expected exit status {expected} for {self}, came {}", self.code);
        Ok(())
    }

    /// The keys that it lists, in ascending order.
    pub fn keys(self) -> Result<Vec<u64>> {
        let answer = self.good()?.answer;
        let keys = answer["keys"].as_array().with_context(|| format!("no keys: {answer}"))?;
        let mut keys = keys.iter().map(key).collect::<Result<Vec<_>>>()?;
        keys.sort_unstable();
        Ok(keys)
    }

    /// The reservation that it tells; its key is zero where every registrant holds it.
    pub fn reservation(self) -> Result<Option<Reservation>> {
        let answer = self.good()?.answer;
        let held = answer.get("reservation").with_context(|| format!("no reservation: {answer}"))?;
        if held.is_null() {
            return Ok(None);
        }
        let number = |name: &str| held[name].as_u64().and_then(|number| u8::try_from(number).ok());
        let (Some(kind), Some(scope)) = (number("type"), number("scope")) else { bail!("no type: {answer}") };
        let key = if held["key"].is_null() { 0 } else { key(&held["key"])? };
        Ok(Some(Reservation { key: ReservationKey(key), scope_type: scope << 4 | kind }))
    }

    /// The registrations that it lists, by their keys.
    pub fn registrations(self) -> Result<Vec<Registration>> {
        let answer = self.good()?.answer;
        let list = answer["registrations"].as_array().with_context(|| format!("no registrations: {answer}"))?;
        let one = |one: &Value| -> Result<Registration> {
            let initiator = one["initiator"].as_str().with_context(|| format!("no initiator: {one}"))?;
            Ok(Registration { key: key(&one["key"])?, initiator: initiator.to_owned(), holds: !one["holds"].is_null() })
        };
        let mut list = list.iter().map(one).collect::<Result<Vec<_>>>()?;
        list.sort_unstable();
        Ok(list)
    }
}

/// One line of the full status.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Registration {
    pub key: u64,
    /// The TransportID, as the tool writes and reads it.
    pub initiator: String,
    pub holds: bool,
}

/// A key as JSON has it: a text.
fn key(value: &Value) -> Result<u64> {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x"));
    let key = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    key.with_context(|| format!("{value} is no key"))
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        match self.sense {
            Some(sense) => write!(f, " with {sense}"),
            None if self.status == Status::GOOD => write!(f, " and {}", self.answer),
            None => Ok(()),
        }
    }
}
