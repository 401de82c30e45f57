//! The commands that change something.

use clap::{Args, Subcommand};
use scsi_pr::{ReservationKey, ReservationType};

use super::Device;
use crate::{
    transport::{self, Port},
    values,
};

/// One command that changes something.
#[derive(Debug, Subcommand)]
pub enum Change {
    /// Register this host, or change its key (REGISTER)
    Register(Register),
    /// Register this host whatever its key is now (REGISTER AND IGNORE ...)
    RegisterIgnore(RegisterIgnore),
    /// Remove the registration of this host (REGISTER with no new key)
    Unregister(Unregister),
    /// Reserve the disk (RESERVE)
    Reserve(Reserve),
    /// Give up the reservation (RELEASE)
    Release(Reserve),
    /// Remove all registrations and the reservation (CLEAR)
    Clear(Clear),
    /// Remove another's registrations and take its reservation over (PREEMPT)
    Preempt(Preempt),
    /// The same, and abort its commands (PREEMPT AND ABORT)
    PreemptAbort(Preempt),
    /// Register another initiator and move the reservation to it
    Move(Move),
    /// Start anew after the disk lost its reservations
    ReplaceLost(ReplaceLost),
}

/// Who this host is, for the disk.
#[derive(Debug, Args)]
pub struct OwnKey {
    /// The key that this host is registered with
    #[arg(long, value_name = "KEY", value_parser = values::key)]
    pub key: ReservationKey,
}

/// How a registration is to be.
#[derive(Clone, Copy, Debug, Args)]
pub struct Manner {
    /// Let registrations and reservation persist through power loss
    #[arg(long)]
    pub aptpl: bool,

    /// On every target port of the disk, not only that of this path
    #[arg(long)]
    pub all_target_ports: bool,
}

/// Whether to ask before others lose their registrations.
#[derive(Clone, Copy, Debug, Args)]
pub struct Sure {
    /// Do not ask, even if others are registered
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct Register {
    #[command(flatten)]
    pub device: Device,

    /// The key that this host is registered with; 0 if it is not
    #[arg(long, value_name = "KEY", default_value = "0", value_parser = values::key)]
    pub key: ReservationKey,

    /// The key to register
    #[arg(long, value_name = "KEY", value_parser = values::new_key)]
    pub new_key: ReservationKey,

    #[command(flatten)]
    pub manner: Manner,

    #[arg(
        long,
        value_name = "TRANSPORTID",
        value_parser = transport::id,
        help = "Register this initiator port too (SPEC_I_PT); may be repeated"
    )]
    pub spec_i_pt: Vec<Port>,
}

#[derive(Debug, Args)]
pub struct RegisterIgnore {
    #[command(flatten)]
    pub device: Device,

    /// The key to register
    #[arg(long, value_name = "KEY", value_parser = values::new_key)]
    pub new_key: ReservationKey,

    #[command(flatten)]
    pub manner: Manner,
}

#[derive(Debug, Args)]
pub struct Unregister {
    #[command(flatten)]
    pub device: Device,

    #[command(flatten)]
    pub own: OwnKey,

    #[command(flatten)]
    pub manner: Manner,
}

#[derive(Debug, Args)]
pub struct Clear {
    #[command(flatten)]
    pub device: Device,

    #[command(flatten)]
    pub own: OwnKey,

    #[command(flatten)]
    pub sure: Sure,
}

#[derive(Debug, Args)]
pub struct Reserve {
    #[command(flatten)]
    pub device: Device,

    #[command(flatten)]
    pub own: OwnKey,

    #[command(flatten)]
    pub kind: Type,
}

#[derive(Debug, Args)]
pub struct Preempt {
    #[command(flatten)]
    pub device: Device,

    #[command(flatten)]
    pub own: OwnKey,

    /// The key to remove; 0 is everyone else's if all hold the reservation
    #[arg(long, value_name = "KEY", value_parser = values::key)]
    pub victim: ReservationKey,

    #[command(flatten)]
    pub kind: Type,

    #[command(flatten)]
    pub sure: Sure,
}

#[derive(Debug, Args)]
pub struct Move {
    #[command(flatten)]
    pub device: Device,

    #[command(flatten)]
    pub own: OwnKey,

    /// The key to register for the other initiator
    #[arg(long, value_name = "KEY", value_parser = values::new_key)]
    pub new_key: ReservationKey,

    /// The other initiator, as 'status' names it
    #[arg(long, value_name = "TRANSPORTID", value_parser = transport::id)]
    pub to: Port,

    /// The target port that it reaches the disk by
    #[arg(long, value_name = "N")]
    pub target_port: u16,

    /// Remove the registration of this host
    #[arg(long)]
    pub unregister: bool,

    /// Let registrations and reservation persist through power loss
    #[arg(long)]
    pub aptpl: bool,
}

#[derive(Debug, Args)]
pub struct ReplaceLost {
    #[command(flatten)]
    pub device: Device,

    /// The key to register
    #[arg(long, value_name = "KEY", value_parser = values::new_key)]
    pub new_key: ReservationKey,

    #[command(flatten)]
    pub kind: Type,

    /// Let registrations and reservation persist through power loss
    #[arg(long)]
    pub aptpl: bool,

    #[command(flatten)]
    pub sure: Sure,
}

#[derive(Debug, Args)]
pub struct Type {
    /// The type of the reservation, by name or number:
    /// write-exclusive (1), exclusive-access (3),
    /// write-exclusive-registrants-only (5),
    /// exclusive-access-registrants-only (6),
    /// write-exclusive-all-registrants (7),
    /// exclusive-access-all-registrants (8)
    #[arg(long = "type", value_name = "TYPE", verbatim_doc_comment, value_parser = values::reservation_type)]
    pub kind: ReservationType,
}
