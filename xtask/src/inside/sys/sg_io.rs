//! `SG_IO`, the way around any helper: what the device itself answers to a command.

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// `SG_IO` from <scsi/sg.h>.
const SG_IO: libc::c_ulong = 0x2285;

/// A minute: longer than anything that the beds do takes, short enough for a hang to show.
const TIMEOUT_MILLISECONDS: libc::c_uint = 60_000;

/// Room behind the data: LIO overruns the buffer of a READ FULL STATUS whose allocation length ends inside a descriptor,
/// and the kernel lets it write into this process's own pages.
const SLACK: usize = 4096;

/// Which way the data goes.
pub enum Transfer<'a> {
    /// From the device, so many bytes at most.
    In(usize),
    /// To the device.
    Out(&'a [u8]),
}

/// What came back: the status byte, the sense data and the data that the device sent.
pub struct Outcome {
    pub status: u8,
    pub sense: Vec<u8>,
    pub data: Vec<u8>,
}

/// `struct sg_io_hdr` from <scsi/sg.h>.
#[repr(C)]
struct Header {
    interface_id: libc::c_int,
    dxfer_direction: libc::c_int,
    cmd_len: libc::c_uchar,
    mx_sb_len: libc::c_uchar,
    iovec_count: libc::c_ushort,
    dxfer_len: libc::c_uint,
    dxferp: *mut libc::c_void,
    cmdp: *const libc::c_uchar,
    sbp: *mut libc::c_uchar,
    timeout: libc::c_uint,
    flags: libc::c_uint,
    pack_id: libc::c_int,
    usr_ptr: *mut libc::c_void,
    status: libc::c_uchar,
    masked_status: libc::c_uchar,
    msg_status: libc::c_uchar,
    sb_len_wr: libc::c_uchar,
    host_status: libc::c_ushort,
    driver_status: libc::c_ushort,
    resid: libc::c_int,
    duration: libc::c_uint,
    info: libc::c_uint,
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<Header>() == 88 && align_of::<Header>() == 8);
    assert!(offset_of!(Header, dxfer_len) == 12 && offset_of!(Header, dxferp) == 16 && offset_of!(Header, cmdp) == 24);
    assert!(offset_of!(Header, sbp) == 32 && offset_of!(Header, timeout) == 40 && offset_of!(Header, status) == 64);
    assert!(offset_of!(Header, sb_len_wr) == 67 && offset_of!(Header, host_status) == 68);
    assert!(offset_of!(Header, driver_status) == 70 && offset_of!(Header, resid) == 72);
};

const FROM_DEVICE: libc::c_int = -3;
const TO_DEVICE: libc::c_int = -2;

/// Sends one command and waits for its end.
///
/// # Errors
/// The command did not get as far as a SCSI status.
pub fn sg_io(device: BorrowedFd<'_>, cdb: &[u8], transfer: &Transfer<'_>) -> io::Result<Outcome> {
    let (direction, mut data) = match transfer {
        Transfer::In(length) => (FROM_DEVICE, vec![0; length + SLACK]),
        Transfer::Out(bytes) => (TO_DEVICE, bytes.to_vec()),
    };
    let length = match transfer {
        Transfer::In(length) => *length,
        Transfer::Out(bytes) => bytes.len(),
    };
    let mut sense = [0u8; 96];
    let mut header = Header {
        interface_id: libc::c_int::from(b'S'),
        dxfer_direction: direction,
        cmd_len: u8::try_from(cdb.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        mx_sb_len: 96,
        iovec_count: 0,
        dxfer_len: u32::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?,
        dxferp: data.as_mut_ptr().cast(),
        cmdp: cdb.as_ptr(),
        sbp: sense.as_mut_ptr(),
        timeout: TIMEOUT_MILLISECONDS,
        flags: 0,
        pack_id: 0,
        usr_ptr: std::ptr::null_mut(),
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
    // SAFETY: the header is laid out as the kernel's; its three pointers are to `data`, `cdb` and `sense`, which live
    // until after the call and are at least as long as the lengths beside them say.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), SG_IO, &raw mut header) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    if header.host_status != 0 {
        return Err(io::Error::other(format!("the host adapter reports {:#04x}", header.host_status)));
    }
    let received = match transfer {
        Transfer::In(_) => length.saturating_sub(usize::try_from(header.resid).unwrap_or(0)),
        Transfer::Out(_) => 0,
    };
    data.truncate(if header.status == 0 { received } else { 0 });
    Ok(Outcome { status: header.status, sense: sense[..usize::from(header.sb_len_wr.min(96))].to_vec(), data })
}
