//! What the sandbox needs from the C library.

use std::{
    ffi::{c_int, c_void},
    io, mem, ptr,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, write},
    stdio::stderr,
};

use super::layout::layout;

/// Has the C library's allocator stay with the memory that it has: it asks the system how many processors there are
/// before it makes another arena, and idle threads' arenas are memory that is not used.
#[cfg(target_env = "gnu")]
pub fn one_arena() {
    // SAFETY: sets a number of the allocator's; it may be called at any time.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Other C libraries have one anyway.
#[cfg(not(target_env = "gnu"))]
pub fn one_arena() {}

/// Has the kernel refuse memory that is written to and code, or that becomes code (Linux 6.3). An older kernel does not
/// know that, and stays as it is.
///
/// # Errors
/// The kernel does not do it, or does not tell whether it knows it.
pub fn no_new_code() -> Result<(), Errno> {
    // SAFETY: asks for a number.
    let now = match unsafe { libc::prctl(libc::PR_GET_MDWE, 0_usize, 0_usize, 0_usize, 0_usize) } {
        ..0 => match last_error() {
            Errno::INVAL => return Ok(()),
            error => return Err(error),
        },
        now => now.cast_unsigned(),
    };
    // The process that started this one may have done it already.
    if now & libc::PR_MDWE_REFUSE_EXEC_GAIN != 0 {
        return Ok(());
    }
    let rule = libc::c_ulong::from(libc::PR_MDWE_REFUSE_EXEC_GAIN);
    // SAFETY: changes what the kernel allows from here on; nothing in this program makes code.
    match unsafe { libc::prctl(libc::PR_SET_MDWE, rule, 0_usize, 0_usize, 0_usize) } {
        0 => Ok(()),
        _ => Err(last_error()),
    }
}

fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::PERM)
}

/// `LANDLOCK_CREATE_RULESET_VERSION` (`<linux/landlock.h>`): nothing is made, the kernel tells its version.
const LANDLOCK_VERSION: u32 = 1;

/// Whether the kernel has Landlock.
///
/// # Errors
/// It does not tell: something between the kernel and this program answers in its place.
pub fn has_landlock() -> io::Result<bool> {
    // SAFETY: without a ruleset, and with a size of zero, nothing is read or written.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<c_void>(), 0_usize, LANDLOCK_VERSION) };
    if version >= 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // Not built in, and switched off at boot.
        Some(libc::ENOSYS | libc::EOPNOTSUPP) => Ok(false),
        _ => Err(error),
    }
}

/// Has a system call that a filter traps end the process with a message that names it.
pub fn report_violations() {
    // SAFETY: zeros are a valid value: no flags, the default handler, an empty mask.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = violation;
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the action is complete, and its handler does nothing that a signal handler may not.
    unsafe { libc::sigaction(libc::SIGSYS, &raw const action, ptr::null_mut()) };
}

/// `siginfo_t` of a SIGSYS (`<asm-generic/siginfo.h>`, `_sigsys`).
#[repr(C)]
struct SigSys {
    signo: c_int,
    errno: c_int,
    code: c_int,
    call_addr: *const c_void,
    syscall: c_int,
    arch: u32,
}

layout!(SigSys, 32, 8, signo 0 errno 4 code 8 call_addr 16 syscall 24 arch 28);

/// The exit status of a process that a signal has ended, as a shell tells it.
const fn status(signal: c_int) -> c_int {
    128 + signal
}

extern "C" fn violation(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel hands a whole siginfo_t to a handler with SA_SIGINFO; for SIGSYS its fields are these.
    let number = unsafe { (*info.cast::<SigSys>()).syscall };
    let mut message = Message { bytes: [0; 200], length: 0 };
    // Nothing else in this program sends a thread a signal that is on no list. That one may be sent to other processes,
    // too, and so is on none.
    let is_abort = libc::c_long::from(number) == libc::SYS_tgkill;
    if is_abort {
        message.add("qemu-pr-helper: this process aborts; please report this, with the message before\n");
    } else {
        message.add("qemu-pr-helper: the sandbox ends this process: system call ");
        message.add_number(number.unsigned_abs());
        if let Some(name) = syscall_names::name(number.into()) {
            message.add(" (");
            message.add(name);
            message.add(")");
        }
        message.add(" is not allowed; please report this, --sandbox log goes on\n");
    }
    // A reader that does not read standard error must not keep this process alive.
    let patience = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    if matches!(poll(&mut [PollFd::new(&stderr(), PollFlags::OUT)], Some(&patience)), Ok(1)) {
        let _ = write(stderr(), &message.bytes[..message.length]);
    }
    // SAFETY: ends the process; nothing of it is used afterwards.
    unsafe { libc::_exit(status(if is_abort { libc::SIGABRT } else { libc::SIGSYS })) }
}

/// Text without an allocation: a signal handler must not allocate.
struct Message {
    bytes: [u8; 200],
    length: usize,
}

impl Message {
    fn add(&mut self, text: &str) {
        for byte in text.bytes().take(self.bytes.len() - self.length) {
            self.bytes[self.length] = byte;
            self.length += 1;
        }
    }

    fn add_number(&mut self, number: u32) {
        let mut digits = [0; 10];
        let mut rest = number;
        let mut first = digits.len();
        loop {
            first -= 1;
            digits[first] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.add(std::str::from_utf8(&digits[first..]).unwrap_or_default());
    }
}
