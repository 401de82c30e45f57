use crate::{
    DataIn, ParseError, Reservation, ReservationKey, TransportId,
    bytes::{read_array, read_u16, read_u32},
};

const DESCRIPTOR_HEADER: usize = 24;
const ALL_TARGET_PORTS: u8 = 0x02;
const HOLDER: u8 = 0x01;

/// The parameter data of READ FULL STATUS (SPC-4 6.14.5).
///
/// ```
/// use scsi_persistent_reservations::{DataIn, Descriptors, FullStatus, FullStatusDescriptor, ReservationKey, TransportId};
///
/// let registration = FullStatusDescriptor {
///     key: ReservationKey(0xabc),
///     all_target_ports: false,
///     holds: None,
///     relative_target_port: 1,
///     transport_id: TransportId::Sas { address: [0x50, 0, 0, 0, 0, 0, 0, 1] },
/// };
/// let mut buffer = [0; 64];
/// let mut out = DataIn::new(&mut buffer);
/// FullStatus::write(7, [registration].into_iter(), &mut out);
/// let mut read: Descriptors<'_> = FullStatus::parse(out.finish()).expect("a header").descriptors();
/// assert_eq!(read.next(), Some(registration));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FullStatus<'data> {
    /// The PRGENERATION counter.
    pub generation: u32,
    /// How many bytes of descriptors the device has, whether or not they fitted.
    pub additional_length: u32,
    descriptors: &'data [u8],
}

impl<'data> FullStatus<'data> {
    /// Reads the data.
    ///
    /// # Errors
    ///
    /// Where not even the header of eight bytes is there.
    pub fn parse(data: &'data [u8]) -> Result<Self, ParseError> {
        let generation = read_u32(data, 0).ok_or(ParseError::TooShort)?;
        let additional_length = read_u32(data, 4).ok_or(ParseError::TooShort)?;
        let there = data.len().min(8usize.saturating_add(additional_length as usize));
        Ok(Self { generation, additional_length, descriptors: &data[8..there] })
    }

    /// The descriptors that arrived whole.
    pub fn descriptors(&self) -> Descriptors<'data> {
        Descriptors(self.descriptors)
    }

    /// Whether the device has more descriptors than arrived.
    pub fn is_truncated(&self) -> bool {
        self.descriptors.len() < self.additional_length as usize
    }

    /// Writes the data for these registrations.
    pub fn write<'a>(
        generation: u32,
        descriptors: impl Iterator<Item = FullStatusDescriptor<'a>> + Clone,
        out: &mut DataIn<'_>,
    ) {
        let length: usize = descriptors.clone().map(|d| DESCRIPTOR_HEADER + d.transport_id.length()).sum();
        out.put(&generation.to_be_bytes());
        out.put(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        for descriptor in descriptors {
            descriptor.write(out);
        }
    }
}

/// One registration in READ FULL STATUS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FullStatusDescriptor<'data> {
    /// The registered key.
    pub key: ReservationKey,
    /// `ALL_TG_PT`: the registration holds on every target port.
    pub all_target_ports: bool,
    /// The scope-and-type byte of the reservation, if this registrant holds it (`R_HOLDER`).
    pub holds: Option<u8>,
    /// The relative target port identifier; without meaning where `all_target_ports` is set.
    pub relative_target_port: u16,
    /// The initiator port.
    pub transport_id: TransportId<'data>,
}

impl FullStatusDescriptor<'_> {
    /// The reservation, if this registrant holds it.
    pub fn reservation(&self) -> Option<Reservation> {
        self.holds.map(|scope_type| Reservation { key: self.key, scope_type })
    }

    fn write(&self, out: &mut DataIn<'_>) {
        let flags =
            if self.all_target_ports { ALL_TARGET_PORTS } else { 0 } | if self.holds.is_some() { HOLDER } else { 0 };
        out.put(&self.key.to_bytes());
        out.put(&[0, 0, 0, 0, flags, self.holds.unwrap_or(0), 0, 0, 0, 0]);
        out.put(&self.relative_target_port.to_be_bytes());
        out.put(&u32::try_from(self.transport_id.length()).unwrap_or(u32::MAX).to_be_bytes());
        self.transport_id.write(out);
    }
}

/// The descriptors in READ FULL STATUS parameter data.
#[derive(Clone, Debug)]
pub struct Descriptors<'data>(&'data [u8]);

impl<'data> Iterator for Descriptors<'data> {
    type Item = FullStatusDescriptor<'data>;

    fn next(&mut self) -> Option<FullStatusDescriptor<'data>> {
        let data = self.0;
        // A descriptor that is cut off ends the list; so does nonsense in its length.
        self.0 = &[];
        let length = read_u32(data, 20)? as usize;
        let end = DESCRIPTOR_HEADER.checked_add(length)?;
        let transport_id = TransportId::from_field(data.get(DESCRIPTOR_HEADER..end)?);
        self.0 = &data[end..];
        let flags = data[12];
        Some(FullStatusDescriptor {
            key: ReservationKey::from_bytes(read_array(data, 0)?),
            all_target_ports: flags & ALL_TARGET_PORTS != 0,
            holds: (flags & HOLDER != 0).then_some(data[13]),
            relative_target_port: read_u16(data, 18)?,
            transport_id,
        })
    }
}
