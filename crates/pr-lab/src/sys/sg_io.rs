//! `SG_IO` from <scsi/sg.h>: how a command is sent to a device that is there, without an allocation, and how the header
//! lies that such a command comes with.

use std::ffi::{c_int, c_uint, c_void};
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr;
use std::time::Duration;

pub(crate) const SG_IO: u32 = 0x2285;

pub(crate) const NO_DATA: c_int = -1;
pub(crate) const TO_DEVICE: c_int = -2;
pub(crate) const FROM_DEVICE: c_int = -3;

/// Which way the data goes, and how many bytes at the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the device.
    In(usize),
    /// To the device.
    Out(usize),
}

/// What the kernel says of a command that it sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The SCSI status.
    pub status: u8,
    /// What the host adapter says (`DID_*`).
    pub host_status: u16,
    /// How many bytes of sense data there are.
    pub sense: u8,
    /// How many bytes of data were transferred.
    pub transferred: usize,
}

/// `struct sg_io_hdr`.
#[repr(C)]
pub(crate) struct Header {
    pub(crate) interface_id: c_int,
    pub(crate) dxfer_direction: c_int,
    pub(crate) cmd_len: u8,
    pub(crate) mx_sb_len: u8,
    pub(crate) iovec_count: u16,
    pub(crate) dxfer_len: c_uint,
    pub(crate) dxferp: *mut c_void,
    pub(crate) cmdp: *const u8,
    pub(crate) sbp: *mut u8,
    pub(crate) timeout: c_uint,
    pub(crate) flags: c_uint,
    pub(crate) pack_id: c_int,
    pub(crate) usr_ptr: *mut c_void,
    pub(crate) status: u8,
    pub(crate) masked_status: u8,
    pub(crate) msg_status: u8,
    pub(crate) sb_len_wr: u8,
    pub(crate) host_status: u16,
    pub(crate) driver_status: u16,
    pub(crate) resid: c_int,
    pub(crate) duration: c_uint,
    pub(crate) info: c_uint,
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<Header>() == 88 && align_of::<Header>() == 8);
    assert!(offset_of!(Header, dxfer_len) == 12 && offset_of!(Header, dxferp) == 16 && offset_of!(Header, cmdp) == 24);
    assert!(offset_of!(Header, sbp) == 32 && offset_of!(Header, timeout) == 40 && offset_of!(Header, status) == 64);
    assert!(offset_of!(Header, sb_len_wr) == 67 && offset_of!(Header, host_status) == 68);
    assert!(offset_of!(Header, driver_status) == 70 && offset_of!(Header, resid) == 72);
};

/// Sends one command and waits for its end. `data` may be longer than what is to be transferred.
///
/// # Errors
/// The `errno` of the ioctl: the command did not get as far as a SCSI status. `EINVAL` for a length that `data` or the
/// header has no room for.
#[inline]
pub fn send_command(
    device: BorrowedFd<'_>,
    cdb: &[u8],
    way: Way,
    data: &mut [u8],
    sense: &mut [u8],
    timeout: Duration,
) -> io::Result<Sent> {
    let (dxfer_direction, length) = match way {
        Way::In(length) => (FROM_DEVICE, length),
        Way::Out(length) => (TO_DEVICE, length),
    };
    let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
    if length > data.len() {
        return Err(invalid());
    }
    let mut header = Header {
        interface_id: c_int::from(b'S'),
        dxfer_direction,
        cmd_len: u8::try_from(cdb.len()).map_err(|_| invalid())?,
        mx_sb_len: u8::try_from(sense.len()).map_err(|_| invalid())?,
        iovec_count: 0,
        dxfer_len: c_uint::try_from(length).map_err(|_| invalid())?,
        dxferp: data.as_mut_ptr().cast(),
        cmdp: cdb.as_ptr(),
        sbp: sense.as_mut_ptr(),
        timeout: c_uint::try_from(timeout.as_millis()).unwrap_or(c_uint::MAX),
        flags: 0,
        pack_id: 0,
        usr_ptr: ptr::null_mut(),
        status: 0,
        masked_status: 0,
        msg_status: 0,
        sb_len_wr: 0,
        host_status: 0,
        driver_status: 0,
        resid: 0,
        duration: 0,
        info: 0,
    };
    // SAFETY: the header is laid out as the kernel's, and its three pointers are to live buffers, exclusive where the
    // kernel writes, of at least the lengths beside them; the kernel keeps none of them after the call.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), libc::Ioctl::from(SG_IO), &raw mut header) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Sent {
        status: header.status,
        host_status: header.host_status,
        sense: header.sb_len_wr,
        transferred: length.saturating_sub(usize::try_from(header.resid).unwrap_or(0)),
    })
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn what_no_buffer_has_room_for_is_refused_before_the_kernel_sees_it() {
        let device = crate::null();
        let send = |way| {
            let sent = send_command(device.as_fd(), &[0; 6], way, &mut [0; 8], &mut [0; 96], Duration::from_secs(1));
            sent.expect_err("no disk").raw_os_error()
        };
        assert_eq!(send(Way::In(9)), Some(libc::EINVAL));
        assert_eq!(send(Way::Out(9)), Some(libc::EINVAL));
        // With room the kernel is asked, and this is no disk.
        assert_eq!(send(Way::In(8)), Some(libc::ENOTTY));
    }
}
