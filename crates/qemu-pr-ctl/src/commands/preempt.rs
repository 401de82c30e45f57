use clap::Args;
use scsi_pr::{OutAction, ReservationKey};

use super::{
    change::{Change, Confirmed, OwnKey, Type},
    values,
};
use crate::{request::Request, target::Device};

/// Remove registrations by key and take over the reservation (PREEMPT)
#[derive(Debug, Args)]
pub struct Preempt {
    #[command(flatten)]
    device: Device,

    #[command(flatten)]
    own: OwnKey,

    /// Key to remove; 0 for all other holders, if all registrants hold it
    #[arg(long, value_name = "KEY", value_parser = values::key)]
    victim: ReservationKey,

    #[command(flatten)]
    reservation: Type,

    #[command(flatten)]
    confirmed: Confirmed,
}

impl Change for Preempt {
    fn device(&self) -> &Device {
        &self.device
    }

    fn is_confirmed(&self) -> bool {
        self.confirmed.yes
    }

    fn request(&self) -> Request {
        Request::new(OutAction::Preempt, Some(self.reservation.kind), self.own.key, self.victim)
    }

    fn done(&self) -> String {
        format!("{} removed", victims(self.victim))
    }
}

/// The registrations that a PREEMPT removes.
pub fn victims(key: ReservationKey) -> String {
    if key.is_zero() {
        "the registrations of all other initiators are".to_owned()
    } else {
        format!("the registrations with key {key} are")
    }
}
