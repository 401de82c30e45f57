use core::fmt;

use crate::{DataIn, ParseError, transport_id_format as format};

/// The name of an initiator port (SPC-4 7.6.4).
///
/// ```
/// use scsi_persistent_reservations::TransportId;
///
/// let mut bytes = [0; 24];
/// (bytes[0], bytes[4], bytes[11]) = (0x06, 0x50, 0x01);
/// let (id, rest) = TransportId::parse(&bytes)?;
/// assert_eq!((id.to_string().as_str(), rest), ("sas:0x5000000000000001", &[][..]));
/// # Ok::<(), scsi_persistent_reservations::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransportId<'data> {
    /// Fibre Channel: the `N_Port_Name`.
    FibreChannel {
        /// The world wide name.
        n_port_name: [u8; 8],
    },
    /// Parallel SCSI (obsolete).
    ParallelScsi {
        /// The SCSI address.
        address: u16,
        /// The relative target port identifier.
        relative_target_port: u16,
    },
    /// Serial bus protocol, IEEE 1394.
    Sbp {
        /// The initiator's EUI-64.
        eui64: [u8; 8],
    },
    /// SCSI RDMA protocol.
    Srp {
        /// The initiator port identifier.
        initiator_port: [u8; 16],
    },
    /// iSCSI, whole initiator (format 0) or one of its sessions (format 1).
    Iscsi {
        /// The initiator's name, `iqn.…` for example, as bytes: nothing promises that they are UTF-8.
        name: &'data [u8],
        /// The hexadecimal digits of the initiator session identifier, for format 1.
        session: Option<&'data [u8]>,
    },
    /// Serial attached SCSI.
    Sas {
        /// The SAS address.
        address: [u8; 8],
    },
    /// SCSI over PCIe.
    Sop {
        /// The PCIe routing identifier.
        routing_id: u16,
    },
    /// A protocol or format not named here, or one that breaks its own rules: the bytes as they came.
    Other(&'data [u8]),
}

impl<'data> TransportId<'data> {
    /// Reads the TransportID at the start of `data`; what follows it is the second value.
    ///
    /// # Errors
    ///
    /// Where the data ends inside the TransportID, or an iSCSI name breaks its rules.
    pub fn parse(data: &'data [u8]) -> Result<(Self, &'data [u8]), ParseError> {
        format::parse(data)
    }

    /// Reads a field that is one TransportID to its end; what cannot be read is kept raw.
    pub fn from_field(field: &'data [u8]) -> Self {
        match format::parse(field) {
            Ok((id, [])) => id,
            _ => Self::Other(field),
        }
    }

    /// How many bytes it takes on the wire.
    pub fn length(&self) -> usize {
        format::length(self)
    }

    /// Writes it.
    pub fn write(&self, out: &mut DataIn<'_>) {
        format::write(self, out);
    }
}

impl fmt::Display for TransportId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |f: &mut fmt::Formatter<'_>, bytes: &[u8]| bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"));
        let text = |f: &mut fmt::Formatter<'_>, bytes: &[u8]| write!(f, "{}", bytes.escape_ascii());
        match self {
            Self::FibreChannel { n_port_name } => f.write_str("fc:0x").and_then(|()| hex(f, n_port_name)),
            Self::ParallelScsi { address, relative_target_port } => write!(f, "spi:{address},{relative_target_port}"),
            Self::Sbp { eui64 } => f.write_str("sbp:0x").and_then(|()| hex(f, eui64)),
            Self::Srp { initiator_port } => f.write_str("srp:0x").and_then(|()| hex(f, initiator_port)),
            Self::Iscsi { name, session } => {
                text(f, name)?;
                session.map_or(Ok(()), |isid| f.write_str(",i,0x").and_then(|()| text(f, isid)))
            }
            Self::Sas { address } => f.write_str("sas:0x").and_then(|()| hex(f, address)),
            Self::Sop { routing_id } => write!(f, "sop:{routing_id:#06x}"),
            Self::Other(bytes) => f.write_str("raw:").and_then(|()| hex(f, bytes)),
        }
    }
}

/// A list of TransportIDs, one behind the other, as `SPEC_I_PT` adds it to a parameter list.
///
/// ```
/// use scsi_persistent_reservations::{TransportId, TransportIds};
///
/// let mut bytes = [0; 48];
/// (bytes[0], bytes[24]) = (0x06, 0x06);
/// let sas = TransportId::Sas { address: [0; 8] };
/// assert!(TransportIds::new(&bytes).iter().eq([Ok(sas), Ok(sas)]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportIds<'data>(&'data [u8]);

impl<'data> TransportIds<'data> {
    /// The list in these bytes. They are read as the list is iterated.
    pub const fn new(data: &'data [u8]) -> Self {
        Self(data)
    }

    /// The bytes of the list.
    pub const fn as_bytes(&self) -> &'data [u8] {
        self.0
    }

    /// The TransportIDs; an error is the last item.
    pub fn iter(&self) -> impl Iterator<Item = Result<TransportId<'data>, ParseError>> + use<'data> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let parsed = TransportId::parse(rest);
            rest = parsed.as_ref().map_or(&[], |(_, rest)| *rest);
            Some(parsed.map(|(id, _)| id))
        })
    }
}
