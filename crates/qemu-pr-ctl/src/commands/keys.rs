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
///
/// A key is listed once for each I_T nexus that is registered with it, so a map
/// with two paths lists its key twice.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Keys {
    #[command(flatten)]
    device: Device,
}

impl Run for Keys {
    fn run(&self, global: &Global) -> Result<u8, Error> {
        read::run(global, &self.device, InAction::ReadKeys, text::keys, json::keys)
    }
}
