use clap::Args;
use scsi_persistent_reservations::{MoveParameters, PrOut, ReservationKey};

use super::{
    change::{Change, OwnKey},
    initiator_port::{self, InitiatorPort},
    values,
};
use crate::{request::Request, target::Device};

/// Move the reservation to another initiator (REGISTER AND MOVE)
///
/// Registers --new-key for the other initiator and makes it the holder. This host
/// has to hold the reservation. Refused on multipath maps.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Move {
    #[command(flatten)]
    device: Device,

    #[command(flatten)]
    own: OwnKey,

    /// Key to register for the other initiator
    #[arg(long, value_name = "KEY", value_parser = values::new_key)]
    new_key: ReservationKey,

    /// TransportID of the other initiator, as 'status' prints it
    #[arg(long, value_name = "TRANSPORTID", value_parser = initiator_port::parse)]
    to: InitiatorPort,

    /// Relative target port that the other initiator uses
    #[arg(long, value_name = "N")]
    target_port: u16,

    /// Remove the registration of this host
    #[arg(long)]
    unregister: bool,

    /// Keep registrations and reservation through power loss (APTPL)
    #[arg(long)]
    aptpl: bool,
}

impl Change for Move {
    fn device(&self) -> &Device {
        &self.device
    }

    fn request(&self) -> Request {
        PrOut::register_and_move(MoveParameters {
            key: self.own.key,
            service_action_key: self.new_key,
            unregister: self.unregister,
            activate_persist: self.aptpl,
            relative_target_port: self.target_port,
            transport_id: self.to.id(),
        })
        .into()
    }

    fn done(&self) -> String {
        format!("the reservation is held by the other initiator, with key {}", self.new_key)
    }
}
