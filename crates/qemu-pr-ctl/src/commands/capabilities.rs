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

/// Show what the disk supports (REPORT CAPABILITIES)
#[derive(Debug, Args)]
pub struct Capabilities {
    #[command(flatten)]
    device: Device,
}

impl Run for Capabilities {
    fn run(&self, global: &Global) -> Result<u8, Error> {
        read::run(global, &self.device, InAction::ReportCapabilities, text::capabilities, json::capabilities)
    }
}
