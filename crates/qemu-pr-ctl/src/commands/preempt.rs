use clap::Args;
use scsi_persistent_reservations::{BasicParameters, OutAction, PrOut, ReservationKey};

use super::{
    change::{Change, Confirmed, OwnKey, Type},
    values,
};
use crate::{request::Request, target::Device};

/// Remove registrations by key and take over the reservation (PREEMPT)
///
/// This is how a node is fenced: all registrations with the key --victim end. If
/// one of them holds the reservation, this host holds it then, with --type.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Preempt {
    #[command(flatten)]
    options: Options,
}

/// The options of PREEMPT and of PREEMPT AND ABORT.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    pub device: Device,

    #[command(flatten)]
    own: OwnKey,

    /// Key to remove; 0 for all other holders, if all registrants hold it
    #[arg(long, value_name = "KEY", value_parser = values::key)]
    victim: ReservationKey,

    #[command(flatten)]
    reservation: Type,

    #[command(flatten)]
    pub confirmed: Confirmed,
}

impl Options {
    /// The command.
    pub const fn request(&self, action: OutAction) -> PrOut<'static> {
        PrOut::new(action, self.reservation.kind.code(), BasicParameters::keys(self.own.key, self.victim))
    }

    /// The registrations that it removes.
    pub fn victims(&self) -> String {
        if self.victim.is_zero() {
            "the registrations of all other initiators are".to_owned()
        } else if self.victim == self.own.key {
            // That of this path stays.
            format!("the registrations of other initiators with key {} are", self.victim)
        } else {
            format!("the registrations with key {} are", self.victim)
        }
    }
}

impl Change for Preempt {
    fn device(&self) -> &Device {
        &self.options.device
    }

    fn is_confirmed(&self) -> bool {
        self.options.confirmed.yes
    }

    fn request(&self) -> Request {
        self.options.request(OutAction::Preempt).into()
    }

    fn done(&self) -> String {
        format!("{} removed", self.options.victims())
    }
}
