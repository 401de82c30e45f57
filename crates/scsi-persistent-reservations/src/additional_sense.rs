use core::fmt;

/// An additional sense code and its qualifier (SPC-4 table F.2).
///
/// ```
/// use scsi_persistent_reservations::AdditionalSense;
///
/// let preempted = AdditionalSense { code: 0x2a, qualifier: 0x05 };
/// assert_eq!(preempted.to_string(), "REGISTRATIONS PREEMPTED");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdditionalSense {
    /// ADDITIONAL SENSE CODE.
    pub code: u8,
    /// ADDITIONAL SENSE CODE QUALIFIER.
    pub qualifier: u8,
}

impl AdditionalSense {
    /// The names of the codes that occur around persistent reservations.
    pub const NAMES: &'static [(u8, u8, &'static str)] = &[
        (0x00, 0x00, "NO ADDITIONAL SENSE INFORMATION"),
        (0x00, 0x06, "I/O PROCESS TERMINATED"),
        (0x04, 0x00, "LOGICAL UNIT NOT READY, CAUSE NOT REPORTABLE"),
        (0x04, 0x01, "LOGICAL UNIT IS IN PROCESS OF BECOMING READY"),
        (0x04, 0x02, "LOGICAL UNIT NOT READY, INITIALIZING COMMAND REQUIRED"),
        (0x04, 0x03, "LOGICAL UNIT NOT READY, MANUAL INTERVENTION REQUIRED"),
        (0x04, 0x07, "LOGICAL UNIT NOT READY, OPERATION IN PROGRESS"),
        (0x04, 0x0a, "LOGICAL UNIT NOT ACCESSIBLE, ASYMMETRIC ACCESS STATE TRANSITION"),
        (0x04, 0x0b, "LOGICAL UNIT NOT ACCESSIBLE, TARGET PORT IN STANDBY STATE"),
        (0x04, 0x0c, "LOGICAL UNIT NOT ACCESSIBLE, TARGET PORT IN UNAVAILABLE STATE"),
        (0x05, 0x00, "LOGICAL UNIT DOES NOT RESPOND TO SELECTION"),
        (0x08, 0x00, "LOGICAL UNIT COMMUNICATION FAILURE"),
        (0x08, 0x01, "LOGICAL UNIT COMMUNICATION TIME-OUT"),
        (0x11, 0x00, "UNRECOVERED READ ERROR"),
        (0x1a, 0x00, "PARAMETER LIST LENGTH ERROR"),
        (0x20, 0x00, "INVALID COMMAND OPERATION CODE"),
        (0x20, 0x02, "ACCESS DENIED - NO ACCESS RIGHTS"),
        (0x24, 0x00, "INVALID FIELD IN CDB"),
        (0x25, 0x00, "LOGICAL UNIT NOT SUPPORTED"),
        (0x26, 0x00, "INVALID FIELD IN PARAMETER LIST"),
        (0x26, 0x04, "INVALID RELEASE OF PERSISTENT RESERVATION"),
        (0x27, 0x07, "SPACE ALLOCATION FAILED WRITE PROTECT"),
        (0x28, 0x00, "NOT READY TO READY CHANGE, MEDIUM MAY HAVE CHANGED"),
        (0x29, 0x00, "POWER ON, RESET, OR BUS DEVICE RESET OCCURRED"),
        (0x29, 0x01, "POWER ON OCCURRED"),
        (0x29, 0x02, "SCSI BUS RESET OCCURRED"),
        (0x29, 0x03, "BUS DEVICE RESET FUNCTION OCCURRED"),
        (0x29, 0x04, "DEVICE INTERNAL RESET"),
        (0x29, 0x07, "I_T NEXUS LOSS OCCURRED"),
        (0x2a, 0x01, "MODE PARAMETERS CHANGED"),
        (0x2a, 0x03, "RESERVATIONS PREEMPTED"),
        (0x2a, 0x04, "RESERVATIONS RELEASED"),
        (0x2a, 0x05, "REGISTRATIONS PREEMPTED"),
        (0x2a, 0x06, "ASYMMETRIC ACCESS STATE CHANGED"),
        (0x2a, 0x09, "CAPACITY DATA HAS CHANGED"),
        (0x2e, 0x02, "COMMAND TIMEOUT DURING PROCESSING DUE TO ERROR RECOVERY"),
        (0x2f, 0x00, "COMMANDS CLEARED BY ANOTHER INITIATOR"),
        (0x2f, 0x02, "COMMANDS CLEARED BY DEVICE SERVER"),
        (0x3a, 0x00, "MEDIUM NOT PRESENT"),
        (0x3f, 0x03, "INQUIRY DATA HAS CHANGED"),
        (0x3f, 0x0e, "REPORTED LUNS DATA HAS CHANGED"),
        (0x44, 0x00, "INTERNAL TARGET FAILURE"),
        (0x47, 0x00, "SCSI PARITY ERROR"),
        (0x55, 0x04, "INSUFFICIENT REGISTRATION RESOURCES"),
    ];

    /// The name, where the table above has it.
    pub fn name(self) -> Option<&'static str> {
        let at = Self::NAMES.binary_search_by_key(&(self.code, self.qualifier), |row| (row.0, row.1)).ok()?;
        Some(Self::NAMES[at].2)
    }
}

impl fmt::Display for AdditionalSense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "additional sense {:02x}/{:02x}", self.code, self.qualifier),
        }
    }
}
