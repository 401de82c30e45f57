use crate::{InAction, OutAction, ParseError, ReservationType, Scope};

/// How many bytes of the sixteen on the wire belong to the command: both commands have ten (SPC-4 6.14, 6.15).
pub const CDB_LENGTH: usize = 10;

const OPERATION_IN: u8 = 0x5e;
const OPERATION_OUT: u8 = 0x5f;

/// A command descriptor block that is known to be one of the two commands; every other bit is as it came.
///
/// Ten bytes are the command's; six more of padding travel with it on the wire.
///
/// ```
/// use scsi_persistent_reservations::{Cdb, Command, InAction};
///
/// let mut bytes = [0; 16];
/// (bytes[0], bytes[8]) = (0x5e, 24);
/// let Command::In(command) = Cdb::new(bytes)?.command() else { unreachable!() };
/// assert_eq!((command.action(), command.allocation_length), (Some(InAction::ReadKeys), 24));
/// # Ok::<(), scsi_persistent_reservations::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cdb([u8; 16]);

impl Cdb {
    /// Takes the sixteen bytes of the wire.
    ///
    /// # Errors
    ///
    /// Where the operation code is another.
    pub const fn new(bytes: [u8; 16]) -> Result<Self, ParseError> {
        match bytes[0] {
            OPERATION_IN | OPERATION_OUT => Ok(Self(bytes)),
            operation_code => Err(ParseError::OperationCode(operation_code)),
        }
    }

    /// The sixteen bytes of the wire.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The ten bytes that are the command, for a device.
    pub fn command_bytes(&self) -> &[u8] {
        &self.0[..CDB_LENGTH]
    }

    /// What the bytes say.
    pub const fn command(&self) -> Command {
        let b = &self.0;
        let service_action = b[1] & 0x1f;
        if b[0] == OPERATION_IN {
            Command::In(PersistentReserveIn { service_action, allocation_length: u16::from_be_bytes([b[7], b[8]]) })
        } else {
            Command::Out(PersistentReserveOut {
                service_action,
                scope_type: b[2],
                parameter_list_length: u32::from_be_bytes([b[5], b[6], b[7], b[8]]),
            })
        }
    }
}

/// One of the two commands, its fields by name.
///
/// ```
/// use scsi_persistent_reservations::{Command, OutAction, PersistentReserveOut};
///
/// let clear = PersistentReserveOut::new(OutAction::Clear, None, 24);
/// assert_eq!(clear.cdb().command(), Command::Out(clear));
/// assert_eq!(Command::Out(clear).to_string(), "CLEAR");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// PERSISTENT RESERVE IN: asks.
    In(PersistentReserveIn),
    /// PERSISTENT RESERVE OUT: changes.
    Out(PersistentReserveOut),
}

impl core::fmt::Display for Command {
    /// The service action by its name, or by its number where SPC names none.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::In(command) => match command.action() {
                Some(action) => action.fmt(f),
                None => write!(f, "PERSISTENT RESERVE IN {:#04x}", command.service_action),
            },
            Self::Out(command) => match command.action() {
                Some(action) => action.fmt(f),
                None => write!(f, "PERSISTENT RESERVE OUT {:#04x}", command.service_action),
            },
        }
    }
}

/// The fields of a PERSISTENT RESERVE IN (SPC-4 table 216).
///
/// ```
/// use scsi_persistent_reservations::{InAction, PersistentReserveIn};
///
/// let cdb = PersistentReserveIn::new(InAction::ReadReservation, 24).cdb();
/// assert_eq!(cdb.command_bytes(), [0x5e, 1, 0, 0, 0, 0, 0, 0, 24, 0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PersistentReserveIn {
    /// Five bits; see [`PersistentReserveIn::action`].
    pub service_action: u8,
    /// How many bytes of parameter data the client takes at most.
    pub allocation_length: u16,
}

/// The fields of a PERSISTENT RESERVE OUT (SPC-4 table 227).
///
/// ```
/// use scsi_persistent_reservations::{OutAction, PersistentReserveOut, ReservationType};
///
/// let reserve = PersistentReserveOut::new(OutAction::Reserve, Some(ReservationType::WriteExclusive), 24);
/// assert_eq!(reserve.cdb().command_bytes(), [0x5f, 1, 1, 0, 0, 0, 0, 0, 24, 0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PersistentReserveOut {
    /// Five bits; see [`PersistentReserveOut::action`].
    pub service_action: u8,
    /// Scope in the upper, type in the lower four bits.
    pub scope_type: u8,
    /// How many bytes of parameter list follow.
    pub parameter_list_length: u32,
}

impl PersistentReserveIn {
    /// A command that asks for `action` and takes up to `allocation_length` bytes.
    pub const fn new(action: InAction, allocation_length: u16) -> Self {
        Self { service_action: action.code(), allocation_length }
    }

    /// The service action, where SPC names it.
    pub const fn action(&self) -> Option<InAction> {
        InAction::from_code(self.service_action)
    }

    /// The command as bytes.
    pub const fn cdb(&self) -> Cdb {
        let [l7, l8] = self.allocation_length.to_be_bytes();
        Cdb([OPERATION_IN, self.service_action & 0x1f, 0, 0, 0, 0, 0, l7, l8, 0, 0, 0, 0, 0, 0, 0])
    }
}

impl PersistentReserveOut {
    /// A command that carries out `action` for a reservation of the logical unit and of this type (`None` where the
    /// action has no use for one), with a parameter list of so many bytes.
    pub const fn new(action: OutAction, kind: Option<ReservationType>, parameter_list_length: u32) -> Self {
        let scope_type = match kind {
            Some(kind) => kind.code(),
            None => 0,
        };
        Self { service_action: action.code(), scope_type, parameter_list_length }
    }

    /// The service action, where SPC names it.
    pub const fn action(&self) -> Option<OutAction> {
        OutAction::from_code(self.service_action)
    }

    /// The scope field.
    pub const fn scope(&self) -> Scope {
        Scope::from_scope_type(self.scope_type)
    }

    /// The type field, where SPC names its value.
    pub const fn reservation_type(&self) -> Option<ReservationType> {
        ReservationType::from_scope_type(self.scope_type)
    }

    /// The command as bytes.
    pub const fn cdb(&self) -> Cdb {
        let [l5, l6, l7, l8] = self.parameter_list_length.to_be_bytes();
        let action = self.service_action & 0x1f;
        Cdb([OPERATION_OUT, action, self.scope_type, 0, 0, l5, l6, l7, l8, 0, 0, 0, 0, 0, 0, 0])
    }
}
