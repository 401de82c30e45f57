//! The answers of a disk as text.
//!
//! Each of these gets the device's name and its parameter data, and returns `None` for data that are too short to
//! mean anything.

use std::{fmt::Write as _, path::Path};

use scsi_persistent_reservations::{
    Capabilities, FullStatus, FullStatusDescriptor, ReadKeys, ReadReservation, ReservationKey, ReservationType, Scope,
};

use super::terminal;

/// The data of READ KEYS.
pub fn keys(device: &Path, data: &[u8]) -> Option<String> {
    let answer = ReadKeys::parse(data).ok()?;
    let mut text = heading(device, answer.keys().len(), answer.generation);
    let mut seen: Vec<(ReservationKey, usize)> = Vec::new();
    for key in answer.keys() {
        match seen.iter_mut().find(|(known, _)| *known == key) {
            Some((_, times)) => *times += 1,
            None => seen.push((key, 1)),
        }
    }
    for (key, times) in seen {
        // A host with several paths has one registration for each of them.
        let times = if times == 1 { String::new() } else { format!("  ({times} registrations)") };
        let _ = writeln!(text, "  {key}{times}");
    }
    if answer.is_truncated() {
        let _ = writeln!(text, "  ... and more: the device has {} bytes of keys", answer.additional_length);
    }
    Some(text)
}

/// The data of READ RESERVATION.
pub fn reservation(device: &Path, data: &[u8]) -> Option<String> {
    let answer = ReadReservation::parse(data).ok()?;
    let generation = answer.generation;
    let Some(held) = answer.reservation else {
        let text = format!("not reserved (generation {generation})");
        return (answer.additional_length == 0).then(|| titled(device, &text));
    };
    let everyone = held.reservation_type().is_some_and(ReservationType::is_all_registrants);
    let holder = if everyone { "every registrant".to_owned() } else { format!("the registrant with key {}", held.key) };
    let mut text = titled(device, &format!("reserved (generation {generation})"));
    let _ = writeln!(text, "  holder  {holder}");
    let _ = writeln!(text, "  type    {}", scope_and_type(held.scope_type));
    Some(text)
}

/// The data of READ FULL STATUS.
pub fn full_status(device: &Path, data: &[u8]) -> Option<String> {
    let answer = FullStatus::parse(data).ok()?;
    let mut text = heading(device, answer.descriptors().count(), answer.generation);
    for FullStatusDescriptor { key, all_target_ports, holds, relative_target_port, transport_id } in
        answer.descriptors()
    {
        let _ = writeln!(text, "  key {key}");
        let _ = writeln!(text, "{}", terminal::column("    initiator    ", &transport_id.to_string()));
        if all_target_ports {
            let _ = writeln!(text, "    target port  all");
        } else {
            let _ = writeln!(text, "    target port  {relative_target_port}");
        }
        if let Some(scope_type) = holds {
            let _ = writeln!(text, "    holds        {}", scope_and_type(scope_type));
        }
    }
    if answer.is_truncated() {
        let _ = writeln!(text, "  ... and more: the device has {} bytes of registrations", answer.additional_length);
    }
    Some(text)
}

/// The data of REPORT CAPABILITIES.
pub fn capabilities(device: &Path, data: &[u8]) -> Option<String> {
    let answer = Capabilities::parse(data).ok()?;
    let yes = |supported: bool| if supported { "yes" } else { "no" };
    let persist = match (answer.persist_through_power_loss, answer.persist_through_power_loss_active) {
        (supported, false) => format!("{}, not active", yes(supported)),
        (supported, true) => format!("{}, active now", yes(supported)),
    };
    let mut text = titled(device, "capabilities");
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<31}  {value}");
    };
    line("survives power loss (--aptpl)", &persist);
    line("all ports (--all-target-ports)", yes(answer.all_target_ports));
    line("other initiators (--spec-i-pt)", yes(answer.specify_initiator_ports));
    line("RESERVE of SPC-2 by registrants", yes(answer.compatible_reservation_handling));
    line("REPLACE LOST RESERVATION", yes(answer.replace_lost));
    if answer.allow_commands != 0 {
        line("ALLOW COMMANDS (a code of SPC)", &answer.allow_commands.to_string());
    }
    let supported = ReservationType::ALL.into_iter().filter(|kind| answer.supports(*kind) == Some(true));
    let types: Vec<String> = match answer.types {
        None => vec!["not reported".to_owned()],
        Some(0) => vec!["none".to_owned()],
        Some(_) => supported.map(|kind| reservation_type(kind.code())).collect(),
    };
    for (index, kind) in types.iter().enumerate() {
        line(if index == 0 { "reservation types" } else { "" }, kind);
    }
    Some(text)
}

/// A type in words, and the number that SPC gives it.
pub fn reservation_type(code: u8) -> String {
    match ReservationType::from_code(code) {
        Some(kind) => format!("{kind} (type {code})"),
        None => format!("unknown type {code}"),
    }
}

/// The scope is worth a word where it is one that no longer exists.
fn scope_and_type(byte: u8) -> String {
    let kind = reservation_type(byte & 0x0f);
    match Scope::from_scope_type(byte) {
        scope if scope.is_logical_unit() => kind,
        scope => format!("{kind}, {scope}"),
    }
}

fn heading(device: &Path, count: usize, generation: u32) -> String {
    let plural = if count == 1 { "" } else { "s" };
    let count = if count == 0 { "no".to_owned() } else { count.to_string() };
    titled(device, &format!("{count} registration{plural} (generation {generation})"))
}

/// The text after the name of the device; on the next line if the name is long.
pub fn titled(device: &Path, text: &str) -> String {
    let device = device.display().to_string();
    let between = if device.len() + 2 + text.len() > terminal::WIDTH { "\n  " } else { " " };
    format!("{device}:{between}{text}\n")
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
