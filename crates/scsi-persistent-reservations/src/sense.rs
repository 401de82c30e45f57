use core::fmt;

use crate::AdditionalSense;

/// The room for sense data in a reply, and what Linux keeps of it.
pub const SENSE_LENGTH: usize = 96;

const FIXED_CURRENT: u8 = 0x70;
const FIXED_DEFERRED: u8 = 0x71;
const DESCRIPTOR_CURRENT: u8 = 0x72;
const DESCRIPTOR_DEFERRED: u8 = 0x73;

/// Sense data (SPC-4 4.5), in either format, as a device sent it: up to 96 bytes, zeros behind them.
///
/// ```
/// use scsi_persistent_reservations::{Sense, SenseCode};
///
/// let mut bytes = [0; 18];
/// (bytes[0], bytes[2], bytes[7], bytes[12], bytes[13]) = (0x70, 0x06, 10, 0x2a, 0x05);
/// let sense = Sense::from_device(&bytes);
/// assert_eq!(sense.code(), Some(SenseCode::REGISTRATIONS_PREEMPTED));
/// assert_eq!(sense, Sense::fixed(SenseCode::REGISTRATIONS_PREEMPTED));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Sense([u8; SENSE_LENGTH]);

impl Sense {
    /// No sense data.
    pub const NONE: Self = Self([0; SENSE_LENGTH]);

    /// Fixed format sense data of 18 bytes (SPC-4 table 48).
    pub const fn fixed(code: SenseCode) -> Self {
        let mut bytes = [0; SENSE_LENGTH];
        bytes[0] = FIXED_CURRENT;
        bytes[2] = code.key.0 & 0x0f;
        bytes[7] = 10;
        bytes[12] = code.additional.code;
        bytes[13] = code.additional.qualifier;
        Self(bytes)
    }

    /// Sense data as a device returned it. What is beyond 96 bytes is dropped.
    pub fn from_device(bytes: &[u8]) -> Self {
        let mut sense = Self::NONE;
        let length = bytes.len().min(SENSE_LENGTH);
        sense.0[..length].copy_from_slice(&bytes[..length]);
        sense
    }

    /// All 96 bytes.
    pub const fn as_bytes(&self) -> &[u8; SENSE_LENGTH] {
        &self.0
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.0 == [0; SENSE_LENGTH]
    }

    /// The sense key and the additional sense code, in whichever format they are; `None` without sense data or in a
    /// format that SPC does not name.
    pub const fn code(&self) -> Option<SenseCode> {
        let b = &self.0;
        let (key, code, qualifier) = match b[0] & 0x7f {
            FIXED_CURRENT | FIXED_DEFERRED => (b[2], b[12], b[13]),
            DESCRIPTOR_CURRENT | DESCRIPTOR_DEFERRED => (b[1], b[2], b[3]),
            _ => return None,
        };
        Some(SenseCode { key: SenseKey(key & 0x0f), additional: AdditionalSense { code, qualifier } })
    }
}

impl fmt::Debug for Sense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = SENSE_LENGTH - self.0.iter().rev().take_while(|byte| **byte == 0).count();
        write!(f, "Sense({:02x?})", &self.0[..end])
    }
}

impl fmt::Display for Sense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code() {
            Some(code) => code.fmt(f),
            None if self.is_none() => f.pad("no sense data"),
            None => write!(f, "sense data of unknown format {:#04x}", self.0[0]),
        }
    }
}

/// A sense key, four bits (SPC-4 table 54).
///
/// ```
/// use scsi_persistent_reservations::SenseKey;
///
/// assert_eq!(SenseKey(0x6).name(), "UNIT ATTENTION");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SenseKey(pub u8);

impl SenseKey {
    /// The name of the key.
    pub const fn name(self) -> &'static str {
        match self.0 & 0x0f {
            0x0 => "NO SENSE",
            0x1 => "RECOVERED ERROR",
            0x2 => "NOT READY",
            0x3 => "MEDIUM ERROR",
            0x4 => "HARDWARE ERROR",
            0x5 => "ILLEGAL REQUEST",
            0x6 => "UNIT ATTENTION",
            0x7 => "DATA PROTECT",
            0x8 => "BLANK CHECK",
            0x9 => "VENDOR SPECIFIC",
            0xa => "COPY ABORTED",
            0xb => "ABORTED COMMAND",
            0xd => "VOLUME OVERFLOW",
            0xe => "MISCOMPARE",
            0xf => "COMPLETED",
            _ => "RESERVED SENSE KEY",
        }
    }
}

/// A sense key with its additional sense code and qualifier: what sense data says, in three numbers.
///
/// ```
/// use scsi_persistent_reservations::SenseCode;
///
/// assert_eq!(SenseCode::new(0x5, 0x24, 0x00), SenseCode::INVALID_FIELD_IN_CDB);
/// assert_eq!(SenseCode::INVALID_FIELD_IN_CDB.to_bytes(), [0x5, 0x24, 0x00]);
/// assert_eq!(SenseCode::INVALID_FIELD_IN_CDB.to_string(), "ILLEGAL REQUEST: INVALID FIELD IN CDB (5/24/00)");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SenseCode {
    /// What kind of failure.
    pub key: SenseKey,
    /// Which one.
    pub additional: AdditionalSense,
}

impl SenseCode {
    /// The three numbers.
    pub const fn new(key: u8, code: u8, qualifier: u8) -> Self {
        Self { key: SenseKey(key), additional: AdditionalSense { code, qualifier } }
    }

