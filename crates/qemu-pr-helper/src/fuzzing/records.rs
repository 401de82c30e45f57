//! The audit log's lines.

use std::time::Duration;

use pr_control::Record;
use pr_device::Identity;
use scsi_persistent_reservations::{Cdb, Sense, Status};

use super::AUDIT;
use crate::{
    audit::Event,
    log::format::Style,
    peer::{Origin, Peer},
    policy::keys_of,
};

/// What the trail has of a command: the record, and the line in each of the forms, text, with a priority, JSON.
pub fn recorded(
    cdb: Cdb,
    parameters: &[u8],
    status: u8,
    sense: &[u8],
    refusal: Option<&'static str>,
) -> Option<(Record, [Vec<u8>; 3])> {
    let event = Event {
        origin: Origin { client: 1, peer: Peer { pid: 0, uid: 107 }, connected: 0 },
        device: Identity::default(),
        cdb,
        keys: keys_of(parameters),
        status: Status(status),
        sense: Sense::from_device(sense),
        took: Duration::from_millis(1),
        refusal: refusal.map(Into::into),
        note: None,
        time_us: 1,
    };
    let record = AUDIT.resolve(event);
    let lines = [Style::Text, Style::Prefix, Style::Json].map(|style| {
        let mut line = Vec::new();
        style.record("fuzz", &record, &mut line);
        line
    });
    Some((record, lines))
}

/// Offers a record to those who follow the trail.
pub fn offer(record: &Record) {
    AUDIT.send(record);
}
