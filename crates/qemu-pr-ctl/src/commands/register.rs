use clap::Args;
use scsi_persistent_reservations::{PrOut, ReservationKey, TransportIds};

use super::{
    change::{Change, RegistrationOptions},
    initiator_port::{self, InitiatorPort},
    values,
};
use crate::{request::Request, target::Device};

/// Register this host, or change its key (REGISTER)
///
/// Without --key the host must not be registered yet. With --key, --new-key
/// replaces the key that it is registered with.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Register {
    #[command(flatten)]
    device: Device,

    /// Key that this host is registered with; 0 if it is not
    #[arg(long, value_name = "KEY", default_value = "0", value_parser = values::key)]
    key: ReservationKey,

    /// Key to register
    #[arg(long, value_name = "KEY", value_parser = values::new_key)]
    new_key: ReservationKey,

    #[command(flatten)]
    options: RegistrationOptions,

    #[arg(
        long,
        value_name = "TRANSPORTID",
        value_parser = initiator_port::parse,
        help = "Also register this initiator port (SPEC_I_PT); may be repeated"
    )]
    spec_i_pt: Vec<InitiatorPort>,
}

impl Change for Register {
    fn device(&self) -> &Device {
        &self.device
    }

    fn request(&self) -> Request {
        let ports: Vec<u8> = self.spec_i_pt.iter().flat_map(InitiatorPort::as_bytes).copied().collect();
        let register = self.options.apply(PrOut::register(self.key, self.new_key));
        if ports.is_empty() { register.into() } else { register.initiator_ports(TransportIds::new(&ports)).into() }
    }

    fn done(&self) -> String {
        let key = self.new_key;
        if self.spec_i_pt.is_empty() {
            format!("key {key} is registered for this host")
        } else {
            format!("key {key} is registered for this host and for the given initiators")
        }
    }
}