    /// The three numbers: sense key, additional sense code, additional sense code qualifier.
    pub const fn to_bytes(self) -> [u8; 3] {
        let AdditionalSense { code, qualifier } = self.additional;
        [self.key.0, code, qualifier]
    }

    /// NOT READY, CAUSE NOT REPORTABLE.
    pub const NOT_READY: Self = Self::new(0x2, 0x04, 0x00);
    /// NOT READY, MEDIUM NOT PRESENT.
    pub const MEDIUM_NOT_PRESENT: Self = Self::new(0x2, 0x3a, 0x00);
    /// MEDIUM ERROR, UNRECOVERED READ ERROR.
    pub const UNRECOVERED_READ_ERROR: Self = Self::new(0x3, 0x11, 0x00);
    /// HARDWARE ERROR, INTERNAL TARGET FAILURE.
    pub const INTERNAL_TARGET_FAILURE: Self = Self::new(0x4, 0x44, 0x00);
    /// ILLEGAL REQUEST, PARAMETER LIST LENGTH ERROR.
    pub const PARAMETER_LIST_LENGTH: Self = Self::new(0x5, 0x1a, 0x00);
    /// ILLEGAL REQUEST, INVALID COMMAND OPERATION CODE.
    pub const INVALID_OPERATION_CODE: Self = Self::new(0x5, 0x20, 0x00);
    /// ILLEGAL REQUEST, ACCESS DENIED - NO ACCESS RIGHTS.
    pub const NO_ACCESS_RIGHTS: Self = Self::new(0x5, 0x20, 0x02);
    /// ILLEGAL REQUEST, INVALID FIELD IN CDB.
    pub const INVALID_FIELD_IN_CDB: Self = Self::new(0x5, 0x24, 0x00);
    /// ILLEGAL REQUEST, INVALID FIELD IN PARAMETER LIST.
    pub const INVALID_FIELD_IN_PARAMETER_LIST: Self = Self::new(0x5, 0x26, 0x00);
    /// ILLEGAL REQUEST, INVALID RELEASE OF PERSISTENT RESERVATION.
    pub const INVALID_RELEASE: Self = Self::new(0x5, 0x26, 0x04);
    /// ILLEGAL REQUEST, INSUFFICIENT REGISTRATION RESOURCES.
    pub const INSUFFICIENT_REGISTRATION_RESOURCES: Self = Self::new(0x5, 0x55, 0x04);
    /// UNIT ATTENTION, POWER ON, RESET, OR BUS DEVICE RESET OCCURRED.
    pub const RESET_OCCURRED: Self = Self::new(0x6, 0x29, 0x00);
    /// UNIT ATTENTION, SCSI BUS RESET OCCURRED.
    pub const SCSI_BUS_RESET_OCCURRED: Self = Self::new(0x6, 0x29, 0x02);
    /// UNIT ATTENTION, RESERVATIONS PREEMPTED.
    pub const RESERVATIONS_PREEMPTED: Self = Self::new(0x6, 0x2a, 0x03);
    /// UNIT ATTENTION, RESERVATIONS RELEASED.
    pub const RESERVATIONS_RELEASED: Self = Self::new(0x6, 0x2a, 0x04);
    /// UNIT ATTENTION, REGISTRATIONS PREEMPTED.
    pub const REGISTRATIONS_PREEMPTED: Self = Self::new(0x6, 0x2a, 0x05);
    /// DATA PROTECT, SPACE ALLOCATION FAILED WRITE PROTECT.
    pub const SPACE_ALLOCATION_FAILED: Self = Self::new(0x7, 0x27, 0x07);
    /// ABORTED COMMAND, I/O PROCESS TERMINATED.
    pub const IO_PROCESS_TERMINATED: Self = Self::new(0xb, 0x00, 0x06);
    /// ABORTED COMMAND, LOGICAL UNIT DOES NOT RESPOND TO SELECTION.
    pub const NO_RESPONSE_TO_SELECTION: Self = Self::new(0xb, 0x05, 0x00);
    /// ABORTED COMMAND, LOGICAL UNIT COMMUNICATION FAILURE.
    pub const COMMUNICATION_FAILURE: Self = Self::new(0xb, 0x08, 0x00);
    /// ABORTED COMMAND, `I_T` NEXUS LOSS OCCURRED.
    pub const NEXUS_LOSS: Self = Self::new(0xb, 0x29, 0x07);
    /// ABORTED COMMAND, COMMAND TIMEOUT DURING PROCESSING.
    pub const COMMAND_TIMEOUT: Self = Self::new(0xb, 0x2e, 0x02);
    /// ABORTED COMMAND, COMMANDS CLEARED BY DEVICE SERVER.
    pub const COMMANDS_CLEARED: Self = Self::new(0xb, 0x2f, 0x02);
    /// ABORTED COMMAND, SCSI PARITY ERROR.
    pub const PARITY_ERROR: Self = Self::new(0xb, 0x47, 0x00);
}

impl fmt::Display for SenseCode {
    /// `UNIT ATTENTION: RESERVATIONS RELEASED (6/2a/04)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AdditionalSense { code, qualifier } = self.additional;
        write!(f, "{}: {} ({:x}/{code:02x}/{qualifier:02x})", self.key.name(), self.additional, self.key.0)
    }
}
