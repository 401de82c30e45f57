//! Parameter lists of PERSISTENT RESERVE OUT (SPC-4 6.15.3, 6.15.4).

use crate::{
    DataIn, ParseError, ReservationKey, TransportId, TransportIds,
    bytes::{read_array, read_u16, read_u32},
};

/// The length of the basic parameter list, without TransportIDs.
pub const BASIC_LENGTH: usize = 24;

const SPEC_I_PT: u8 = 0x08;
const ALL_TG_PT: u8 = 0x04;
const APTPL: u8 = 0x01;

const UNREG: u8 = 0x02;

/// The basic parameter list: every service action but REGISTER AND MOVE.
///
/// ```
/// use scsi_persistent_reservations::{BasicParameters, ReservationKey};
///
/// // REGISTER of a new key, to persist through power loss.
/// let keys = BasicParameters::keys(ReservationKey::ZERO, ReservationKey(0xabc));
/// let list = BasicParameters { activate_persist: true, ..keys }.to_bytes();
/// assert_eq!(BasicParameters::parse(&list)?.service_action_key, ReservationKey(0xabc));
/// assert_eq!(list[20], 0x01);
/// # Ok::<(), scsi_persistent_reservations::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BasicParameters<'list> {
    /// RESERVATION KEY: the sender's own key.
    pub key: ReservationKey,
    /// SERVICE ACTION RESERVATION KEY: the new key, or that of the one to preempt.
    pub service_action_key: ReservationKey,
    /// APTPL: registrations are to persist through power loss.
    pub activate_persist: bool,
    /// `ALL_TG_PT`: register on every target port.
    pub all_target_ports: bool,
    /// The TransportIDs of the initiator ports to register as well, where `SPEC_I_PT` is set.
    pub initiator_ports: Option<TransportIds<'list>>,
}

impl<'list> BasicParameters<'list> {
    /// A list with two keys and nothing else.
    pub const fn keys(key: ReservationKey, service_action_key: ReservationKey) -> Self {
        Self { key, service_action_key, activate_persist: false, all_target_ports: false, initiator_ports: None }
    }

    /// Reads a list. Bytes after the fields are left alone unless `SPEC_I_PT` gives them a meaning.
    ///
    /// # Errors
    ///
    /// Where the list is too short, or the length of the TransportIDs is not that of the rest.
    pub fn parse(list: &'list [u8]) -> Result<Self, ParseError> {
        let (Some(key), Some(service_action_key), Some(&flags), true) =
            (read_array(list, 0), read_array(list, 8), list.get(20), list.len() >= BASIC_LENGTH)
        else {
            return Err(ParseError::TooShort);
        };
        let initiator_ports = if flags & SPEC_I_PT == 0 {
            None
        } else {
            let length = read_u32(list, BASIC_LENGTH).ok_or(ParseError::TooShort)? as usize;
            let ports = &list[BASIC_LENGTH + 4..];
            (length == ports.len()).then_some(Some(TransportIds::new(ports))).ok_or(ParseError::Length)?
        };
        Ok(Self {
            key: ReservationKey::from_bytes(key),
            service_action_key: ReservationKey::from_bytes(service_action_key),
            activate_persist: flags & APTPL != 0,
            all_target_ports: flags & ALL_TG_PT != 0,
            initiator_ports,
        })
    }

    /// How long the list is.
    pub fn length(&self) -> usize {
        BASIC_LENGTH + self.initiator_ports.as_ref().map_or(0, |ports| 4 + ports.as_bytes().len())
    }

    /// Writes the list.
    pub fn write(&self, out: &mut DataIn<'_>) {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = flag(self.initiator_ports.is_some(), SPEC_I_PT)
            | flag(self.all_target_ports, ALL_TG_PT)
            | flag(self.activate_persist, APTPL);
        out.put(&self.key.to_bytes());
        out.put(&self.service_action_key.to_bytes());
        out.put(&[0, 0, 0, 0, flags, 0, 0, 0]);
        if let Some(ports) = &self.initiator_ports {
            out.put(&u32::try_from(ports.as_bytes().len()).unwrap_or(u32::MAX).to_be_bytes());
            out.put(ports.as_bytes());
        }
    }

    /// The list of a command that specifies no initiator ports.
    pub fn to_bytes(&self) -> [u8; BASIC_LENGTH] {
        let mut bytes = [0; BASIC_LENGTH];
        Self { initiator_ports: None, ..*self }.write(&mut DataIn::new(&mut bytes));
        bytes
    }
}

/// The parameter list of REGISTER AND MOVE.
///
/// ```
/// use scsi_persistent_reservations::{DataIn, MoveParameters, ReservationKey, TransportId};
///
/// let destination = MoveParameters {
///     key: ReservationKey(0xabc),
///     service_action_key: ReservationKey(0xdef),
///     unregister: true,
///     activate_persist: false,
///     relative_target_port: 1,
///     transport_id: TransportId::Sas { address: [0x50, 0, 0, 0, 0, 0, 0, 1] },
/// };
/// let mut list = vec![0; destination.length()];
/// destination.write(&mut DataIn::new(&mut list));
/// assert_eq!(MoveParameters::parse(&list), Ok(destination));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoveParameters<'list> {
    /// RESERVATION KEY: the sender's own key.
    pub key: ReservationKey,
    /// SERVICE ACTION RESERVATION KEY: the key to register for the destination.
    pub service_action_key: ReservationKey,
    /// UNREG: the sender's registration ends.
    pub unregister: bool,
    /// APTPL: registrations are to persist through power loss.
    pub activate_persist: bool,
    /// The target port of the destination nexus.
    pub relative_target_port: u16,
    /// The initiator port of the destination nexus.
    pub transport_id: TransportId<'list>,
}

impl<'list> MoveParameters<'list> {
    /// Reads a list. The TransportID has to fill it to its end.
    ///
    /// # Errors
    ///
    /// Where the list is too short, or the length of the TransportID is not that of the rest.
    pub fn parse(list: &'list [u8]) -> Result<Self, ParseError> {
        let (Some(key), Some(service_action_key), Some(relative_target_port), Some(length)) =
            (read_array(list, 0), read_array(list, 8), read_u16(list, 18), read_u32(list, 20))
        else {
            return Err(ParseError::TooShort);
        };
        let transport_id = &list[24..];
        if transport_id.len() != length as usize {
            return Err(ParseError::Length);
        }
        Ok(Self {
            key: ReservationKey::from_bytes(key),
            service_action_key: ReservationKey::from_bytes(service_action_key),
            unregister: list[17] & UNREG != 0,
            activate_persist: list[17] & APTPL != 0,
            relative_target_port,
            transport_id: TransportId::from_field(transport_id),
        })
    }

    /// How long the list is.
    pub fn length(&self) -> usize {
        24 + self.transport_id.length()
    }

    /// Writes the list.
    pub fn write(&self, out: &mut DataIn<'_>) {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.put(&self.key.to_bytes());
        out.put(&self.service_action_key.to_bytes());
        out.put(&[0, flag(self.unregister, UNREG) | flag(self.activate_persist, APTPL)]);
        out.put(&self.relative_target_port.to_be_bytes());
        out.put(&u32::try_from(self.transport_id.length()).unwrap_or(u32::MAX).to_be_bytes());
        self.transport_id.write(out);
    }
}
