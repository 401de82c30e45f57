use crate::{ParseError, ReservationType, bytes::read_array};

const LENGTH: u16 = 8;

const REPLACE_LOST: u8 = 0x80;
const COMPATIBLE_RESERVATION_HANDLING: u8 = 0x10;
const SPECIFY_INITIATOR_PORTS: u8 = 0x08;
const ALL_TARGET_PORTS: u8 = 0x04;
const PERSIST_THROUGH_POWER_LOSS: u8 = 0x01;

const TYPE_MASK_VALID: u8 = 0x80;
const PERSIST_THROUGH_POWER_LOSS_ACTIVE: u8 = 0x01;

/// The parameter data of REPORT CAPABILITIES (SPC-4 6.14.4).
///
/// ```
/// use scsi_persistent_reservations::{Capabilities, ReservationType};
///
/// let device = Capabilities { types: Some(Capabilities::all_types()), ..Capabilities::default() };
/// let read = Capabilities::parse(&device.to_bytes()).expect("eight bytes");
/// assert_eq!(read.supports(ReservationType::WriteExclusive), Some(true));
/// assert!(!read.persist_through_power_loss);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a bit of its own in SPC")]
pub struct Capabilities {
    /// `RLR_C`: REPLACE LOST RESERVATION is supported.
    pub replace_lost: bool,
    /// CRH: RESERVE and RELEASE of SPC-2 live beside persistent reservations.
    pub compatible_reservation_handling: bool,
    /// `SIP_C`: `SPEC_I_PT` is supported.
    pub specify_initiator_ports: bool,
    /// `ATP_C`: `ALL_TG_PT` is supported.
    pub all_target_ports: bool,
    /// `PTPL_C`: registrations can persist through power loss.
    pub persist_through_power_loss: bool,
    /// `PTPL_A`: they do so now.
    pub persist_through_power_loss_active: bool,
    /// ALLOW COMMANDS, three bits: which commands a reservation lets pass (SPC-4 table 221).
    pub allow_commands: u8,
    /// The types that are supported, as their codes' bits (bit 1 = Write Exclusive, …); `None` where the device does
    /// not say (TMV = 0).
    pub types: Option<u16>,
}

impl Capabilities {
    /// Reads the data. Fields past its end read as zero, as the allocation length may cut them off.
    ///
    /// # Errors
    ///
    /// Where it does not even say its own length.
    pub fn parse(data: &[u8]) -> Result<Self, ParseError> {
        let declared = usize::from(u16::from_be_bytes(read_array(data, 0).ok_or(ParseError::TooShort)?));
        let data = &data[..data.len().min(declared.max(2))];
        let at = |index: usize| data.get(index).copied().unwrap_or(0);
        let (flags, more) = (at(2), at(3));
        Ok(Self {
            replace_lost: flags & REPLACE_LOST != 0,
            compatible_reservation_handling: flags & COMPATIBLE_RESERVATION_HANDLING != 0,
            specify_initiator_ports: flags & SPECIFY_INITIATOR_PORTS != 0,
            all_target_ports: flags & ALL_TARGET_PORTS != 0,
            persist_through_power_loss: flags & PERSIST_THROUGH_POWER_LOSS != 0,
            persist_through_power_loss_active: more & PERSIST_THROUGH_POWER_LOSS_ACTIVE != 0,
            allow_commands: (more >> 4) & 0x07,
            types: (more & TYPE_MASK_VALID != 0)
                .then(|| ReservationType::ALL.into_iter().filter(|t| has(at(4), at(5), *t)).fold(0, |m, t| m | bit(t))),
        })
    }

    /// The eight bytes for the wire.
    pub fn to_bytes(&self) -> [u8; 8] {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = flag(self.replace_lost, REPLACE_LOST)
            | flag(self.compatible_reservation_handling, COMPATIBLE_RESERVATION_HANDLING)
            | flag(self.specify_initiator_ports, SPECIFY_INITIATOR_PORTS)
            | flag(self.all_target_ports, ALL_TARGET_PORTS)
            | flag(self.persist_through_power_loss, PERSIST_THROUGH_POWER_LOSS);
        let more = flag(self.types.is_some(), TYPE_MASK_VALID)
            | (self.allow_commands & 0x07) << 4
            | flag(self.persist_through_power_loss_active, PERSIST_THROUGH_POWER_LOSS_ACTIVE);
        // The wire has the codes 0 to 7 in byte 4 and 8 to 15 in byte 5.
        let [high, low] = self.types.unwrap_or(0).to_be_bytes();
        let [l0, l1] = LENGTH.to_be_bytes();
        [l0, l1, flags, more, low, high, 0, 0]
    }

    /// Whether the device says that it supports a type; `None` where it says nothing about types.
    pub fn supports(&self, kind: ReservationType) -> Option<bool> {
        self.types.map(|types| types & bit(kind) != 0)
    }

    /// The `types` value of a device that supports all six.
    pub fn all_types() -> u16 {
        ReservationType::ALL.into_iter().fold(0, |mask, kind| mask | bit(kind))
    }
}

const fn bit(kind: ReservationType) -> u16 {
    1 << kind.code()
}

/// Byte 4 has the bits of the types 0 to 7, byte 5 those of 8 to 15.
const fn has(byte4: u8, byte5: u8, kind: ReservationType) -> bool {
    u16::from_be_bytes([byte5, byte4]) & bit(kind) != 0
}
