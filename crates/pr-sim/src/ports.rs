//! Initiator ports that are no SAS ports: their TransportIDs, and the numbers that stand for them.

use std::collections::BTreeMap;

use scsi_persistent_reservations::{DataIn, TransportId};

use crate::InitiatorPort;

/// No TransportID that is longer names a port: an iSCSI name has at most 223 bytes. A bound, because a guest chooses
/// the names.
const MAX_LENGTH: usize = 256;

/// The names of ports that are no SAS ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ports(BTreeMap<InitiatorPort, Box<[u8]>>);

impl Ports {
    /// The TransportID of a port.
    pub(crate) fn transport_id(&self, port: InitiatorPort) -> TransportId<'_> {
        self.0.get(&port).map_or_else(|| port.sas(), |name| TransportId::from_field(name))
    }

    /// The port with this TransportID, which gets a number if it has none yet. `None` where the TransportID is of no
    /// known protocol and so names nothing.
    pub(crate) fn resolve(&mut self, id: &TransportId<'_>) -> Option<InitiatorPort> {
        match id {
            TransportId::Sas { address } => {
                let port = InitiatorPort(u64::from_be_bytes(*address));
                (port < InitiatorPort::FIRST_NAMED).then_some(port)
            }
            TransportId::Other(_) => None,
            named if named.length() > MAX_LENGTH => None,
            named => Some(self.named(named)),
        }
    }

    fn named(&mut self, id: &TransportId<'_>) -> InitiatorPort {
        // Written anew, so that reserved bits and padding do not make two ports out of one.
        let mut bytes = vec![0; id.length()];
        id.write(&mut DataIn::new(&mut bytes));
        if let Some((port, _)) = self.0.iter().find(|(_, name)| ***name == *bytes) {
            return *port;
        }
        let next = self.0.last_key_value().map_or(InitiatorPort::FIRST_NAMED.0, |(last, _)| last.0.wrapping_add(1));
        self.0.insert(InitiatorPort(next), bytes.into_boxed_slice());
        InitiatorPort(next)
    }

    /// Forgets the names of ports that are not in use.
    pub(crate) fn retain(&mut self, in_use: impl Fn(InitiatorPort) -> bool) {
        self.0.retain(|port, _| in_use(*port));
    }
}
