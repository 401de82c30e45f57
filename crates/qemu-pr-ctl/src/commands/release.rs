use clap::Args;
use scsi_persistent_reservations::PrOut;

use super::change::{Change, OwnKey, Type};
use crate::{request::Request, target::Device};

/// Release the reservation (RELEASE)
///
/// --type has to be the type of the reservation. The registration stays. If
/// another initiator holds the reservation, nothing changes.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Release {
    #[command(flatten)]
    device: Device,

    #[command(flatten)]
    own: OwnKey,

    #[command(flatten)]
    reservation: Type,
}

impl Change for Release {
    fn device(&self) -> &Device {
        &self.device
    }

    fn request(&self) -> Request {
        PrOut::release(self.own.key, self.reservation.kind).into()
    }

    fn done(&self) -> String {
        // A registrant that is not the holder may release too, and nothing happens.
        format!("key {} of this host holds no reservation", self.own.key)
    }
}
