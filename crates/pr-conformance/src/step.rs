//! One step of a sequence: which initiator sends which command, and the expected answer.

use scsi_persistent_reservations::{InAction, OutAction, PrOut};

use crate::Expect;

/// Which of the initiators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initiator {
    /// The first one.
    One,
    /// The second one, which is there if [`Initiators::pair`](crate::Initiators::pair) says so.
    Two,
    /// One that is not registered, in a [`Case`](crate::Case).
    Three,
}

impl Initiator {
    /// Its number in the output.
    pub const fn number(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Three => 3,
        }
    }
}

/// One step.
#[derive(Clone, Debug)]
pub struct Step {
    /// Who sends the command.
    pub initiator: Initiator,
    /// What it is for, in few words.
    pub name: &'static str,
    /// What is sent.
    pub command: Command,
    /// The expected answer.
    pub expect: Expect,
}

/// What is sent.
#[derive(Clone, Debug)]
pub enum Command {
    /// A PERSISTENT RESERVE OUT.
    Change(PrOut<'static>),
    /// A PERSISTENT RESERVE IN with its allocation length.
    Read(InAction, u16),
    /// A READ of a block.
    ReadBlock,
    /// A WRITE of the same block, with what the last READ returned.
    WriteBlock,
}

impl Command {
    /// The command by SPC's name.
    pub fn action(&self) -> String {
        match self {
            Self::Change(change) => change.action().to_string(),
            Self::Read(action, _) => action.to_string(),
            Self::ReadBlock => "READ".to_owned(),
            Self::WriteBlock => "WRITE".to_owned(),
        }
    }

    /// Whether it makes a reservation that admits the path that holds it and no other.
    pub fn admits_one_path(&self) -> bool {
        match self {
            Self::Change(change) => {
                let makes_one =
                    matches!(change.action(), OutAction::Reserve | OutAction::Preempt | OutAction::PreemptAndAbort);
                makes_one && change.reservation_type().is_some_and(|kind| !kind.admits_registrants())
            }
            Self::Read(..) | Self::ReadBlock | Self::WriteBlock => false,
        }
    }

    /// Whether PRGENERATION counts it. Disks differ about unregistering (SPC counts it, Linux does not).
    pub fn counts(&self) -> bool {
        match self {
            Self::Change(change) => match change.action() {
                OutAction::Register | OutAction::RegisterAndIgnoreExistingKey => !change.service_action_key().is_zero(),
                OutAction::Reserve | OutAction::Release => false,
                _ => true,
            },
            Self::Read(..) | Self::ReadBlock | Self::WriteBlock => false,
        }
    }
}
