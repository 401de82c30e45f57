//! Device-mapper's control node (`<linux/dm-ioctl.h>`).

use std::{
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
/// Has a device held back, or go on.
pub const DM_DEV_SUSPEND: libc::Ioctl = number(6);
/// Asks what a device's target says of itself.
pub const DM_TABLE_STATUS: libc::Ioctl = number(12);
/// Tells a device's target something.
pub const DM_TARGET_MSG: libc::Ioctl = number(14);
/// Has the control node tell of what happens.
pub const DM_DEV_ARM_POLL: libc::Ioctl = number(16);

const fn number(command: u32) -> libc::Ioctl {
    libc::_IOWR::<[u8; HEADER]>(DM_IOCTL, command)
}

const DM_SUSPEND_FLAG: u32 = 1 << 1;
const DM_STATUS_TABLE_FLAG: u32 = 1 << 4;
const DM_BUFFER_FULL_FLAG: u32 = 1 << 8;
const DM_SKIP_LOCKFS_FLAG: u32 = 1 << 10;
const DM_NOFLUSH_FLAG: u32 = 1 << 11;

/// Room for what goes with a command: the status of a map with hundreds of paths.
const ROOM: usize = 16 * 1024;

/// What is enough for most: as much as is offered is cleared here and copied by the kernel, with each command.
const LITTLE: usize = 1024;

/// `struct dm_ioctl` with room behind it.
#[repr(C, align(8))]
struct DmIoctl<const OFFERED: usize> {
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
    room: [u8; OFFERED],
}

/// The size of the structure without the room behind it; it is part of the ioctl's number.
const HEADER: usize = 312;

/// `struct dm_target_spec`: its size, and where the type of the target is.
const TARGET_SPEC: usize = 40;
const TARGET_TYPE: usize = 24;

/// Where the text of a message starts in `struct dm_target_msg`, behind the sector.
const MESSAGE: usize = 8;

layout!(
    DmIoctl<ROOM>, 16696, 8,
    version 0 data_size 12 data_start 16 target_count 20 open_count 24 flags 28 event_nr 32 padding 36 dev 40 name 48
    uuid 176 data 305 room 312
);

const _: () = assert!(offset_of!(DmIoctl<LITTLE>, room) == HEADER && size_of::<DmIoctl<LITTLE>>() == HEADER + LITTLE);

/// What device-mapper says of a device with one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The type of the target, `multipath` for example.
    pub target: String,
    /// What the target says of itself.
    pub text: String,
    /// I/O is held back.
    pub suspended: bool,
    /// Counts what happens to the device.
    pub event: u32,
}

/// Opens the control node.
pub fn control() -> io::Result<File> {
    File::options().read(true).write(true).open(CONTROL)
}

