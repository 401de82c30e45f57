//! Seccomp user notifications for one ioctl.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const SG_IO: u32 = 0x2285;
const RECEIVE: libc::Ioctl = 0xc050_2100;
const SEND: libc::Ioctl = 0xc018_2101;

/// The place of the system call's number, and of the low half of its second argument, in `struct seccomp_data`.
const CALL: u32 = 0;
const REQUEST: u32 = if cfg!(target_endian = "little") { 24 } else { 28 };

/// An `SG_IO` ioctl that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting {
    pub(crate) id: u64,
    pub(crate) thread: i32,
    pub(crate) fd: i32,
    pub(crate) argument: u64,
}

/// Makes every later `SG_IO` of this process and its children wait for whoever holds the returned descriptor.
///
/// Every other system call passes, other filters stay in force and `no_new_privs` is left alone: so root is needed.
pub(crate) fn divert_sg_io() -> io::Result<OwnedFd> {
    let ioctl = u32::try_from(libc::SYS_ioctl).expect("a system call number");
    let mut program = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, CALL, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, ioctl, 0, 3),
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, REQUEST, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, SG_IO, 0, 1),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_USER_NOTIF, 0, 0),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog { len: 6, filter: program.as_mut_ptr() };
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

/// The next waiting ioctl; blocks unless the descriptor polls readable.
pub(crate) fn receive(listener: BorrowedFd<'_>) -> io::Result<Waiting> {
    // SAFETY: all-zero bytes are a valid seccomp_notif, and what the kernel asks for.
    let mut notice: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the request writes one seccomp_notif, and `notice` is one.
    let done = unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE, &raw mut notice) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    let thread = notice.pid.cast_signed();
    let fd = i32::try_from(notice.data.args[0] & 0xffff_ffff).unwrap_or(-1);
    Ok(Waiting { id: notice.id, thread, fd, argument: notice.data.args[2] })
}

/// Ends a waiting ioctl: with 0, or with an errno. A caller that has died meanwhile is no failure.
pub(crate) fn answer(listener: BorrowedFd<'_>, id: u64, errno: Option<i32>) {
    let mut response = libc::seccomp_notif_resp { id, val: 0, error: errno.map_or(0, |errno| -errno), flags: 0 };
    // SAFETY: the request reads one seccomp_notif_resp, and `response` is one.
    _ = unsafe { libc::ioctl(listener.as_raw_fd(), SEND, &raw mut response) };
}

fn statement(code: u32, k: u32, jump_true: u8, jump_false: u8) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).expect("a BPF code"), jt: jump_true, jf: jump_false, k }
}
