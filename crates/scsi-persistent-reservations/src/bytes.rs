//! Reading fields out of data that may end early, and writing data that may not fit.

/// Two bytes at `offset`; `None` where the data ends before.
pub(crate) fn read_u16(data: &[u8], offset: usize) -> Option<u16> {
    data.get(offset..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// Four bytes at `offset`; `None` where the data ends before.
pub(crate) fn read_u32(data: &[u8], offset: usize) -> Option<u32> {
    data.get(offset..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// Eight bytes at `offset`; `None` where the data ends before.
pub(crate) fn read_array<const N: usize>(data: &[u8], offset: usize) -> Option<[u8; N]> {
    data.get(offset..)?.first_chunk().copied()
}

/// Parameter data on its way into a buffer that may be too short for it.
///
/// SPC truncates parameter data to the allocation length without any error (SPC-4 4.2.5.6), so writing past the
/// end is no mistake here: those bytes are counted and dropped.
///
/// ```
/// use scsi_persistent_reservations::{DataIn, ReadKeys, ReservationKey};
///
/// // Room for the header and one key, of two that are registered.
/// let mut buffer = [0; 16];
/// let mut out = DataIn::new(&mut buffer);
/// ReadKeys::write(1, [ReservationKey(1), ReservationKey(2)].into_iter(), &mut out);
/// assert_eq!((out.length(), out.finish().len()), (24, 16));
/// ```
#[derive(Debug)]
pub struct DataIn<'buffer> {
    buffer: &'buffer mut [u8],
    length: usize,
}

impl<'buffer> DataIn<'buffer> {
    /// Data for a client that takes as many bytes as `buffer` has.
    pub fn new(buffer: &'buffer mut [u8]) -> Self {
        Self { buffer, length: 0 }
    }

    /// Appends bytes.
    pub fn put(&mut self, bytes: &[u8]) {
        if let Some(rest) = self.buffer.get_mut(self.length..) {
            let fits = rest.len().min(bytes.len());
            rest[..fits].copy_from_slice(&bytes[..fits]);
        }
        self.length = self.length.saturating_add(bytes.len());
    }

    /// How long the data is, or would be with room for all of it.
    pub const fn length(&self) -> usize {
        self.length
    }

    /// What was written and fits.
    pub fn finish(self) -> &'buffer [u8] {
        let fits = self.length.min(self.buffer.len());
        &self.buffer[..fits]
    }
}
