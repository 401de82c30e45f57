use core::fmt;

/// A SCSI status byte (SAM-5 table 44), kept whole: a code that SAM does not name travels unchanged.
///
/// ```
/// use scsi_persistent_reservations::Status;
///
/// assert_eq!(Status(0x18), Status::RESERVATION_CONFLICT);
/// assert_eq!(Status(0x18).to_string(), "RESERVATION CONFLICT");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status(pub u8);

impl Status {
    /// The command succeeded.
    pub const GOOD: Self = Self(0x00);
    /// The command failed; the sense data says why.
    pub const CHECK_CONDITION: Self = Self(0x02);
    /// The logical unit is busy; the command may be sent again.
    pub const BUSY: Self = Self(0x08);
    /// A reservation of another nexus, or a wrong key, stands in the way.
    pub const RESERVATION_CONFLICT: Self = Self(0x18);
    /// The logical unit has no room for another command now.
    pub const TASK_SET_FULL: Self = Self(0x28);

    /// The name that SAM gives the status, where it gives one.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0x00 => "GOOD",
            0x02 => "CHECK CONDITION",
            0x04 => "CONDITION MET",
            0x08 => "BUSY",
            0x18 => "RESERVATION CONFLICT",
            0x28 => "TASK SET FULL",
            0x30 => "ACA ACTIVE",
            0x40 => "TASK ABORTED",
            _ => return None,
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "status {:#04x}", self.0),
        }
    }
}
