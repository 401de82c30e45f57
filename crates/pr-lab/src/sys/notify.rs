//! Seccomp user notifications: system calls that wait until the test has looked at them.

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::sg_io::SG_IO;

const RECEIVE: libc::Ioctl = 0xc050_2100;
const SEND: libc::Ioctl = 0xc018_2101;

/// The type of device-mapper's ioctls.
const DEVICE_MAPPER: u32 = 0xfd00;

/// The place of the system call's number, and of the low halves of its first two arguments, in `struct seccomp_data`.
const CALL: u32 = 0;
const FIRST: u32 = if cfg!(target_endian = "little") { 16 } else { 20 };
const REQUEST: u32 = FIRST + 8;

/// `<linux/seccomp.h>`; the first two sizes are part of the ioctls' numbers.
const _: () = {
    assert!(size_of::<libc::seccomp_notif>() == 0x50 && size_of::<libc::seccomp_notif_resp>() == 0x18);
    assert!((RECEIVE >> 16) & 0x3fff == 0x50 && (SEND >> 16) & 0x3fff == 0x18);
    assert!(offset_of!(libc::seccomp_notif, pid) == 8 && offset_of!(libc::seccomp_notif, data) == 16);
    assert!(offset_of!(libc::seccomp_data, nr) == CALL as usize && offset_of!(libc::seccomp_data, args) == 16);
};

/// Which system calls wait. `SG_IO` and device-mapper's ioctls always do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// No others.
    SgIo,
    /// The one of this number as well.
    And(i64),
    /// Every one but `execve`.
    All,
}

/// A system call that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting {
    pub(crate) id: u64,
    pub(crate) thread: i32,
    pub(crate) number: i64,
    pub(crate) arguments: [u64; 6],
}

impl Waiting {
    /// Whether this is an `SG_IO` ioctl.
    pub(crate) fn is_sg_io(&self) -> bool {
        self.number == libc::SYS_ioctl && self.arguments[1] & 0xffff_ffff == u64::from(SG_IO)
    }

    /// Whether this is an ioctl of device-mapper's.
    pub(crate) fn is_mapper(&self) -> bool {
        self.number == libc::SYS_ioctl && self.arguments[1] & 0xff00 == u64::from(DEVICE_MAPPER)
    }

    /// The file descriptor of an ioctl.
    pub(crate) fn fd(&self) -> i32 {
        i32::try_from(self.arguments[0] & 0xffff_ffff).unwrap_or(-1)
    }
}

/// Makes these later system calls of this process and its children wait for whoever holds the returned descriptor,
/// which can be sent on by way of `mailbox`.
///
/// What does not wait passes, other filters stay in force and `no_new_privs` is left alone: so root is needed.
pub(crate) fn divert(which: Which, mailbox: RawFd) -> io::Result<OwnedFd> {
    let number = |call: i64| u32::try_from(call).expect("a system call number");
    let load = |place| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, place, 0, 0);
    let equals = |value, else_skip| statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, 0, else_skip);
    let give = |action| statement(libc::BPF_RET | libc::BPF_K, action, 0, 0);
    let (waits, passes) = (give(libc::SECCOMP_RET_USER_NOTIF), give(libc::SECCOMP_RET_ALLOW));
    let (other, rest) = match which {
        Which::SgIo => (u32::MAX, passes),
        Which::And(call) => (number(call), passes),
        Which::All => (u32::MAX, waits),
    };
    let mut program = [
        load(CALL),
        // How this descriptor gets to the test, and how the program begins.
        equals(number(libc::SYS_execve), 1),
        passes,
        equals(number(libc::SYS_sendmsg), 4),
        load(FIRST),
        equals(mailbox.cast_unsigned(), 1),
        passes,
        load(CALL),
        equals(number(libc::SYS_ioctl), 7),
        load(REQUEST),
        equals(SG_IO, 1),
        waits,
        statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0xff00, 0, 0),
        equals(DEVICE_MAPPER, 1),
        waits,
        load(CALL),
        equals(other, 1),
        waits,
        rest,
    ];
    let length = u16::try_from(program.len()).expect("a short program");
    let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    // The second flag: once received, only a fatal signal interrupts the call, as with a real device.
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    // SAFETY: seccomp(SECCOMP_SET_MODE_FILTER) reads the program, which lives until after the call.
    let fd = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).expect("a file descriptor");
    // SAFETY: the kernel has just made this descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The next waiting call; blocks unless the descriptor polls readable.
pub(crate) fn receive(listener: BorrowedFd<'_>) -> io::Result<Waiting> {
    // SAFETY: all-zero bytes are a valid seccomp_notif, and what the kernel asks for.
    let mut notice: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the request writes one seccomp_notif, and `notice` is one.
    let done = unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE, &raw mut notice) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    let thread = notice.pid.cast_signed();
    Ok(Waiting { id: notice.id, thread, number: notice.data.nr.into(), arguments: notice.data.args })
}

/// Ends a waiting call: with 0, or with an errno. A caller that has died meanwhile is no failure.
pub(crate) fn answer(listener: BorrowedFd<'_>, id: u64, errno: Option<i32>) {
    respond(listener, libc::seccomp_notif_resp { id, val: 0, error: errno.map_or(0, |errno| -errno), flags: 0 });
}

/// Ends a waiting call with a value.
pub(crate) fn give(listener: BorrowedFd<'_>, id: u64, val: i64) {
    respond(listener, libc::seccomp_notif_resp { id, val, error: 0, flags: 0 });
}

/// Lets a waiting call go on to the kernel.
pub(crate) fn pass(listener: BorrowedFd<'_>, id: u64) {
    let flags = u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).expect("a flag");
    respond(listener, libc::seccomp_notif_resp { id, val: 0, error: 0, flags });
}

fn respond(listener: BorrowedFd<'_>, mut response: libc::seccomp_notif_resp) {
    // SAFETY: the request reads one seccomp_notif_resp, and `response` is one.
    _ = unsafe { libc::ioctl(listener.as_raw_fd(), SEND, &raw mut response) };
}

fn statement(code: u32, k: u32, jump_true: u8, jump_false: u8) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).expect("a BPF code"), jt: jump_true, jf: jump_false, k }
}
