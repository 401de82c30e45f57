//! The wire formats of TransportIDs, protocol by protocol (SPC-4 7.6.4.2 to 7.6.4.9).

use crate::{
    DataIn, ParseError, TransportId,
    bytes::{read_array, read_u16},
};

/// Every protocol but iSCSI has TransportIDs of this length.
const FIXED_LENGTH: usize = 24;
const ISCSI_MIN_NAME: usize = 20;
const SESSION_SEPARATOR: &[u8] = b",i,0x";

const FIBRE_CHANNEL: u8 = 0;
const PARALLEL_SCSI: u8 = 1;
const SBP: u8 = 3;
const SRP: u8 = 4;
const ISCSI: u8 = 5;
const SAS: u8 = 6;
const SOP: u8 = 10;

/// Format code 01b, in place: an iSCSI name with a session identifier.
const WITH_SESSION: u8 = 0x40;

pub(crate) fn parse(data: &[u8]) -> Result<(TransportId<'_>, &[u8]), ParseError> {
    let (&first, _) = data.split_first().ok_or(ParseError::TooShort)?;
    let (format_code, protocol) = (first & 0xc0, first & 0x0f);
    if protocol == ISCSI && format_code <= WITH_SESSION {
        return iscsi(data, format_code == WITH_SESSION);
    }
    let (id, rest) = data.split_at_checked(FIXED_LENGTH).ok_or(ParseError::TooShort)?;
    Ok((fixed(id, format_code, protocol).unwrap_or(TransportId::Other(id)), rest))
}

/// `None` for a protocol or a format code that is not named here.
fn fixed(id: &[u8], format_code: u8, protocol: u8) -> Option<TransportId<'_>> {
    if format_code != 0 {
        return None;
    }
    Some(match protocol {
        FIBRE_CHANNEL => TransportId::FibreChannel { n_port_name: read_array(id, 8)? },
        PARALLEL_SCSI => {
            TransportId::ParallelScsi { address: read_u16(id, 2)?, relative_target_port: read_u16(id, 6)? }
        }
        SBP => TransportId::Sbp { eui64: read_array(id, 8)? },
        SRP => TransportId::Srp { initiator_port: read_array(id, 8)? },
        SAS => TransportId::Sas { address: read_array(id, 4)? },
        SOP => TransportId::Sop { routing_id: read_u16(id, 2)? },
        _ => return None,
    })
}

fn iscsi(data: &[u8], with_session: bool) -> Result<(TransportId<'_>, &[u8]), ParseError> {
    let length = usize::from(read_u16(data, 2).ok_or(ParseError::TooShort)?);
    if length < ISCSI_MIN_NAME || !length.is_multiple_of(4) {
        return Err(ParseError::IscsiLength);
    }
    let (field, rest) = data[4..].split_at_checked(length).ok_or(ParseError::TooShort)?;
    let end = field.iter().position(|byte| *byte == 0).ok_or(ParseError::IscsiName)?;
    let text = &field[..end];
    if !with_session {
        return Ok((TransportId::Iscsi { name: text, session: None }, rest));
    }
    let at = text.windows(SESSION_SEPARATOR.len()).rposition(|window| window == SESSION_SEPARATOR);
    let (name, session) = text.split_at(at.ok_or(ParseError::IscsiName)?);
    let session = &session[SESSION_SEPARATOR.len()..];
    if session.is_empty() {
        return Err(ParseError::IscsiName);
    }
    Ok((TransportId::Iscsi { name, session: Some(session) }, rest))
}

/// The ADDITIONAL LENGTH of an iSCSI TransportID: the text with its terminator, padded to a multiple of four.
fn iscsi_name_length(name: &[u8], session: Option<&[u8]>) -> usize {
    let text = name.len() + session.map_or(0, |isid| SESSION_SEPARATOR.len() + isid.len()) + 1;
    text.next_multiple_of(4).max(ISCSI_MIN_NAME)
}

pub(crate) fn length(id: &TransportId<'_>) -> usize {
    match id {
        TransportId::Iscsi { name, session } => 4 + iscsi_name_length(name, *session),
        TransportId::Other(bytes) => bytes.len(),
        _ => FIXED_LENGTH,
    }
}

pub(crate) fn write(id: &TransportId<'_>, out: &mut DataIn<'_>) {
    let mut fixed = |protocol: u8, fields: &[(usize, &[u8])]| {
        let mut bytes = [0; FIXED_LENGTH];
        bytes[0] = protocol;
        for (offset, field) in fields {
            bytes[*offset..*offset + field.len()].copy_from_slice(field);
        }
        out.put(&bytes);
    };
    match id {
        TransportId::FibreChannel { n_port_name } => fixed(FIBRE_CHANNEL, &[(8, n_port_name)]),
        TransportId::ParallelScsi { address, relative_target_port } => {
            fixed(PARALLEL_SCSI, &[(2, &address.to_be_bytes()), (6, &relative_target_port.to_be_bytes())]);
        }
        TransportId::Sbp { eui64 } => fixed(SBP, &[(8, eui64)]),
        TransportId::Srp { initiator_port } => fixed(SRP, &[(8, initiator_port)]),
        TransportId::Sas { address } => fixed(SAS, &[(4, address)]),
        TransportId::Sop { routing_id } => fixed(SOP, &[(2, &routing_id.to_be_bytes())]),
        TransportId::Iscsi { name, session } => write_iscsi(name, *session, out),
        TransportId::Other(bytes) => out.put(bytes),
    }
}

fn write_iscsi(name: &[u8], session: Option<&[u8]>, out: &mut DataIn<'_>) {
    let length = iscsi_name_length(name, session);
    let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    out.put(&[ISCSI | if session.is_some() { WITH_SESSION } else { 0 }, 0, high, low]);
    let start = out.length();
    out.put(name);
    if let Some(isid) = session {
        out.put(SESSION_SEPARATOR);
        out.put(isid);
    }
    while out.length() - start < length {
        out.put(&[0]);
    }
}
