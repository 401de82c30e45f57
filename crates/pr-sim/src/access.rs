//! Which commands a reservation lets pass (SPC-4 5.13.1, and the same clause of each device type's standard).

use scsi_persistent_reservations::{Completion, OutAction, SenseCode, Status};

use crate::{LogicalUnit, Nexus, out::check};

/// What a command is to a reservation. Every command of one class is allowed, or conflicts, in the same cases.
///
/// ```
/// use pr_sim::CommandClass;
///
/// // READ(10) and WRITE(10).
/// assert_eq!(CommandClass::of(&[0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0]), CommandClass::Reads);
/// assert_eq!(CommandClass::of(&[0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0]), CommandClass::Writes);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandClass {
    /// No reservation forbids it.
    Always,
    /// Allowed wherever reading is.
    Reads,
    /// Allowed wherever writing is; so is every command that is not known to be harmless.
    Writes,
    /// RESERVE or RELEASE of SPC-2, handled as `CRH` says: conflicts with registrations, too.
    Reserves,
    /// PERSISTENT RESERVE OUT with this service action; `None` for one that SPC does not name.
    PersistentReserveOut(Option<OutAction>),
}

use CommandClass::{Always, Reads, Reserves};

/// An access to the medium, of which a logical unit here has none: only whether it is admitted is known.
///
/// ```
/// use pr_sim::{InitiatorPort, LogicalUnit, Medium, Nexus};
/// use scsi_persistent_reservations::Status;
///
/// let nexus = Nexus { initiator: InitiatorPort(1), target_port: 1 };
/// assert_eq!(LogicalUnit::default().access(nexus, Medium::Write).status, Status::GOOD);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// READ(10) and its like.
    Read,
    /// WRITE(10) and its like.
    Write,
}

/// LOGICAL UNIT NOT SUPPORTED: there is no such target port.
const NOT_SUPPORTED: SenseCode = SenseCode::new(0x5, 0x25, 0x00);

/// The classes by operation code. What is not here writes.
const BY_OPERATION_CODE: &[(u8, CommandClass)] = &[
    (0x00, Always),   // TEST UNIT READY
    (0x03, Always),   // REQUEST SENSE
    (0x08, Reads),    // READ(6)
    (0x12, Always),   // INQUIRY
    (0x16, Reserves), // RESERVE(6)
    (0x17, Reserves), // RELEASE(6)
    (0x1a, Reads),    // MODE SENSE(6)
    (0x1c, Reads),    // RECEIVE DIAGNOSTIC RESULTS
    (0x25, Always),   // READ CAPACITY(10)
    (0x28, Reads),    // READ(10)
    (0x2f, Reads),    // VERIFY(10)
    (0x34, Reads),    // PRE-FETCH(10)
    (0x37, Reads),    // READ DEFECT DATA(10)
    (0x3c, Reads),    // READ BUFFER(10)
    (0x4d, Always),   // LOG SENSE
    (0x56, Reserves), // RESERVE(10)
    (0x57, Reserves), // RELEASE(10)
    (0x5a, Reads),    // MODE SENSE(10)
    (0x5e, Always),   // PERSISTENT RESERVE IN
    (0x86, Always),   // ACCESS CONTROL IN
    (0x87, Always),   // ACCESS CONTROL OUT
    (0x88, Reads),    // READ(16)
    (0x8c, Reads),    // READ ATTRIBUTE
    (0x8f, Reads),    // VERIFY(16)
    (0x90, Reads),    // PRE-FETCH(16)
    (0x9b, Reads),    // READ BUFFER(16)
    (0xa0, Always),   // REPORT LUNS
    (0xa2, Reads),    // SECURITY PROTOCOL IN
    (0xa8, Reads),    // READ(12)
    (0xaf, Reads),    // VERIFY(12)
    (0xb7, Reads),    // READ DEFECT DATA(12)
];

/// The classes by operation code and service action, for those codes that have service actions.
const BY_SERVICE_ACTION: &[(u8, u16, CommandClass)] = &[
    (0x7f, 0x0009, Reads), // READ(32)
    (0x7f, 0x000a, Reads), // VERIFY(32)
    (0x9e, 0x10, Always),  // READ CAPACITY(16)
    (0x9e, 0x12, Reads),   // GET LBA STATUS
    (0x9e, 0x13, Always),  // REPORT REFERRALS
    (0xa3, 0x05, Always),  // REPORT IDENTIFYING INFORMATION
    (0xa3, 0x0a, Always),  // REPORT TARGET PORT GROUPS
    (0xa3, 0x0b, Always),  // REPORT ALIASES
    (0xa3, 0x0c, Reads),   // REPORT SUPPORTED OPERATION CODES
    (0xa3, 0x0d, Reads),   // REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS
    (0xa3, 0x0e, Always),  // REPORT PRIORITY
    (0xa3, 0x0f, Always),  // REPORT TIMESTAMP
    (0xa3, 0x10, Reads),   // MANAGEMENT PROTOCOL IN
    (0xab, 0x01, Always),  // READ MEDIA SERIAL NUMBER
];

