//! Parameter data of READ KEYS and READ RESERVATION (SPC-4 6.14.2, 6.14.3).
//!
//! Data that ends early is a prefix of the whole, not an error: fields past its end are simply not there.

use crate::{
    DataIn, ParseError, ReservationKey, ReservationType, Scope,
    bytes::{read_array, read_u32},
};

/// The parameter data of READ KEYS.
///
/// ```
/// use scsi_persistent_reservations::{ReadKeys, ReservationKey};
///
/// // PRGENERATION 7, eight bytes of keys: one key.
/// let data = [0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0xa, 0xbc];
/// let read = ReadKeys::parse(&data).expect("a header");
/// assert_eq!((read.generation, read.is_truncated()), (7, false));
/// assert!(read.keys().eq([ReservationKey(0xabc)]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadKeys<'data> {
    /// The PRGENERATION counter.
    pub generation: u32,
    /// How many bytes of keys the device has, whether or not they fitted.
    pub additional_length: u32,
    keys: &'data [u8],
}

impl<'data> ReadKeys<'data> {
    /// Reads the data.
    ///
    /// # Errors
    ///
    /// Where not even the header of eight bytes is there.
    pub fn parse(data: &'data [u8]) -> Result<Self, ParseError> {
        let generation = read_u32(data, 0).ok_or(ParseError::TooShort)?;
        let additional_length = read_u32(data, 4).ok_or(ParseError::TooShort)?;
        let there = data.len().min(8usize.saturating_add(additional_length as usize));
        Ok(Self { generation, additional_length, keys: &data[8..there] })
    }

    /// The keys that arrived whole, in the device's order. One key can stand there several times.
    pub fn keys(&self) -> Keys<'data> {
        Keys(self.keys.as_chunks().0.iter())
    }

    /// Whether the device has more keys than arrived.
    pub fn is_truncated(&self) -> bool {
        self.keys.len() < self.additional_length as usize
    }

    /// Writes the data for these registrations.
    pub fn write(generation: u32, keys: impl ExactSizeIterator<Item = ReservationKey>, out: &mut DataIn<'_>) {
        out.put(&generation.to_be_bytes());
        out.put(&u32::try_from(keys.len() * 8).unwrap_or(u32::MAX).to_be_bytes());
        for key in keys {
            out.put(&key.to_bytes());
        }
    }
}

/// The keys in READ KEYS parameter data.
///
/// ```
/// use scsi_persistent_reservations::{Keys, ReadKeys};
///
/// let keys: Keys<'_> = ReadKeys::parse(&[0; 8]).expect("a header").keys();
/// assert_eq!(keys.len(), 0);
/// ```
#[derive(Clone, Debug)]
pub struct Keys<'data>(core::slice::Iter<'data, [u8; 8]>);

impl Iterator for Keys<'_> {
    type Item = ReservationKey;

    fn next(&mut self) -> Option<ReservationKey> {
        self.0.next().map(|bytes| ReservationKey::from_bytes(*bytes))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Keys<'_> {}

/// A reservation as READ RESERVATION and READ FULL STATUS tell it.
///
/// ```
/// use scsi_persistent_reservations::{Reservation, ReservationKey, ReservationType};
///
/// let held = Reservation { key: ReservationKey(0xabc), scope_type: 0x05 };
/// assert!(held.scope().is_logical_unit());
/// assert_eq!(held.reservation_type(), Some(ReservationType::WriteExclusiveRegistrantsOnly));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The holder's key; zero for the all-registrants types.
    pub key: ReservationKey,
    /// Scope in the upper, type in the lower four bits, as they came.
    pub scope_type: u8,
}

impl Reservation {
    /// A reservation of the logical unit.
    pub const fn new(key: ReservationKey, kind: ReservationType) -> Self {
        Self { key, scope_type: kind.code() }
    }

    /// The scope field.
    pub const fn scope(&self) -> Scope {
        Scope::from_scope_type(self.scope_type)
    }

    /// The type, where SPC names its code.
    pub const fn reservation_type(&self) -> Option<ReservationType> {
        ReservationType::from_scope_type(self.scope_type)
    }
}

/// The parameter data of READ RESERVATION.
///
/// ```
/// use scsi_persistent_reservations::{DataIn, ReadReservation, Reservation, ReservationKey, ReservationType};
///
/// let held = Reservation::new(ReservationKey(0xabc), ReservationType::ExclusiveAccess);
/// let mut buffer = [0; 24];
/// ReadReservation::write(7, Some(held), &mut DataIn::new(&mut buffer));
/// assert_eq!(ReadReservation::parse(&buffer)?.reservation, Some(held));
/// # Ok::<(), scsi_persistent_reservations::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadReservation {
    /// The PRGENERATION counter.
    pub generation: u32,
    /// Zero without a reservation, 16 with one.
    pub additional_length: u32,
    /// The reservation; `None` where there is none or its descriptor did not arrive whole.
    pub reservation: Option<Reservation>,
}

impl ReadReservation {
    /// Reads the data.
    ///
    /// # Errors
    ///
    /// Where not even the header of eight bytes is there.
    pub fn parse(data: &[u8]) -> Result<Self, ParseError> {
        let generation = read_u32(data, 0).ok_or(ParseError::TooShort)?;
        let additional_length = read_u32(data, 4).ok_or(ParseError::TooShort)?;
        let reservation = (additional_length >= 16)
            .then(|| {
                let key = ReservationKey::from_bytes(read_array(data, 8)?);
                Some(Reservation { key, scope_type: *data.get(21)? })
            })
            .flatten();
        Ok(Self { generation, additional_length, reservation })
    }

    /// Writes the data.
    pub fn write(generation: u32, reservation: Option<Reservation>, out: &mut DataIn<'_>) {
        out.put(&generation.to_be_bytes());
        let Some(reservation) = reservation else {
            return out.put(&0u32.to_be_bytes());
        };
        out.put(&16u32.to_be_bytes());
        out.put(&reservation.key.to_bytes());
        out.put(&[0, 0, 0, 0, 0, reservation.scope_type, 0, 0]);
    }
}
