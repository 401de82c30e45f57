//! The answers of a disk as JSON: what `--json` prints. They are documented in docs/qemu-pr-ctl-json.md
//! and stable: fields are added, never renamed or removed.
//!
//! Keys are texts, because JSON's numbers lose digits of 64 bits in many a program.

use std::path::Path;

use scsi_persistent_reservations::{
    Capabilities, FullStatus, FullStatusDescriptor, ReadKeys, ReadReservation, ReservationKey, ReservationType, Scope,
    SenseCode,
};
use serde::Serialize;

use super::terminal;
use crate::error::Error;

/// Prints JSON for people to read, too.
pub fn print(value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::Output(error.into()))?;
    terminal::print(&(text + "\n"))
}

/// Prints JSON on a line of its own.
pub fn print_line(value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string(value).map_err(|error| Error::Output(error.into()))?;
    terminal::print(&(text + "\n"))
}

/// The answer of a device.
#[derive(Serialize)]
pub struct About<'a, T> {
    /// The name that it was given by.
    pub device: &'a Path,
    #[serde(flatten)]
    pub answer: T,
}

/// What went wrong.
#[derive(Debug, Serialize)]
pub struct Failure {
    error: Details,
}

#[derive(Debug, Serialize)]
struct Details {
    /// One of the words of `Error::kind`.
    kind: &'static str,
    /// The exit status.
    exit: u8,
    message: String,
    /// The SCSI status byte, where a disk answered.
    status: Option<u8>,
    /// Its sense key, additional sense code and qualifier, where it sent some.
    sense: Option<[u8; 3]>,
}

/// What went wrong, for programs.
pub fn failure(error: &Error) -> Failure {
    let (status, sense) = error.scsi().unzip();
    let sense = sense.flatten().map(SenseCode::to_bytes);
    Failure {
        error: Details {
            kind: error.kind(),
            exit: error.exit_status(),
            message: error.to_string(),
            status: status.map(|status| status.0),
            sense,
        },
    }
}

/// READ KEYS.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "it is what programs read")]
pub struct Keys {
    generation: u32,
    /// One for each registration, so a key can stand here several times.
    keys: Vec<String>,
    /// The device has more than it was possible to ask for.
    truncated: bool,
}

/// READ RESERVATION.
#[derive(Debug, Serialize)]
pub struct Reservation {
    generation: u32,
    reservation: Option<Held>,
}

/// A reservation.
#[derive(Debug, Serialize)]
pub struct Held {
    /// The holder's; none where every registrant holds it.
    key: Option<String>,
    #[serde(rename = "type")]
    code: u8,
    type_name: Option<&'static str>,
    scope: u8,
}

/// READ FULL STATUS.
#[derive(Debug, Serialize)]
pub struct Status {
    generation: u32,
    registrations: Vec<Registration>,
    truncated: bool,
}

/// One registration.
#[derive(Debug, Serialize)]
pub struct Registration {
    key: String,
    initiator: String,
    all_target_ports: bool,
    /// None where it is registered on all.
    target_port: Option<u16>,
    /// What it holds.
    holds: Option<Held>,
}

/// REPORT CAPABILITIES.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a bit of its own in SPC")]
pub struct Supports {
    persist_through_power_loss: bool,
    persist_through_power_loss_active: bool,
    all_target_ports: bool,
    specify_initiator_ports: bool,
    compatible_reservation_handling: bool,
    replace_lost: bool,
    allow_commands: u8,
    /// None where the device does not say.
    types: Option<Vec<Kind>>,
}

/// A type.
#[derive(Debug, Serialize)]
pub struct Kind {
    #[serde(rename = "type")]
    code: u8,
    type_name: &'static str,
}

/// The data of READ KEYS; `None` where they are too short. So it is with the others.
pub fn keys(data: &[u8]) -> Option<Keys> {
    let answer = ReadKeys::parse(data).ok()?;
    Some(Keys {
        generation: answer.generation,
        keys: answer.keys().map(|key| key.to_string()).collect(),
        truncated: answer.is_truncated(),
    })
}

/// The data of READ RESERVATION.
pub fn reservation(data: &[u8]) -> Option<Reservation> {
    let answer = ReadReservation::parse(data).ok()?;
    if answer.reservation.is_none() && answer.additional_length > 0 {
        return None;
    }
    let reservation = answer.reservation.map(|held| Held::new(held.key, held.scope_type));
    Some(Reservation { generation: answer.generation, reservation })
}

/// The data of READ FULL STATUS.
pub fn status(data: &[u8]) -> Option<Status> {
    let answer = FullStatus::parse(data).ok()?;
    Some(Status {
        generation: answer.generation,
        registrations: answer.descriptors().map(Registration::new).collect(),
        truncated: answer.is_truncated(),
    })
}

/// The data of REPORT CAPABILITIES.
pub fn capabilities(data: &[u8]) -> Option<Supports> {
    let answer = Capabilities::parse(data).ok()?;
    let types = ReservationType::ALL.into_iter().filter(|kind| answer.supports(*kind) == Some(true));
    Some(Supports {
        persist_through_power_loss: answer.persist_through_power_loss,
        persist_through_power_loss_active: answer.persist_through_power_loss_active,
        all_target_ports: answer.all_target_ports,
        specify_initiator_ports: answer.specify_initiator_ports,
        compatible_reservation_handling: answer.compatible_reservation_handling,
        replace_lost: answer.replace_lost,
        allow_commands: answer.allow_commands,
        types: answer.types.map(|_| types.map(|kind| Kind { code: kind.code(), type_name: kind.name() }).collect()),
    })
}

impl Held {
    fn new(key: ReservationKey, scope_type: u8) -> Self {
        let kind = ReservationType::from_scope_type(scope_type);
        let everyone = kind.is_some_and(ReservationType::is_all_registrants);
        Self {
            key: (!everyone).then(|| key.to_string()),
            code: scope_type & 0x0f,
            type_name: kind.map(ReservationType::name),
            scope: Scope::from_scope_type(scope_type).code(),
        }
    }
}

impl Registration {
    fn new(descriptor: FullStatusDescriptor<'_>) -> Self {
        let FullStatusDescriptor { key, all_target_ports, holds, relative_target_port, transport_id } = descriptor;
        Self {
            key: key.to_string(),
            initiator: transport_id.to_string(),
            all_target_ports,
            target_port: (!all_target_ports).then_some(relative_target_port),
            holds: holds.map(|scope_type| Held::new(key, scope_type)),
        }
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
