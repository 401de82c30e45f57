//! The subcommands that send a PERSISTENT RESERVE OUT.

use clap::Args;
use scsi_persistent_reservations::{PrOut, ReservationKey, ReservationType};
use serde::Serialize;

use super::{
    confirm,
    global::{Global, Run},
    values,
};
use crate::{
    error::{Error, exit},
    output::{
        json::{self, About},
        terminal, text,
    },
    request::{Access, Request},
    target::{Device, Disk},
};

/// A subcommand that changes registrations or the reservation.
pub trait Change {
    fn device(&self) -> &Device;

    /// Whether the user has confirmed it already.
    fn is_confirmed(&self) -> bool {
        true
    }

    fn request(&self) -> Request;

    /// What holds once the disk has carried it out.
    fn done(&self) -> String;
}

#[derive(Serialize)]
struct Done {
    action: String,
    done: String,
}

impl<T: Change> Run for T {
    fn run(&self, global: &Global) -> Result<u8, Error> {
        let (device, request) = (self.device(), self.request());
        let mut disk = Disk::open(&global.helper, device, Access::Write)?;
        if request.removes_others() && !self.is_confirmed() {
            confirm::removal(&mut disk, &request)?;
        }
        disk.change(&request)?;
        if global.json {
            let answer = Done { action: request.action.to_string(), done: self.done() };
            json::print(&About { device: &device.path, answer })?;
        } else {
            terminal::print(&text::titled(disk.path(), &self.done()))?;
        }
        Ok(exit::GOOD)
    }
}

/// Who this host is, for the disk.
#[derive(Debug, Args)]
pub struct OwnKey {
    /// Key that this host is registered with
    #[arg(long, value_name = "KEY", value_parser = values::key)]
    pub key: ReservationKey,
}

/// How a registration is to be.
#[derive(Clone, Copy, Debug, Args)]
pub struct RegistrationOptions {
    /// Keep registrations and reservation through power loss (APTPL)
    #[arg(long)]
    aptpl: bool,

    /// Register on all target ports of the disk, not only that of this path
    #[arg(long)]
    all_target_ports: bool,
}

impl RegistrationOptions {
    /// A registration with these options.
    pub const fn apply(self, registration: PrOut<'_>) -> PrOut<'_> {
        registration.aptpl(self.aptpl).all_target_ports(self.all_target_ports)
    }
}

/// Whether to ask before others lose their registrations.
#[derive(Clone, Copy, Debug, Args)]
pub struct Confirmed {
    /// Do not ask for confirmation
    #[arg(long)]
    pub yes: bool,
}

/// The type of a reservation.
#[derive(Debug, Args)]
pub struct Type {
    /// Reservation type, by name or number:
    /// write-exclusive (1), exclusive-access (3),
    /// write-exclusive-registrants-only (5),
    /// exclusive-access-registrants-only (6),
    /// write-exclusive-all-registrants (7),
    /// exclusive-access-all-registrants (8)
    #[arg(long = "type", value_name = "TYPE", verbatim_doc_comment, value_parser = values::reservation_type)]
    pub kind: ReservationType,
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