fn call<const OFFERED: usize>(
    control: BorrowedFd<'_>,
    number: libc::Ioctl,
    device: u64,
    flags: u32,
    data: &[u8],
) -> io::Result<Box<DmIoctl<OFFERED>>> {
    let size = u32::try_from(HEADER + OFFERED).map_err(io::Error::other)?;
    let mut arguments = Box::new(DmIoctl {
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
        room: [0; OFFERED],
    });
    // One zero at least stays behind it.
    let room = arguments.room.get_mut(..data.len()).filter(|room| room.len() < OFFERED);
    room.ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(data);
    // SAFETY: the structure has the kernel's layout (asserted above) and says how much of it is the kernel's to write.
    match unsafe { libc::ioctl(control.as_raw_fd(), number, &raw mut *arguments) } {
        0 => Ok(arguments),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The kernel's own packing of a device number (`huge_encode_dev`).
fn encode(device: u64) -> u64 {
    let (major, minor) = (u64::from(rustix::fs::major(device)), u64::from(rustix::fs::minor(device)));
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// The state of a device's only target; `None` for a device with no or several targets.
///
/// # Errors
/// `ENXIO` when the device is none of device-mapper's, `EACCES` without `CAP_SYS_ADMIN`.
pub fn status(control: BorrowedFd<'_>, device: u64) -> io::Result<Option<Status>> {
    let Answer { target, flags, event, .. } = ask(control, device, DM_NOFLUSH_FLAG)?;
    Ok(target.map(|(target, text)| Status { target, text, suspended: flags & DM_SUSPEND_FLAG != 0, event }))
}

/// What device-mapper says of a device with one target: which it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The type of the target, `multipath` for example.
    pub target: String,
    /// Who has made it and of what, in its maker's words.
    pub uuid: String,
    /// Its name, `mpatha` for example.
    pub name: String,
}

/// What a device is by its table; `None` for a device with no or several targets.
///
/// # Errors
/// As for [`status`].
pub fn table(control: BorrowedFd<'_>, device: u64) -> io::Result<Option<Table>> {
    let Answer { target, uuid, name, .. } = ask(control, device, DM_STATUS_TABLE_FLAG | DM_NOFLUSH_FLAG)?;
    Ok(target.map(|(target, _)| Table { target, uuid, name }))
}

/// What is of interest in an answer.
struct Answer {
    flags: u32,
    event: u32,
    name: String,
    uuid: String,
    /// The only target's type, and what goes with it.
    target: Option<(String, String)>,
}

fn ask(control: BorrowedFd<'_>, device: u64, flags: u32) -> io::Result<Answer> {
    let mut answer = call::<LITTLE>(control, DM_TABLE_STATUS, device, flags, &[])?.answer();
    if answer.flags & DM_BUFFER_FULL_FLAG != 0 {
        answer = call::<ROOM>(control, DM_TABLE_STATUS, device, flags, &[])?.answer();
    }
    if answer.flags & DM_BUFFER_FULL_FLAG != 0 {
        return Err(io::Error::other("the device's table is too long"));
    }
    Ok(answer)
}

impl<const OFFERED: usize> DmIoctl<OFFERED> {
    fn answer(&self) -> Answer {
        let Self { flags, event_nr: event, name, uuid, .. } = self;
        Answer { flags: *flags, event: *event, name: text(name), uuid: text(uuid), target: self.target() }
    }

    fn target(&self) -> Option<(String, String)> {
        let start = usize::try_from(self.data_start).unwrap_or(usize::MAX).checked_sub(HEADER)?;
        let target = self.room.get(start..).filter(|_| self.target_count == 1)?;
        let (spec, rest) = target.split_at_checked(TARGET_SPEC)?;
        Some((text(&spec[TARGET_TYPE..]), text(rest)))
    }
}

/// Up to the zero.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Holds back what is written to and read from a device. Nothing fails; it waits for [`resume`]. What is on its way
/// already is waited for: `EINTR` when a signal comes first.
pub fn suspend(control: BorrowedFd<'_>, device: u64) -> io::Result<()> {
    let flags = DM_SUSPEND_FLAG | DM_SKIP_LOCKFS_FLAG | DM_NOFLUSH_FLAG;
    call::<LITTLE>(control, DM_DEV_SUSPEND, device, flags, &[]).map(|_| ())
}

/// Lets it go on. Should it not be suspended after all, nothing is flushed.
pub fn resume(control: BorrowedFd<'_>, device: u64) -> io::Result<()> {
    call::<LITTLE>(control, DM_DEV_SUSPEND, device, DM_SKIP_LOCKFS_FLAG | DM_NOFLUSH_FLAG, &[]).map(|_| ())
}

/// Sends a message to the device's target.
pub fn message(control: BorrowedFd<'_>, device: u64, text: &str) -> io::Result<()> {
    let data = [&[0; MESSAGE][..], text.as_bytes(), b"\0"].concat();
    call::<LITTLE>(control, DM_TARGET_MSG, device, 0, &data).map(|_| ())
}

/// From now on the control node becomes readable when something happens to a device, whichever (Linux 4.14).
///
/// # Errors
/// `ENOTTY` on an older kernel.
pub fn arm(control: BorrowedFd<'_>) -> io::Result<()> {
    call::<LITTLE>(control, DM_DEV_ARM_POLL, 0, 0, &[]).map(|_| ())
}
