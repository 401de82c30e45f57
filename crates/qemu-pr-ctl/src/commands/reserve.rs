use clap::Args;
use scsi_persistent_reservations::PrOut;

use super::change::{Change, OwnKey, Type};
use crate::{output::text, request::Request, target::Device};

/// Reserve the disk (RESERVE)
#[derive(Debug, Args)]
pub struct Reserve {
    #[command(flatten)]
    device: Device,

    #[command(flatten)]
    own: OwnKey,

    #[command(flatten)]
    reservation: Type,
}

impl Change for Reserve {
    fn device(&self) -> &Device {
        &self.device
    }

    fn request(&self) -> Request {
        PrOut::reserve(self.own.key, self.reservation.kind).into()
    }

    fn done(&self) -> String {
        let kind = text::reservation_type(self.reservation.kind.code());
        format!("reserved with key {}: {kind}", self.own.key)
    }
}
