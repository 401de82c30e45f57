//! Commands that change something, as the disk gets them.

use std::path::Path;

use scsi_pr::{BASIC_LENGTH, BasicParameters, Cdb, OutAction, PersistentReserveOut, ReservationKey, ReservationType};

use crate::{
    cli::{Change, Device, Manner, Preempt, Reserve},
    show,
};

/// A PERSISTENT RESERVE OUT for a device.
#[derive(Debug, PartialEq, Eq)]
pub struct Order<'a> {
    pub device: &'a Path,
    pub action: OutAction,
    pub kind: Option<ReservationType>,
    pub parameters: BasicParameters<'static>,
}

impl<'a> Order<'a> {
    /// What the command line says.
    pub fn new(change: &'a Change) -> Self {
        match change {
            Change::Register(of) => Self::register(&of.device, OutAction::Register, of.key, of.new_key, of.manner),
            Change::RegisterIgnore(of) => {
                let action = OutAction::RegisterAndIgnoreExistingKey;
                Self::register(&of.device, action, ReservationKey::ZERO, of.new_key, of.manner)
            }
            Change::Unregister(of) => {
                Self::register(&of.device, OutAction::Register, of.own.key, ReservationKey::ZERO, of.manner)
            }
            Change::Reserve(of) => Self::reserve(of, OutAction::Reserve),
            Change::Release(of) => Self::reserve(of, OutAction::Release),
            Change::Clear(of) => Self {
                device: &of.device.path,
                action: OutAction::Clear,
                kind: None,
                parameters: BasicParameters::keys(of.own.key, ReservationKey::ZERO),
            },
            Change::Preempt(of) => Self::preempt(of, OutAction::Preempt),
            Change::PreemptAbort(of) => Self::preempt(of, OutAction::PreemptAndAbort),
        }
    }

    fn register(
        device: &'a Device,
        action: OutAction,
        key: ReservationKey,
        new_key: ReservationKey,
        Manner { aptpl, all_target_ports }: Manner,
    ) -> Self {
        let keys = BasicParameters::keys(key, new_key);
        let parameters = BasicParameters { activate_persist: aptpl, all_target_ports, ..keys };
        Self { device: &device.path, action, kind: None, parameters }
    }

    fn reserve(of: &'a Reserve, action: OutAction) -> Self {
        let parameters = BasicParameters::keys(of.own.key, ReservationKey::ZERO);
        Self { device: &of.device.path, action, kind: Some(of.kind.kind), parameters }
    }

    fn preempt(of: &'a Preempt, action: OutAction) -> Self {
        let parameters = BasicParameters::keys(of.own.key, of.victim);
        Self { device: &of.device.path, action, kind: Some(of.kind.kind), parameters }
    }

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        let length = u32::try_from(BASIC_LENGTH).unwrap_or(u32::MAX);
        PersistentReserveOut::new(self.action, self.kind, length).cdb()
    }

    /// What holds now that the disk has carried it out.
    pub fn done(&self) -> String {
        let BasicParameters { key, service_action_key: other, .. } = self.parameters;
        let kind = self.kind.map_or_else(String::new, |kind| show::reservation_type(kind.code()));
        match self.action {
            OutAction::Register if other.is_zero() => format!("key {key} of this host is no longer registered"),
            OutAction::Reserve => format!("reserved with key {key}: {kind}"),
            // A registrant that is not the holder may release too, and nothing happens.
            OutAction::Release => format!("key {key} of this host holds no reservation"),
            OutAction::Clear => "no key is registered any more, and nobody holds a reservation".to_owned(),
            OutAction::Preempt => format!("{} removed", victims(other)),
            OutAction::PreemptAndAbort => format!("{} removed and their commands aborted", victims(other)),
            _ => format!("key {other} is registered for this host"),
        }
    }
}

fn victims(key: ReservationKey) -> String {
    if key.is_zero() {
        "the registrations of everyone else are".to_owned()
    } else {
        format!("the registrations with key {key} are")
    }
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
