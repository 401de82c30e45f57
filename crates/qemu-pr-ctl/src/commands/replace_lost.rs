use clap::Args;
use scsi_persistent_reservations::{PrOut, ReservationKey};

use super::{
    change::{Change, Confirmed, Type},
    values,
};
use crate::{output::text, request::Request, target::Device};

/// Register and reserve after the disk lost its reservations
///
/// Sends REPLACE LOST RESERVATION, which disks accept only after they have
/// reported that their reservations are lost. Refused on multipath maps.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ReplaceLost {
    #[command(flatten)]
    device: Device,

    /// Key to register
    #[arg(long, value_name = "KEY", value_parser = values::new_key)]
    new_key: ReservationKey,

    #[command(flatten)]
    reservation: Type,

    /// Keep registrations and reservation through power loss (APTPL)
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
        PrOut::replace_lost_reservation(self.new_key, self.reservation.kind).aptpl(self.aptpl).into()
    }

    fn done(&self) -> String {
        let kind = text::reservation_type(self.reservation.kind.code());
        format!("key {} is the only registered key and holds: {kind}", self.new_key)
    }
}
