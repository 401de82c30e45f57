use scsi_persistent_reservations::TransportId;

/// An initiator port, by a number.
///
/// The number is the port's SAS address, so that every number has a TransportID and every SAS TransportID its number,
/// whether or not the port was ever seen. Numbers whose upper four bits are all ones (an address format that no
/// standard assigns) stand for ports with a name of another protocol; a logical unit hands those out itself, see
/// [`LogicalUnit::log_in`](crate::LogicalUnit::log_in).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InitiatorPort(pub u64);

/// Addresses that no manufacturer gives: locally assigned ones (NAA 3).
const LOCAL: u64 = 0x3000_0000_0000_0000;

/// The local addresses of ports with a name of their own.
const NAMED: u64 = LOCAL | 0x0800_0000_0000_0000;

impl InitiatorPort {
    /// The first number for a port that is no SAS port.
    pub(crate) const FIRST_NAMED: Self = Self(0xf000_0000_0000_0000);

    /// The port of a client that is known by a number alone.
    ///
    /// ```
    /// use pr_sim::InitiatorPort;
    ///
    /// assert_eq!(InitiatorPort::of_client(2), InitiatorPort(0x3000_0000_0000_0002));
    /// ```
    pub const fn of_client(number: u64) -> Self {
        Self(LOCAL | number & 0x07ff_ffff_ffff_ffff)
    }

    /// The port of a client with a name. It is the same wherever the name is, and none of [`Self::of_client`].
    ///
    /// ```
    /// use pr_sim::InitiatorPort;
    ///
    /// let alpha = InitiatorPort::named("alpha");
    /// assert_eq!(alpha, InitiatorPort::named("alpha"));
    /// assert_ne!(alpha, InitiatorPort::named("beta"));
    /// ```
    pub fn named(name: &str) -> Self {
        // FNV-1a: the same in every release and on every machine.
        let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        // Zero stands for no name elsewhere.
        Self::from_hash(hash.max(1))
    }

    /// The name's hash; `None` for a port without one.
    pub(crate) fn hash(self) -> Option<u32> {
        u32::try_from(self.0 ^ NAMED).ok()
    }

    /// The port whose name has this hash.
    pub(crate) fn from_hash(hash: u32) -> Self {
        Self(NAMED | u64::from(hash))
    }

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
