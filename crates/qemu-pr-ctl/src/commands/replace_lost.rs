//! `replace-lost`.

use clap::Args;
use scsi_pr::{BasicParameters, OutAction, ReservationKey};

use super::{
    change::{Change, Confirmed, Type},
    values,
};
use crate::{output::text, request::Request, target::Device};

/// Start anew after the disk lost its reservations
#[derive(Debug, Args)]
pub struct ReplaceLost {
    #[command(flatten)]
    device: Device,

    /// The key to register
    #[arg(long, value_name = "KEY", value_parser = values::new_key)]
    new_key: ReservationKey,

    #[command(flatten)]
    reservation: Type,

    /// Let registrations and reservation persist through power loss
    #[arg(long)]
    aptpl: bool,

    #[command(flatten)]
    confirmed: Confirmed,
}

impl Change for ReplaceLost {
    fn device(&self) -> &Device {
        &self.device
    }

    fn is_confirmed(&self) -> bool {
        self.confirmed.yes
    }

    fn request(&self) -> Request {
        let keys = BasicParameters::keys(ReservationKey::ZERO, self.new_key);
        let parameters = BasicParameters { activate_persist: self.aptpl, ..keys };
        Request::with_parameters(OutAction::ReplaceLostReservation, Some(self.reservation.kind), &parameters)
    }

    fn done(&self) -> String {
        let kind = text::reservation_type(self.reservation.kind.code());
        format!("key {} is the only one registered, and holds: {kind}", self.new_key)
    }
}
