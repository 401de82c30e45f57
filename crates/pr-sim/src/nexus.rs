use scsi_persistent_reservations::TransportId;

/// An initiator port, by a number.
///
/// The number is the port's SAS address, so that every number has a TransportID and every SAS TransportID its number,
/// whether or not the port was ever seen. Numbers whose upper four bits are all ones (an address format that no
/// standard assigns) stand for ports with a name of another protocol; a logical unit hands those out itself, see
/// [`LogicalUnit::log_in`](crate::LogicalUnit::log_in).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InitiatorPort(pub u64);

impl InitiatorPort {
    /// The first number for a port that is no SAS port.
    pub(crate) const FIRST_NAMED: Self = Self(0xf000_0000_0000_0000);

    /// The TransportID of a SAS port.
    pub const fn sas(self) -> TransportId<'static> {
        TransportId::Sas { address: self.0.to_be_bytes() }
    }
}

/// An I_T nexus: an initiator port and the target port that it sends its commands to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nexus {
    /// The initiator port.
    pub initiator: InitiatorPort,
    /// The relative target port identifier: the target ports of a unit count from one.
    pub target_port: u16,
}

impl Nexus {
    /// The same initiator port through another target port.
    pub(crate) const fn through(self, target_port: u16) -> Self {
        Self { target_port, ..self }
    }
}
