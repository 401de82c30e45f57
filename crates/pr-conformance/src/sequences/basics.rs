//! The sequence that comes first.

use scsi_persistent_reservations::InAction;

use super::{ANY_LENGTH, KEYS, NONE, free, keys, register, step};
use crate::{Command, Expect, Initiator::One, Initiators, Step};

/// What all other sequences rely on.
pub fn basics(Initiators { one, .. }: Initiators) -> Vec<Step> {
    vec![
        keys(One, &[]),
        free(One),
        step(
            One,
            "asks what is supported",
            Command::Read(InAction::ReportCapabilities, ANY_LENGTH),
            Expect::GoodIfSupported,
        ),
        step(One, "registers", register(NONE, one), Expect::Good),
        keys(One, &[one]),
        step(One, "reads the head of the keys", Command::Read(InAction::ReadKeys, 8), Expect::KeysHeader),
        step(
            One,
            "reads the full status",
            Command::Read(InAction::ReadFullStatus, ANY_LENGTH),
            Expect::Registrations(vec![one]),
        ),
        step(One, "reads the keys again", KEYS, Expect::Keys(vec![one])),
        step(One, "unregisters", register(one, NONE), Expect::Good),
        keys(One, &[]),
    ]
}
