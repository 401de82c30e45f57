use crate::{InitiatorPort, Medium};

/// What all marks begin with, so that few other numbers are one.
const PREFIX: u64 = 0x57;

/// What a client of a simulated disk has to say beside a command, as a number of 41 bits: for transports that have no field
/// for it.
///
/// ```
/// use pr_sim::{InitiatorPort, Mark, Medium};
///
/// let mark = Mark { initiator: Some(InitiatorPort::named("alpha")), medium: Some(Medium::Read) };
/// let number = mark.to_number().expect("there is something to say");
/// assert_eq!(Mark::from_number(number), mark);
/// assert_eq!((Mark::from_number(512), Mark::default().to_number()), (Mark::default(), None));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Who sends the command, if it is an initiator with a name.
    pub initiator: Option<InitiatorPort>,
    /// What is meant instead of the command, if it is an access to the medium.
    pub medium: Option<Medium>,
}

impl Mark {
    /// The number; `None` if there is nothing to say.
    pub fn to_number(self) -> Option<u64> {
        let hash = self.initiator.and_then(InitiatorPort::hash).unwrap_or(0);
        let medium = match self.medium {
            None => 0,
            Some(Medium::Read) => 1,
            Some(Medium::Write) => 2,
        };
        (hash != 0 || medium != 0).then(|| PREFIX << 34 | medium << 32 | u64::from(hash))
    }

    /// What a number says, which is nothing if it is no mark.
    pub fn from_number(number: u64) -> Self {
        if number >> 34 != PREFIX {
            return Self::default();
        }
        let [.., a, b, c, d] = number.to_be_bytes();
        let hash = u32::from_be_bytes([a, b, c, d]);
        let medium = match number >> 32 & 3 {
            1 => Some(Medium::Read),
            2 => Some(Medium::Write),
            _ => None,
        };
        Self { initiator: (hash != 0).then(|| InitiatorPort::from_hash(hash)), medium }
    }
}
