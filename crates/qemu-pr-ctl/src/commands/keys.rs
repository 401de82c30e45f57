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

/// List the registered keys (READ KEYS)
#[derive(Debug, Args)]
pub struct Keys {
    #[command(flatten)]
    device: Device,
}

impl Run for Keys {
    fn run(&self, global: &Global) -> Result<u8, Error> {
        read::run(global, &self.device, InAction::ReadKeys, text::keys, json::keys)
    }
}
