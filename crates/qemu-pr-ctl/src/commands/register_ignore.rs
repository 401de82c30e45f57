use clap::Args;
use scsi_persistent_reservations::{PrOut, ReservationKey};

use super::{
    change::{Change, RegistrationOptions},
    values,
};
use crate::{request::Request, target::Device};

/// Register this host, whatever its key is (REGISTER AND IGNORE ...)
///
/// Sends REGISTER AND IGNORE EXISTING KEY: it succeeds whether the host is
/// registered or not, and replaces its key if it is.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct RegisterIgnore {
    #[command(flatten)]
    device: Device,

    /// Key to register
    #[arg(long, value_name = "KEY", value_parser = values::new_key)]
    new_key: ReservationKey,

    #[command(flatten)]
    options: RegistrationOptions,
}

impl Change for RegisterIgnore {
    fn device(&self) -> &Device {
        &self.device
    }

    fn request(&self) -> Request {
        self.options.apply(PrOut::register_and_ignore_existing_key(self.new_key)).into()
    }

    fn done(&self) -> String {
        format!("key {} is registered for this host", self.new_key)
    }
}
