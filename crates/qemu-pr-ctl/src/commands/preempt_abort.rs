use clap::Args;
use scsi_pr::{OutAction, ReservationKey};

use super::{
    change::{Change, Confirmed, OwnKey, Type},
    preempt::victims,
    values,
};
use crate::{request::Request, target::Device};

/// Preempt, and abort the commands of the victim (PREEMPT AND ABORT)
#[derive(Debug, Args)]
pub struct PreemptAbort {
    #[command(flatten)]
    device: Device,

    #[command(flatten)]
    own: OwnKey,

    /// Key to remove; 0 for all other holders, if all registrants hold it
    #[arg(long, value_name = "KEY", value_parser = values::key)]
    victim: ReservationKey,

    #[command(flatten)]
    reservation: Type,

    #[command(flatten)]
    confirmed: Confirmed,
}

impl Change for PreemptAbort {
    fn device(&self) -> &Device {
        &self.device
    }

    fn is_confirmed(&self) -> bool {
        self.confirmed.yes
    }

    fn request(&self) -> Request {
        Request::new(OutAction::PreemptAndAbort, Some(self.reservation.kind), self.own.key, self.victim)
    }

    fn done(&self) -> String {
        format!("{} removed and their commands aborted", victims(self.victim))
    }
}
