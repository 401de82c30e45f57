//! Signals, received as data: blocked from the first instant on, so that none is ever lost, and read from a
//! descriptor when the program is ready for them.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use super::layout::layout;

layout!(libc::signalfd_siginfo, 128, 8, ssi_signo 0);

/// The signals that end the program.
const ENDING: [libc::c_int; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

/// Signals that would kill by default and that a stray timer or library may send. The C helper blocks them too.
const STRAY: [libc::c_int; 3] = [libc::SIGUSR1, libc::SIGALRM, libc::SIGIO];

/// The mask that was in force before [`block`].
pub struct Before(libc::sigset_t);

fn set_of(signals: &[libc::c_int]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the pointer is to room for a set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: sigemptyset has initialised all of it.
    let mut set = unsafe { set.assume_init() };
    for signal in signals {
        // SAFETY: the set is initialised, the number is a valid signal.
        unsafe { libc::sigaddset(&raw mut set, *signal) };
    }
    set
}

/// Blocks the signals above in this thread and in all that it will start. What arrives from now on stays pending.
pub fn block() -> Before {
    let set = set_of(&[ENDING, STRAY].concat());
    let mut before = set_of(&[]);
    // SAFETY: both sets are initialised; with these arguments the call cannot fail.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut before) };
    Before(before)
}

/// Puts the earlier mask back, for a process that only waits for another one.
pub fn restore(before: &Before) {
    // SAFETY: the set came from the same call; with these arguments it cannot fail.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before.0, std::ptr::null_mut()) };
}

/// A descriptor that is readable when one of the ending signals is pending.
pub fn descriptor() -> io::Result<OwnedFd> {
    let set = set_of(&ENDING);
    // SAFETY: the set is initialised.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The name of the next pending signal of a [`descriptor`]; `None` when there is none.
pub fn take(descriptor: &OwnedFd) -> Option<&'static str> {
    let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the buffer is of the size given.
    let read = unsafe { libc::read(descriptor.as_raw_fd(), info.as_mut_ptr().cast(), size) };
    if usize::try_from(read) != Ok(size) {
        return None;
    }
    // SAFETY: the structure is plain numbers, zeroed at first and then wholly written.
    let number = unsafe { info.assume_init() }.ssi_signo;
    Some(match libc::c_int::try_from(number) {
        Ok(libc::SIGTERM) => "SIGTERM",
        Ok(libc::SIGINT) => "SIGINT",
        _ => "SIGHUP",
    })
}
