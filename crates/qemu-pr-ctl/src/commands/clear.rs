use clap::Args;
use scsi_persistent_reservations::PrOut;

use super::change::{Change, Confirmed, OwnKey};
use crate::{request::Request, target::Device};

/// Remove all registrations and the reservation (CLEAR)
///
/// Removes those of all hosts. Each of them is told by a unit attention.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Clear {
    #[command(flatten)]
    device: Device,

    #[command(flatten)]
    own: OwnKey,

    #[command(flatten)]
    confirmed: Confirmed,
}

impl Change for Clear {
    fn device(&self) -> &Device {
        &self.device
    }

    fn is_confirmed(&self) -> bool {
        self.confirmed.yes
    }

    fn request(&self) -> Request {
        PrOut::clear(self.own.key).into()
    }

    fn done(&self) -> String {
        "all registrations and the reservation are removed".to_owned()
    }
}
