//! A persistent reservation command as bytes, and what is answered to it.

use std::fmt;

use anyhow::{Context as _, Result, ensure};
use qemu_pr_protocol::Reply;
use scsi_persistent_reservations::{
    BasicParameters, Cdb, InAction, OutAction, PersistentReserveIn, PersistentReserveOut, PrOut, ReadKeys,
    ReadReservation, Reservation, ReservationKey, ReservationType, Sense, SenseCode, Status,
};

/// One command with its parameter list.
#[derive(Clone)]
pub struct Request {
    /// What it is, for a reader.
    pub name: String,
    /// The bytes that go to the helper; the device gets the first ten.
    pub cdb: Cdb,
    /// Empty for PERSISTENT RESERVE IN.
    pub parameters: Vec<u8>,
    /// How many bytes of data are taken at most.
    pub allocation_length: u16,
    /// What `qemu-pr-ctl` is told to send it; nothing for what that never sends.
    pub words: Option<Vec<String>>,
}

impl Request {
    /// PERSISTENT RESERVE IN with room for everything.
    pub fn read(action: InAction) -> Self {
        let word = match action {
            InAction::ReadKeys => "keys",
            InAction::ReadReservation => "reservation",
            InAction::ReportCapabilities => "capabilities",
            InAction::ReadFullStatus => "status",
        };
        Self { words: Some(vec![word.to_owned()]), ..Self::read_up_to(action, 8192) }
    }

    /// PERSISTENT RESERVE IN.
    pub fn read_up_to(action: InAction, allocation_length: u16) -> Self {
        Self {
            name: format!("{action} of {allocation_length} bytes"),
            cdb: PersistentReserveIn::new(action, allocation_length).cdb(),
            parameters: Vec::new(),
            allocation_length,
            words: None,
        }
    }

    /// PERSISTENT RESERVE OUT.
    pub fn change(action: OutAction, kind: Option<ReservationType>, parameters: &BasicParameters<'_>) -> Self {
        let command = PrOut::new(action, kind.map_or(0, ReservationType::code), *parameters);
        Self { words: words(action, kind, parameters), ..Self::from(&command) }
    }

    /// PERSISTENT RESERVE IN with any service action.
    pub fn odd_read(action: u8) -> Self {
        let command = PersistentReserveIn { service_action: action, allocation_length: 256 };
        Self {
            name: format!("service action {action}"),
            cdb: command.cdb(),
            ..Self::read_up_to(InAction::ReadKeys, 256)
        }
    }

    /// PERSISTENT RESERVE OUT with any service action, scope and type, and any parameter list.
    pub fn odd_change(name: &str, action: u8, scope_type: u8, parameters: &[u8]) -> Self {
        let length = length_of(parameters);
        let command = PersistentReserveOut { service_action: action, scope_type, parameter_list_length: length };
        Self {
            name: name.to_owned(),
            cdb: command.cdb(),
            parameters: parameters.to_vec(),
            allocation_length: 0,
            words: None,
        }
    }

    /// REGISTER: from a key (zero for none) to another (zero to leave).
    pub fn register(from: u64, to: u64) -> Self {
        Self::change(OutAction::Register, None, &keys(from, to))
    }

    /// REGISTER that is to survive a loss of power.
    pub fn register_for_good(from: u64, to: u64) -> Self {
        Self::change(OutAction::Register, None, &BasicParameters { activate_persist: true, ..keys(from, to) })
    }

    /// REGISTER AND IGNORE EXISTING KEY.
    pub fn register_anyhow(to: u64) -> Self {
        Self::change(OutAction::RegisterAndIgnoreExistingKey, None, &keys(0, to))
    }

    /// RESERVE.
    pub fn reserve(key: u64, kind: ReservationType) -> Self {
        Self::change(OutAction::Reserve, Some(kind), &keys(key, 0))
    }

    /// RELEASE.
    pub fn release(key: u64, kind: ReservationType) -> Self {
        Self::change(OutAction::Release, Some(kind), &keys(key, 0))
    }

    /// CLEAR.
    pub fn clear(key: u64) -> Self {
        Self::change(OutAction::Clear, None, &keys(key, 0))
    }

    /// PREEMPT.
    pub fn preempt(key: u64, victim: u64, kind: ReservationType) -> Self {
        Self::change(OutAction::Preempt, Some(kind), &keys(key, victim))
    }

    /// PREEMPT AND ABORT.
    pub fn preempt_and_abort(key: u64, victim: u64, kind: ReservationType) -> Self {
        Self::change(OutAction::PreemptAndAbort, Some(kind), &keys(key, victim))
    }
}

