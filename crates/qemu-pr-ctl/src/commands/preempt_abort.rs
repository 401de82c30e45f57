use clap::Args;
use scsi_persistent_reservations::OutAction;

use super::{change::Change, preempt::Options};
use crate::{request::Request, target::Device};

/// Preempt, and abort the commands of the victim (PREEMPT AND ABORT)
///
/// As 'preempt'; in addition the disk aborts the commands of the initiators that
/// lose their registrations.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
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
