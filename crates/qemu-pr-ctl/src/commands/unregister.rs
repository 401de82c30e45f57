use clap::Args;
use scsi_persistent_reservations::{PrOut, ReservationKey};

use super::change::{Change, OwnKey, RegistrationOptions};
use crate::{request::Request, target::Device};

/// Remove the registration of this host (REGISTER with no new key)
///
/// If this host is the only holder of the reservation, the reservation ends.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Unregister {
    #[command(flatten)]
    device: Device,

    #[command(flatten)]
    own: OwnKey,

    #[command(flatten)]
    options: RegistrationOptions,
}

impl Change for Unregister {
    fn device(&self) -> &Device {
        &self.device
    }

    fn request(&self) -> Request {
        self.options.apply(PrOut::register(self.own.key, ReservationKey::ZERO)).into()
    }

    fn done(&self) -> String {
        format!("key {} of this host is no longer registered", self.own.key)
    }
}
