//! The `SG_IO` ioctl (`<scsi/sg.h>`), as little of it as `--direct` needs.

use std::{
    ffi::{c_int, c_uint, c_void},
    io,
    mem::offset_of,
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr,
    time::Duration,
};

use scsi_pr::SENSE_LENGTH;

const SG_IO: libc::Ioctl = 0x2285;

const INTERFACE: c_int = 'S' as c_int;
const NO_DATA: c_int = -1;
const TO_DEVICE: c_int = -2;
const FROM_DEVICE: c_int = -3;

/// `struct sg_io_hdr`.
#[repr(C)]
struct Header {
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
    assert!(offset_of!(Header, interface_id) == 0 && offset_of!(Header, dxfer_direction) == 4);
    assert!(offset_of!(Header, cmd_len) == 8 && offset_of!(Header, mx_sb_len) == 9);
    assert!(offset_of!(Header, iovec_count) == 10 && offset_of!(Header, dxfer_len) == 12);
    assert!(offset_of!(Header, dxferp) == 16 && offset_of!(Header, cmdp) == 24 && offset_of!(Header, sbp) == 32);
    assert!(offset_of!(Header, timeout) == 40 && offset_of!(Header, flags) == 44);
    assert!(offset_of!(Header, pack_id) == 48 && offset_of!(Header, usr_ptr) == 56);
    assert!(offset_of!(Header, status) == 64 && offset_of!(Header, sb_len_wr) == 67);
    assert!(offset_of!(Header, host_status) == 68 && offset_of!(Header, driver_status) == 70);
    assert!(offset_of!(Header, resid) == 72 && offset_of!(Header, duration) == 76 && offset_of!(Header, info) == 80);
};

/// The data that goes with a command.
pub enum Transfer<'a> {
    None,
    ToDevice(&'a [u8]),
    FromDevice(&'a mut [u8]),
}

/// The result of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub status: u8,
    /// `DID_*`: not zero if the transport failed.
    pub host_status: u16,
    /// `DRIVER_*`.
    pub driver_status: u16,
    /// How many bytes of sense data there are.
    pub sense: u8,
    /// How many bytes of data were not transferred.
    pub resid: i32,
}

/// Sends one command and waits until it is complete. An error means that the kernel did not send it.
pub fn execute(
    device: BorrowedFd<'_>,
    command: &[u8],
    transfer: Transfer<'_>,
    sense: &mut [u8; SENSE_LENGTH],
    timeout: Duration,
) -> io::Result<Outcome> {
    let (dxfer_direction, dxferp, length) = match transfer {
        Transfer::None => (NO_DATA, ptr::null_mut(), 0),
        // The kernel only reads through this pointer in this direction.
        Transfer::ToDevice(data) => (TO_DEVICE, data.as_ptr().cast_mut().cast(), data.len()),
        Transfer::FromDevice(data) => (FROM_DEVICE, data.as_mut_ptr().cast(), data.len()),
    };
    let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let mut header = Header {
        interface_id: INTERFACE,
        dxfer_direction,
        cmd_len: u8::try_from(command.len()).map_err(too_long)?,
        mx_sb_len: u8::try_from(sense.len()).map_err(too_long)?,
        iovec_count: 0,
        dxfer_len: c_uint::try_from(length).map_err(too_long)?,
        dxferp,
        cmdp: command.as_ptr(),
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
    // SAFETY: the header is a complete `sg_io_hdr` (its layout is asserted above) whose three pointers are to live
    // buffers of the lengths beside them, writable where the kernel writes; it keeps none of them after the call.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), SG_IO, &raw mut header) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Outcome {
        status: header.status,
        host_status: header.host_status,
        driver_status: header.driver_status,
        sense: header.sb_len_wr,
        resid: header.resid,
    })
}
