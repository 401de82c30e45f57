use clap::Args;
use scsi_persistent_reservations::InAction;

use super::{
    global::{Global, Run},
    read,
};
use crate::{
    error::Error,
    output::{json, text},
    target::Device,
};

/// Show the reservation and its holder (READ RESERVATION)
#[derive(Debug, Args)]
pub struct Reservation {
    #[command(flatten)]
    device: Device,
}

impl Run for Reservation {
    fn run(&self, global: &Global) -> Result<u8, Error> {
        read::run(global, &self.device, InAction::ReadReservation, text::reservation, json::reservation)
    }
}
