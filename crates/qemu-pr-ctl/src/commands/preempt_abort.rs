use clap::Args;
use scsi_persistent_reservations::OutAction;

use super::{change::Change, preempt::Options};
use crate::{request::Request, target::Device};

/// Preempt, and abort the commands of the victim (PREEMPT AND ABORT)
#[derive(Debug, Args)]
pub struct PreemptAbort {
    #[command(flatten)]
    options: Options,
}

impl Change for PreemptAbort {
    fn device(&self) -> &Device {
        &self.options.device
    }

    fn is_confirmed(&self) -> bool {
        self.options.confirmed.yes
    }

    fn request(&self) -> Request {
        self.options.request(OutAction::PreemptAndAbort).into()
    }

    fn done(&self) -> String {
        format!("{} removed and their commands aborted", self.options.victims())
    }
}