impl From<&PrOut<'_>> for Request {
    fn from(command: &PrOut<'_>) -> Self {
        Self {
            name: command.action().to_string(),
            cdb: command.cdb(),
            parameters: command.list(),
            allocation_length: 0,
            words: None,
        }
    }
}

/// A change in the words of `qemu-pr-ctl`.
fn words(action: OutAction, kind: Option<ReservationType>, parameters: &BasicParameters<'_>) -> Option<Vec<String>> {
    let BasicParameters { key, service_action_key: other, activate_persist, .. } = *parameters;
    let line = match action {
        OutAction::Register if other.is_zero() => format!("unregister --key {key}"),
        OutAction::Register => format!("register --key {key} --new-key {other}"),
        // It has a command for leaving, and that wants the key.
        OutAction::RegisterAndIgnoreExistingKey if other.is_zero() => return None,
        OutAction::RegisterAndIgnoreExistingKey => format!("register-ignore --new-key {other}"),
        OutAction::Reserve => format!("reserve --key {key}"),
        OutAction::Release => format!("release --key {key}"),
        OutAction::Clear => format!("clear --key {key} --yes"),
        OutAction::Preempt => format!("preempt --key {key} --victim {other} --yes"),
        OutAction::PreemptAndAbort => format!("preempt-abort --key {key} --victim {other} --yes"),
        OutAction::RegisterAndMove | OutAction::ReplaceLostReservation => return None,
    };
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    if let Some(kind) = kind {
        words.extend(["--type".to_owned(), kind.code().to_string()]);
    }
    if activate_persist {
        words.push("--aptpl".to_owned());
    }
    Some(words)
}

/// What the CDB says of a list; none here is anywhere near the limit.
fn length_of(list: &[u8]) -> u32 {
    u32::try_from(list.len()).unwrap_or(u32::MAX)
}

fn keys(key: u64, service_action_key: u64) -> BasicParameters<'static> {
    BasicParameters::keys(ReservationKey(key), ReservationKey(service_action_key))
}

impl From<Reply> for Answer {
    fn from(Reply { status, sense, data }: Reply) -> Self {
        Self { status, sense, data }
    }
}

impl From<Answer> for Reply {
    fn from(Answer { status, sense, data }: Answer) -> Self {
        Self { status, sense, data }
    }
}

/// What a device or a helper answers.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// The SCSI status.
    pub status: Status,
    /// All 96 bytes, zeros where there is nothing.
    pub sense: Sense,
    /// The parameter data.
    pub data: Vec<u8>,
}

impl Answer {
    /// Insists on GOOD.
    pub fn good(self) -> Result<Self> {
        ensure!(self.status == Status::GOOD, "expected GOOD, came {self}");
        Ok(self)
    }

    /// Insists on RESERVATION CONFLICT.
    pub fn conflict(&self) -> Result<()> {
        ensure!(self.status == Status::RESERVATION_CONFLICT, "expected RESERVATION CONFLICT, came {self}");
        Ok(())
    }

    /// Insists on CHECK CONDITION for this reason.
    pub fn check_condition(&self, code: SenseCode) -> Result<()> {
        let as_expected = self.status == Status::CHECK_CONDITION && self.sense.code() == Some(code);
        ensure!(as_expected, "expected CHECK CONDITION with {code}, came {self}");
        Ok(())
    }

    /// The keys that READ KEYS tells, in ascending order.
    pub fn keys(self) -> Result<Vec<u64>> {
        let answer = self.good()?;
        let keys = ReadKeys::parse(&answer.data).context("READ KEYS returned less than its header")?;
        let mut keys: Vec<u64> = keys.keys().map(|key| key.0).collect();
        keys.sort_unstable();
        Ok(keys)
    }

    /// The reservation that READ RESERVATION tells.
    pub fn reservation(self) -> Result<Option<Reservation>> {
        let answer = self.good()?;
        let data = ReadReservation::parse(&answer.data).context("READ RESERVATION returned less than its header")?;
        Ok(data.reservation)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if !self.sense.is_none() {
            write!(f, " with {}", self.sense)?;
        }
        if !self.data.is_empty() {
            write!(f, " and {} bytes", self.data.len())?;
            let end = self.data.len() - self.data.iter().rev().take_while(|byte| **byte == 0).count();
            write!(f, " ({:02x?})", &self.data[..end])?;
        }
        Ok(())
    }
}