const START_STOP_UNIT: u8 = 0x1b;
const PREVENT_ALLOW_MEDIUM_REMOVAL: u8 = 0x1e;
const PERSISTENT_RESERVE_OUT: u8 = 0x5f;
const VARIABLE_LENGTH: u8 = 0x7f;

impl CommandClass {
    /// The class of a command. Bytes that are not there count as zero.
    pub fn of(cdb: &[u8]) -> Self {
        let at = |index: usize| cdb.get(index).copied().unwrap_or(0);
        let operation_code = at(0);
        let always_if = |harmless| if harmless { Always } else { Self::Writes };
        match operation_code {
            // To start a unit (START) in its active state (POWER CONDITION zero) takes nothing from anyone.
            START_STOP_UNIT => always_if(at(4) & 0xf1 == 0x01),
            // Nor does allowing the removal again (PREVENT zero).
            PREVENT_ALLOW_MEDIUM_REMOVAL => always_if(at(4) % 4 == 0),
            PERSISTENT_RESERVE_OUT => Self::PersistentReserveOut(OutAction::from_code(at(1) & 0x1f)),
            _ => {
                let service_action = match operation_code {
                    VARIABLE_LENGTH => u16::from_be_bytes([at(8), at(9)]),
                    _ => u16::from(at(1) & 0x1f),
                };
                let by_code = BY_OPERATION_CODE.iter().find(|row| row.0 == operation_code).map(|row| row.1);
                let by_action = || {
                    BY_SERVICE_ACTION.iter().find(|row| (row.0, row.1) == (operation_code, service_action)).map(|r| r.2)
                };
                by_code.or_else(by_action).unwrap_or(Self::Writes)
            }
        }
    }
}

impl LogicalUnit {
    /// Carries out an access to the medium, without any data: a pending unit attention is reported first, and then the
    /// reservation may forbid it.
    pub fn access(&mut self, nexus: Nexus, medium: Medium) -> Completion<'static> {
        if let Some(condition) = self.attention(nexus) {
            return condition;
        }
        let class = match medium {
            Medium::Read => Reads,
            Medium::Write => CommandClass::Writes,
        };
        if self.admits(nexus, class) { Completion::GOOD } else { Completion::status(Status::RESERVATION_CONFLICT) }
    }

    /// What is to be reported before a command of this nexus.
    pub(crate) fn attention(&mut self, nexus: Nexus) -> Option<Completion<'static>> {
        self.forget_aborted();
        if !self.has_target_port(nexus.target_port) {
            return Some(check(NOT_SUPPORTED));
        }
        self.attentions.log_in(nexus);
        self.attentions.take(nexus).map(check)
    }

    /// Whether the reservation, if there is one, lets a command of this nexus pass. A command that it does not let
    /// pass ends with RESERVATION CONFLICT.
    pub fn admits(&self, nexus: Nexus, class: CommandClass) -> bool {
        let registered = self.is_registered(nexus);
        // The holder, and any registrant where the type treats them alike.
        let privileged = self.holds(nexus) || (registered && self.held.is_some_and(|h| h.kind.admits_registrants()));
        match class {
            Always => true,
            Reads => privileged || self.held.is_none_or(|held| !held.kind.excludes_readers()),
            CommandClass::Writes => privileged || self.held.is_none(),
            Reserves => privileged || self.registrations.is_empty(),
            CommandClass::PersistentReserveOut(action) => {
                self.held.is_none() || self.holds(nexus) || admits_change(registered, action)
            }
        }
    }
}

/// PERSISTENT RESERVE OUT of a nexus that does not hold the reservation (SPC-4 5.13.1).
const fn admits_change(registered: bool, action: Option<OutAction>) -> bool {
    match action {
        // What SPC does not name is refused as an invalid field, not as a conflict.
        None | Some(OutAction::Register | OutAction::RegisterAndIgnoreExistingKey) => true,
        Some(OutAction::Reserve | OutAction::RegisterAndMove) => false,
        // RELEASE is let pass and then does nothing.
        Some(
            OutAction::Release
            | OutAction::Clear
            | OutAction::Preempt
            | OutAction::PreemptAndAbort
            | OutAction::ReplaceLostReservation,
        ) => registered,
    }
}
