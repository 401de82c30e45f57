//! The clock by which the kernel tells when a process started.

use super::layout::layout;

layout!(libc::timespec, 16, 8, tv_sec 0 tv_nsec 8);

/// Clock ticks in a second, as the kernel tells them to processes: a part of its interface, and the same on every
/// architecture of today.
const USER_HZ: u64 = 100;

/// Now, in clock ticks since the system started. (By way of the C library, which knows where the kernel's code for it is:
/// rustix would have to ask with a system call that the sandbox does not allow.)
pub fn ticks() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live `timespec`, and any time that the kernel writes there is valid.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    // The only errors are a wrong pointer and a clock that Linux has had since 2.6.39. Without a time no client is known.
    if result != 0 {
        return 0;
    }
    now.tv_sec.unsigned_abs() * USER_HZ + now.tv_nsec.unsigned_abs() * USER_HZ / 1_000_000_000
}
