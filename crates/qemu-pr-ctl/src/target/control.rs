//! The control socket of a helper, as the command line names it.

use std::path::PathBuf;

use clap::Args;
use pr_control::{Control, DEFAULT_CONTROL};

use super::helper::Helper;
use crate::error::Error;

/// Which helper.
#[derive(Debug, Args)]
pub struct ControlSocket {
    /// Control socket of the helper, or a directory that contains no other
    #[arg(long = "control", value_name = "PATH", default_value = DEFAULT_CONTROL)]
    path: PathBuf,
}

impl ControlSocket {
    /// The socket, ready to be asked.
    pub fn find(&self, helper: &Helper) -> Result<Control, Error> {
        Control::find(&self.path, helper.control_timeout()).map_err(Error::Control)
    }
}
