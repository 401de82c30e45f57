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

/// Show each registration with its initiator (READ FULL STATUS)
#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    device: Device,
}

impl Run for Status {
    fn run(&self, global: &Global) -> Result<u8, Error> {
        read::run(global, &self.device, InAction::ReadFullStatus, text::full_status, json::status)
    }
}
