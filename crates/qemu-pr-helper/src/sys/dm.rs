//! Device-mapper (`<linux/dm-ioctl.h>`, `<linux/dm-mpath.h>`).

use std::{
    ffi::{CStr, c_char},
    fs::File,
    io,
    mem::offset_of,
    os::fd::{AsRawFd, BorrowedFd},
};

use super::layout::layout;

/// The control node.
pub const CONTROL: &str = "/dev/mapper/control";

/// The type of all of its ioctls.
const DM_IOCTL: u32 = 0xfd;

// The numbers differ between architectures: PowerPC has other bits for the direction and the size.
const DM_DEV_SUSPEND: libc::Ioctl = libc::_IOWR::<[u8; HEADER]>(DM_IOCTL, 6);
const DM_TABLE_STATUS: libc::Ioctl = libc::_IOWR::<[u8; HEADER]>(DM_IOCTL, 12);
const DM_MPATH_PROBE_PATHS: libc::Ioctl = libc::_IO(DM_IOCTL, 0x12);

const DM_SUSPEND_FLAG: u32 = 1 << 1;
const DM_STATUS_TABLE_FLAG: u32 = 1 << 4;
const DM_SKIP_LOCKFS_FLAG: u32 = 1 << 10;
const DM_NOFLUSH_FLAG: u32 = 1 << 11;

/// `struct dm_ioctl` with room for one target behind it.
#[repr(C, align(8))]
struct DmIoctl {
    version: [u32; 3],
    data_size: u32,
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event_nr: u32,
    padding: u32,
    dev: u64,
    name: [u8; 128],
    uuid: [u8; 129],
    data: [u8; 7],
    target: [u8; 4096],
}

/// The size of the structure without the room behind it; it is part of the ioctl's number.
const HEADER: usize = 312;

/// Where `target_type` is in `struct dm_target_spec`, and its length.
const TARGET_TYPE: usize = 24;
const TARGET_TYPE_LENGTH: usize = 16;

layout!(
    DmIoctl, 4408, 8,
    version 0 data_size 12 data_start 16 target_count 20 open_count 24 flags 28 event_nr 32 padding 36 dev 40 name 48
    uuid 176 data 305 target 312
);

const _: () = assert!(offset_of!(DmIoctl, target) == HEADER);

/// Opens the control node.
pub fn control() -> io::Result<File> {
    File::options().read(true).write(true).open(CONTROL)
}

fn call(control: &File, number: libc::Ioctl, device: u64, flags: u32) -> io::Result<DmIoctl> {
    let size = u32::try_from(size_of::<DmIoctl>()).map_err(io::Error::other)?;
    let mut arguments = DmIoctl {
        version: [4, 0, 0],
        data_size: size,
        data_start: u32::try_from(HEADER).map_err(io::Error::other)?,
        target_count: 0,
        open_count: 0,
        flags,
        event_nr: 0,
        padding: 0,
        dev: encode(device),
        name: [0; 128],
        uuid: [0; 129],
        data: [0; 7],
        target: [0; 4096],
    };
    // SAFETY: the structure has the kernel's layout (asserted above) and says how large it is.
    match unsafe { libc::ioctl(control.as_raw_fd(), number, &raw mut arguments) } {
        0 => Ok(arguments),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The kernel's own packing of a device number (`huge_encode_dev`).
fn encode(device: u64) -> u64 {
    let (major, minor) = (u64::from(rustix::fs::major(device)), u64::from(rustix::fs::minor(device)));
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// The type of a device's only target; `None` for a device with no or several targets.
///
/// # Errors
/// `ENXIO` when the device is none of device-mapper's, `EACCES` without `CAP_SYS_ADMIN`.
pub fn target_type(control: &File, device: u64) -> io::Result<Option<String>> {
    let status = call(control, DM_TABLE_STATUS, device, DM_STATUS_TABLE_FLAG | DM_NOFLUSH_FLAG)?;
    if status.target_count != 1 {
        return Ok(None);
    }
    let name = &status.target[TARGET_TYPE..TARGET_TYPE + TARGET_TYPE_LENGTH];
    Ok(CStr::from_bytes_until_nul(name).ok().map(|name| name.to_string_lossy().into_owned()))
}

/// Holds back what is written to and read from a device, without waiting for what is on its way. Nothing fails; it
/// waits for [`resume`].
pub fn suspend(control: &File, device: u64) -> io::Result<()> {
    call(control, DM_DEV_SUSPEND, device, DM_SUSPEND_FLAG | DM_SKIP_LOCKFS_FLAG | DM_NOFLUSH_FLAG).map(|_| ())
}

/// Lets it go on.
pub fn resume(control: &File, device: u64) -> io::Result<()> {
    call(control, DM_DEV_SUSPEND, device, 0).map(|_| ())
}

/// Has a multipath map try its paths and fail the dead ones (Linux 6.16).
///
/// # Errors
/// `ENOTTY` on an older kernel or another device, `ENOTCONN` when no path is left.
pub fn probe_paths(map: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the ioctl takes no argument.
    match unsafe { libc::ioctl(map.as_raw_fd(), DM_MPATH_PROBE_PATHS, std::ptr::null::<c_char>()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
