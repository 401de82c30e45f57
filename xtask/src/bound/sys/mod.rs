//! The only `unsafe` of the lower bound: the `SG_IO` ioctl, without an allocation and without a look at what came back.
#![expect(unsafe_code, reason = "the ioctl; its block says why it is sound")]

use std::ffi::{c_int, c_uint, c_void};
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr;

/// `SG_IO` from <scsi/sg.h>.
const SG_IO: libc::Ioctl = 0x2285;

const TIMEOUT_MILLISECONDS: c_uint = 30_000;

/// Which way the data goes.
pub enum Transfer {
    /// From the device.
    In,
    /// To the device.
    Out,
}

/// `struct sg_io_hdr` from <scsi/sg.h>.
#[repr(C)]
pub struct Header {
    interface_id: c_int,
    dxfer_direction: c_int,
    cmd_len: u8,
    mx_sb_len: u8,
    iovec_count: u16,
    dxfer_len: c_uint,
    dxferp: *mut c_void,
    cmdp: *const u8,
    sbp: *mut u8,
    timeout: c_uint,
    flags: c_uint,
    pack_id: c_int,
    usr_ptr: *mut c_void,
    status: u8,
    masked_status: u8,
    msg_status: u8,
    sb_len_wr: u8,
    host_status: u16,
    driver_status: u16,
    resid: c_int,
    duration: c_uint,
    info: c_uint,
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<Header>() == 88 && align_of::<Header>() == 8);
    assert!(offset_of!(Header, dxfer_len) == 12 && offset_of!(Header, dxferp) == 16 && offset_of!(Header, cmdp) == 24);
    assert!(offset_of!(Header, sbp) == 32 && offset_of!(Header, timeout) == 40 && offset_of!(Header, status) == 64);
    assert!(offset_of!(Header, sb_len_wr) == 67 && offset_of!(Header, host_status) == 68);
    assert!(offset_of!(Header, driver_status) == 70 && offset_of!(Header, resid) == 72);
};

impl Header {
    /// A command's header without its pointers.
    pub const fn new(transfer: &Transfer) -> Self {
        Self {
            interface_id: 'S' as c_int,
            dxfer_direction: match transfer {
                Transfer::In => -3,
                Transfer::Out => -2,
            },
            cmd_len: 0,
            mx_sb_len: 0,
            iovec_count: 0,
            dxfer_len: 0,
            dxferp: ptr::null_mut(),
            cmdp: ptr::null(),
            sbp: ptr::null_mut(),
            timeout: TIMEOUT_MILLISECONDS,
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
        }
    }

    /// Sends the command: its status, and how many bytes of `data` were transferred.
    ///
    /// # Errors
    /// The `errno` of the ioctl; `EINVAL` for a length that the header has no room for.
    pub fn execute(
        &mut self,
        device: BorrowedFd<'_>,
        cdb: &[u8],
        data: &mut [u8],
        sense: &mut [u8],
    ) -> io::Result<(u8, usize)> {
        let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
        self.cmd_len = u8::try_from(cdb.len()).map_err(too_long)?;
        self.mx_sb_len = u8::try_from(sense.len()).map_err(too_long)?;
        self.dxfer_len = c_uint::try_from(data.len()).map_err(too_long)?;
        (self.cmdp, self.dxferp, self.sbp) = (cdb.as_ptr(), data.as_mut_ptr().cast(), sense.as_mut_ptr());
        // SAFETY: the header is laid out as the kernel's, and its three pointers are to live buffers, exclusive where
        // the kernel writes, of the lengths beside them; the kernel keeps none of them after the call.
        let result = unsafe { libc::ioctl(device.as_raw_fd(), SG_IO, ptr::from_mut(self)) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((self.status, data.len().saturating_sub(usize::try_from(self.resid).unwrap_or(0))))
    }
}
