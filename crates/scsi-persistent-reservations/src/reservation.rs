use core::fmt;

/// The scope of a reservation (SPC-4 6.15.3.2). SPC-3 and later know the logical unit only.
///
/// ```
/// use scsi_persistent_reservations::Scope;
///
/// assert_eq!(Scope::from_scope_type(0x05), Scope::LOGICAL_UNIT);
/// assert_eq!(Scope::from_scope_type(0x25).to_string(), "obsolete scope 0x2");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scope(u8);

impl Scope {
    /// The reservation covers the whole logical unit.
    pub const LOGICAL_UNIT: Self = Self(0);

    /// The scope in the upper four bits of a scope-and-type byte.
    pub const fn from_scope_type(byte: u8) -> Self {
        Self(byte >> 4)
    }

    /// The code, four bits.
    pub const fn code(self) -> u8 {
        self.0
    }

    /// Whether SPC still defines this scope.
    pub const fn is_logical_unit(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.pad("logical unit"),
            code => write!(f, "obsolete scope {code:#x}"),
        }
    }
}

/// The type of a reservation (SPC-4 table 219).
///
/// ```
/// use scsi_persistent_reservations::ReservationType;
///
/// let kind = ReservationType::from_code(6).expect("a type");
/// assert_eq!(kind.to_string(), "Exclusive Access, registrants only");
/// assert!(kind.admits_registrants() && kind.excludes_readers() && !kind.is_all_registrants());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ReservationType {
    /// Only the holder writes; everyone reads.
    WriteExclusive = 1,
    /// Only the holder reads and writes.
    ExclusiveAccess = 3,
    /// Registrants write; everyone reads.
    WriteExclusiveRegistrantsOnly = 5,
    /// Registrants read and write.
    ExclusiveAccessRegistrantsOnly = 6,
    /// Registrants write and all of them hold the reservation; everyone reads.
    WriteExclusiveAllRegistrants = 7,
    /// Registrants read and write and all of them hold the reservation.
    ExclusiveAccessAllRegistrants = 8,
}

impl ReservationType {
    /// Every type, in the order of their codes.
    pub const ALL: [Self; 6] = [
        Self::WriteExclusive,
        Self::ExclusiveAccess,
        Self::WriteExclusiveRegistrantsOnly,
        Self::ExclusiveAccessRegistrantsOnly,
        Self::WriteExclusiveAllRegistrants,
        Self::ExclusiveAccessAllRegistrants,
    ];

    /// The type for a code of four bits; `None` for obsolete and reserved codes.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::WriteExclusive,
            3 => Self::ExclusiveAccess,
            5 => Self::WriteExclusiveRegistrantsOnly,
            6 => Self::ExclusiveAccessRegistrantsOnly,
            7 => Self::WriteExclusiveAllRegistrants,
            8 => Self::ExclusiveAccessAllRegistrants,
            _ => return None,
        })
    }

    /// The type in the lower four bits of a scope-and-type byte.
    pub const fn from_scope_type(byte: u8) -> Option<Self> {
        Self::from_code(byte & 0x0f)
    }

    /// The code, four bits.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The name in one word, for command lines and logs: `write-exclusive-registrants-only`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WriteExclusive => "write-exclusive",
            Self::ExclusiveAccess => "exclusive-access",
            Self::WriteExclusiveRegistrantsOnly => "write-exclusive-registrants-only",
            Self::ExclusiveAccessRegistrantsOnly => "exclusive-access-registrants-only",
            Self::WriteExclusiveAllRegistrants => "write-exclusive-all-registrants",
            Self::ExclusiveAccessAllRegistrants => "exclusive-access-all-registrants",
        }
    }

    /// Whether every registrant holds the reservation.
    pub const fn is_all_registrants(self) -> bool {
        matches!(self, Self::WriteExclusiveAllRegistrants | Self::ExclusiveAccessAllRegistrants)
    }

    /// Whether registrants that do not hold the reservation may do what the holder may (both the registrants-only
    /// and the all-registrants types).
    pub const fn admits_registrants(self) -> bool {
        !matches!(self, Self::WriteExclusive | Self::ExclusiveAccess)
    }

    /// Whether those who are excluded may not even read.
    pub const fn excludes_readers(self) -> bool {
        matches!(
            self,
            Self::ExclusiveAccess | Self::ExclusiveAccessRegistrantsOnly | Self::ExclusiveAccessAllRegistrants
        )
    }
}

impl fmt::Display for ReservationType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::WriteExclusive => "Write Exclusive",
            Self::ExclusiveAccess => "Exclusive Access",
            Self::WriteExclusiveRegistrantsOnly => "Write Exclusive, registrants only",
            Self::ExclusiveAccessRegistrantsOnly => "Exclusive Access, registrants only",
            Self::WriteExclusiveAllRegistrants => "Write Exclusive, all registrants",
            Self::ExclusiveAccessAllRegistrants => "Exclusive Access, all registrants",
        })
    }
}
