use core::fmt;

/// A reservation key: eight bytes that an initiator chooses, shown as a number (SPC-4 5.13.5).
///
/// Zero is no key: REGISTER with a service action key of zero unregisters.
///
/// ```
/// use scsi_persistent_reservations::ReservationKey;
///
/// let key = ReservationKey::from_bytes([0, 0, 0, 0, 0, 0, 0xa, 0xbc]);
/// assert_eq!(key.to_string(), "0xabc");
/// assert!(!key.is_zero());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReservationKey(pub u64);

impl ReservationKey {
    /// The key that no registration can have.
    pub const ZERO: Self = Self(0);

    /// Whether this is the "no key" value.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The key as it stands on the wire.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }

    /// The key for the wire.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for ReservationKey {
    /// The way `sg_persist` prints a key: `0x` and hexadecimal digits without leading zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}
