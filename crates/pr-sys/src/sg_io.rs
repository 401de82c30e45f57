//! The `SG_IO` ioctl (`<scsi/sg.h>`).

use std::{
    ffi::{c_int, c_uint, c_void},
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
    time::Duration,
};

use scsi_persistent_reservations::SENSE_LENGTH;

use super::layout::layout;

/// Sends a command.
pub const SG_IO: libc::Ioctl = 0x2285;
/// Asks whether there is anything to send commands to.
pub const SG_GET_VERSION_NUM: libc::Ioctl = 0x2282;

const INTERFACE: c_int = 'S' as c_int;
const DXFER_NONE: c_int = -1;
const DXFER_TO_DEV: c_int = -2;
const DXFER_FROM_DEV: c_int = -3;

/// `struct sg_io_hdr`.
#[repr(C)]
struct SgIoHdr {
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

layout!(
    SgIoHdr, 88, 8,
    interface_id 0 dxfer_direction 4 cmd_len 8 mx_sb_len 9 iovec_count 10 dxfer_len 12 dxferp 16 cmdp 24 sbp 32 timeout 40
    flags 44 pack_id 48 usr_ptr 56 status 64 masked_status 65 msg_status 66 sb_len_wr 67 host_status 68 driver_status 70
    resid 72 duration 76 info 80
);

/// The data that goes with a command. At most 4 GiB; the protocol's limit is 8 KiB.
pub enum Transfer<'a> {
    /// No data.
    None,
    /// A parameter list.
    ToDevice(&'a [u8]),
    /// Room for parameter data.
    FromDevice(&'a mut [u8]),
}

/// What the kernel says of a command that it carried out, or tried to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The SCSI status byte.
    pub status: u8,
    /// What the host adapter says (`DID_*`).
    pub host_status: u16,
    /// What the driver says (`DRIVER_*`).
    pub driver_status: u16,
    /// How many sense bytes were written.
    pub sense_written: u8,
    /// How many bytes of data were not transferred. Poor drivers report less than none or more than all.
    pub resid: i32,
}

/// Sends one command and waits for its end, or for the kernel to give up on it after `timeout`.
///
/// # Errors
/// The `errno` of the ioctl: the command did not get as far as a SCSI answer.
pub fn execute(
    device: BorrowedFd<'_>,
    command: &[u8],
    transfer: Transfer<'_>,
    sense: &mut [u8; SENSE_LENGTH],
    timeout: Duration,
) -> io::Result<Outcome> {
    let (dxfer_direction, dxferp, length) = match transfer {
        Transfer::None => (DXFER_NONE, ptr::null_mut(), 0),
        // The kernel only reads through this pointer in this direction.
        Transfer::ToDevice(data) => (DXFER_TO_DEV, data.as_ptr().cast_mut().cast(), data.len()),
        Transfer::FromDevice(data) => (DXFER_FROM_DEV, data.as_mut_ptr().cast(), data.len()),
    };
    let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let mut header = SgIoHdr {
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
        sense_written: header.sb_len_wr,
        resid: header.resid,
    })
}

/// Whether a descriptor takes `SG_IO` at all, asked without sending anything to the device.
pub fn is_scsi(device: BorrowedFd<'_>) -> bool {
    let mut version: c_int = 0;
    // SAFETY: the ioctl writes one int, to a live int. A descriptor of something else has the number unassigned.
    unsafe { libc::ioctl(device.as_raw_fd(), SG_GET_VERSION_NUM, &raw mut version) == 0 }
}
