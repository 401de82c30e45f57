//! TransportIDs on the command line, in the form that `status` prints them.

use scsi_persistent_reservations::{DataIn, TransportId};

/// What a TransportID looks like.
const FORMS: &str = "a TransportID has one of the forms sas:0x…, fc:0x…, srp:0x…, sbp:0x…, sop:0x…, spi:ADDRESS,PORT, \
                     or an iSCSI name, with its session as iqn.…,i,0x…";

/// An initiator port: its TransportID as the bytes that go to the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitiatorPort(Vec<u8>);

impl InitiatorPort {
    /// The TransportID.
    pub fn id(&self) -> TransportId<'_> {
        TransportId::from_field(&self.0)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The initiator port that a text names.
pub fn parse(text: &str) -> Result<InitiatorPort, String> {
    id_of(text).map(|id| InitiatorPort(bytes(&id))).ok_or_else(|| FORMS.to_owned())
}

fn bytes(id: &TransportId<'_>) -> Vec<u8> {
    let mut bytes = vec![0; id.length()];
    id.write(&mut DataIn::new(&mut bytes));
    bytes
}

fn id_of(text: &str) -> Option<TransportId<'_>> {
    if ["iqn.", "eui.", "naa."].iter().any(|start| text.starts_with(start)) {
        return iscsi(text);
    }
    let (protocol, value) = text.split_once(':')?;
    Some(match protocol {
        "sas" => TransportId::Sas { address: hexadecimal(value)? },
        "fc" => TransportId::FibreChannel { n_port_name: hexadecimal(value)? },
        "sbp" => TransportId::Sbp { eui64: hexadecimal(value)? },
        "srp" => TransportId::Srp { initiator_port: hexadecimal(value)? },
        "sop" => TransportId::Sop { routing_id: u16::from_be_bytes(hexadecimal(value)?) },
        "spi" => {
            let (address, port) = value.split_once(',')?;
            TransportId::ParallelScsi { address: address.parse().ok()?, relative_target_port: port.parse().ok()? }
        }
        _ => return None,
    })
}

/// An iSCSI name has at most 223 bytes and no blanks (RFC 7143, 4.2.7.1).
fn iscsi(text: &str) -> Option<TransportId<'_>> {
    let (name, session) = match text.split_once(",i,0x") {
        Some((name, session)) => (name, Some(session)),
        None => (text, None),
    };
    let proper = name.len() <= 223 && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    let digits =
        session.is_none_or(|isid| !isid.is_empty() && isid.len() <= 12 && isid.bytes().all(|b| b.is_ascii_hexdigit()));
    (proper && digits).then_some(TransportId::Iscsi { name: name.as_bytes(), session: session.map(str::as_bytes) })
}

/// All digits have to be there: half an address is another one.
fn hexadecimal<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.strip_prefix("0x")?;
    if digits.len() != 2 * N || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_status_prints_is_understood() {
        for text in [
            "sas:0x5000000000000001",
            "fc:0x2100000000000001",
            "sbp:0x0011223344556677",
            "srp:0x00112233445566778899aabbccddeeff",
            "sop:0x0102",
            "spi:3,1",
            "iqn.2001-04.example:a",
            "iqn.2001-04.example:a,i,0x00023d000001",
        ] {
            assert_eq!(parse(text).expect(text).id().to_string(), text);
        }
    }

    #[test]
    fn what_names_no_port_is_answered_with_what_does() {
        let long = format!("iqn.{}", "a".repeat(230));
        for text in [
            "",
            "sas",
            "sas:",
            "sas:5",
            "sas:0x5",
            "sas:0x500000000000000g",
            "usb:0x01",
            "iqn.a b",
            "iqn.a,i,0x",
            &long,
        ] {
            assert!(parse(text).is_err_and(|reason| reason.contains("sas:0x")), "{text}");
        }
    }
}
