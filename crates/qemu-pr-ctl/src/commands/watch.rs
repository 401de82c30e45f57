//! `watch`: prints the changes on a disk.

use std::{collections::BTreeMap, thread, time::Duration};

use clap::Args;
use scsi_persistent_reservations::{FullStatus, InAction, ReadKeys, ReadReservation, ReservationType, Status};
use serde::Serialize;

use super::{
    global::{Global, Run},
    values,
};
use crate::{
    error::Error,
    output::{json, terminal, text, time},
    request::Access,
    target::{Device, Disk, MAX_ATTENTIONS},
};

/// The state of a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    generation: u32,
    /// Each registration with how many times it is there: keys alone are not unique.
    registrations: BTreeMap<String, usize>,
    reservation: Option<String>,
}

/// Something that changed.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Change {
    what: &'static str,
    value: String,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    #[serde(flatten)]
    change: &'a Change,
}

/// Print each change of registrations and reservation until interrupted
///
/// Reads the disk every --interval seconds. A state that lasts for less than
/// that is not seen.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Watch {
    #[command(flatten)]
    device: Device,

    /// Time between two reads
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = values::time)]
    interval: Duration,
}

impl Run for Watch {
    /// Reads the disk until interrupted, or until it cannot be read.
    fn run(&self, global: &Global) -> Result<u8, Error> {
        let mut disk = Disk::open(&global.helper, &self.device, Access::Read)?;
        let mut known: Option<State> = None;
        loop {
            let mut changes = Vec::new();
            let state = State::read(&mut disk, &mut changes)?;
            changes.extend(state.changes(known.as_ref()));
            let time = time::now();
            for change in &changes {
                if global.json {
                    json::print_line(&Line { time: time.clone(), change })?;
                } else {
                    let head = format!("{time}  {:<12}  ", change.what);
                    terminal::print(&format!("{}\n", terminal::fold_behind(&head, &change.value)))?;
                }
            }
            known = Some(state);
            thread::sleep(self.interval);
        }
    }

    fn prints_lines(&self) -> bool {
        true
    }
}

impl State {
    /// Reads the disk; unit attentions are added to the changes.
    fn read(disk: &mut Disk<'_>, changes: &mut Vec<Change>) -> Result<Self, Error> {
        let mut reply = disk.ask(InAction::ReadFullStatus)?;
        for _ in 0..MAX_ATTENTIONS {
            if !reply.is_unit_attention() {
                break;
            }
            changes.push(Change { what: "told", value: reply.to_string() });
            reply = disk.ask(InAction::ReadFullStatus)?;
        }
        let too_short = |disk: &Disk<'_>, action, data: &[u8]| disk.too_short(action, data);
        let mut state = Self::default();
        if let Some(status) = (reply.status == Status::GOOD).then(|| FullStatus::parse(&reply.data).ok()).flatten() {
            for descriptor in status.descriptors() {
                let port = match (descriptor.all_target_ports, descriptor.relative_target_port) {
                    (true, _) => "all ports".to_owned(),
                    (false, port) => format!("port {port}"),
                };
                state.add(format!("{} by {}, {port}", descriptor.key, descriptor.transport_id));
            }
        } else {
            // Not every disk has a READ FULL STATUS.
            let data = disk.data(InAction::ReadKeys)?;
            let keys = ReadKeys::parse(&data).map_err(|_| too_short(disk, InAction::ReadKeys, &data))?;
            keys.keys().for_each(|key| state.add(key.to_string()));
        }
        let data = disk.data(InAction::ReadReservation)?;
        let held = ReadReservation::parse(&data).map_err(|_| too_short(disk, InAction::ReadReservation, &data))?;
        state.generation = held.generation;
        state.reservation = held.reservation.map(|held| {
            let everyone = held.reservation_type().is_some_and(ReservationType::is_all_registrants);
            let by = if everyone { "every registrant".to_owned() } else { held.key.to_string() };
            format!("{} by {by}", text::reservation_type(held.scope_type & 0x0f))
        });
        Ok(state)
    }

    fn add(&mut self, registration: String) {
        *self.registrations.entry(registration).or_default() += 1;
    }

    /// The changes since `known`; without it everything is one.
    fn changes(&self, known: Option<&Self>) -> Vec<Change> {
        let nothing = Self::default();
        let before = known.unwrap_or(&nothing);
        let mut changes = Vec::new();
        let more = |of: &Self, than: &Self| -> Vec<String> {
            let count = |state: &Self, name: &String| state.registrations.get(name).copied().unwrap_or(0);
            let names = of.registrations.keys();
            names.flat_map(|name| vec![name.clone(); count(of, name).saturating_sub(count(than, name))]).collect()
        };
        changes.extend(more(before, self).into_iter().map(|value| Change { what: "unregistered", value }));
        changes.extend(more(self, before).into_iter().map(|value| Change { what: "registered", value }));
        if known.is_none() || self.reservation != before.reservation {
            changes.push(match &self.reservation {
                Some(value) => Change { what: "reserved", value: value.clone() },
                None => Change { what: "free", value: "no reservation".to_owned() },
            });
        }
        if known.is_none() || self.generation != before.generation {
            changes.push(Change { what: "generation", value: self.generation.to_string() });
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(generation: u32, registrations: &[&str], reservation: Option<&str>) -> State {
        let mut state = State { generation, reservation: reservation.map(str::to_owned), ..State::default() };
        for name in registrations {
            state.add((*name).to_owned());
        }
        state
    }

    fn words(changes: &[Change]) -> Vec<String> {
        changes.iter().map(|change| format!("{} {}", change.what, change.value)).collect()
    }

    #[test]
    fn at_first_everything_is_new() {
        let changes = state(2, &["0xa", "0xa"], Some("r")).changes(None);
        assert_eq!(words(&changes), ["registered 0xa", "registered 0xa", "reserved r", "generation 2"]);
        assert_eq!(words(&state(0, &[], None).changes(None)), ["free no reservation", "generation 0"]);
    }

    #[test]
    fn then_only_what_changed_is_told() {
        let before = state(2, &["0xa", "0xa", "0xb"], Some("r"));
        assert_eq!(before.changes(Some(&before)), []);
        let after = state(3, &["0xa", "0xc"], None);
        assert_eq!(
            words(&after.changes(Some(&before))),
            ["unregistered 0xa", "unregistered 0xb", "registered 0xc", "free no reservation", "generation 3"]
        );
    }
}
