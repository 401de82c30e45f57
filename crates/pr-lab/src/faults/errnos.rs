//! What system calls fail with.

use super::Call;
use libc::{
    EACCES, EAGAIN, ECONNRESET, EINTR, EINVAL, EIO, EMFILE, ENOBUFS, ENOMEM, ENOSPC, ENOSYS, EOPNOTSUPP, EPERM, EPIPE,
};

/// Calls that do not fail, or not so that a test could have them fail, and why.
const NEVER: &[(&str, &str)] = &[
    ("close", "closes even when it fails, and what is answered here does not happen"),
    ("exit", "does not return"),
    ("exit_group", "does not return"),
    ("rt_sigreturn", "does not return"),
    ("getpid", "cannot fail"),
    ("gettid", "cannot fail"),
    ("getuid", "cannot fail"),
    ("geteuid", "cannot fail"),
    ("umask", "cannot fail"),
    ("set_tid_address", "cannot fail"),
    ("rt_sigprocmask", "cannot fail with arguments that are constants"),
    ("rt_sigaction", "cannot fail with arguments that are constants"),
    ("sigaltstack", "cannot fail with arguments that are right"),
    ("sched_yield", "cannot fail"),
    ("setsid", "cannot fail in a process that was just forked"),
    ("arch_prctl", "cannot fail with an address that is one"),
    ("rseq", "the C library's; a kernel that has it has it for every thread"),
    ("set_robust_list", "the C library's; a kernel that has it has it for every thread"),
];

/// What a call may fail with; nothing if it is one of those that do not. `daemon` is the process that serves.
pub fn plausible(call: &Call, daemon: &str) -> &'static [i32] {
    let (name, [first, second, third]) = (call.name(), call.arguments);
    let file = call.file.as_deref().unwrap_or_default();
    if NEVER.iter().any(|(never, _)| *never == name) {
        return &[];
    }
    match name {
        "open" | "openat" | "socket" | "socketpair" | "pipe2" | "epoll_create1" | "eventfd2" | "signalfd4" => &[EMFILE],
        "accept4" => &[EMFILE, EINTR],
        "mmap" | "mprotect" | "mremap" | "munmap" | "brk" => &[ENOMEM],
        "clone" | "clone3" | "fork" | "vfork" => &[EAGAIN],
        // A wait may end early. (A call that wakes does not fail.)
        "futex" if matches!(second & 0x7f, 0 | 9) => &[EINTR],
        "futex" => &[],
        // Nothing is wrong with pipes, and nobody interrupts the reading of a small file.
        "read" if file.starts_with("pipe:") => &[EINTR],
        "read" if file.starts_with("/etc/") || file.contains(".so") => &[EIO],
        "read" | "pread64" => &[EIO, EINTR],
        "write" if file.starts_with("pipe:") => &[EPIPE, EINTR],
        "write" | "writev" => &[ENOSPC, EINTR],
        // On the other end of a companion's line is the daemon, which has gone then.
        "recvfrom" if call.process != daemon => &[EINTR],
        "recvmsg" | "recvfrom" => &[ECONNRESET, EINTR],
        "sendmsg" | "sendto" => &[ENOBUFS, EINTR],
        "poll" | "ppoll" | "epoll_wait" | "epoll_pwait" | "nanosleep" | "clock_nanosleep" => &[EINTR],
        "epoll_ctl" => &[ENOSPC],
        "getrandom" | "close_range" => &[ENOSYS],
        // Asking for a limit does not fail.
        "prlimit64" if third == 0 => &[],
        "seccomp" => &[ENOMEM, EINVAL],
        // The question which Landlock this is. A kernel without answers like the first, and whoever forbids asking like the
        // second.
        "landlock_create_ruleset" if first == 0 => &[EOPNOTSUPP, EPERM],
        "access" | "faccessat" | "chmod" | "fchmodat" | "chown" | "fchownat" | "bind" | "connect" | "rename"
        | "renameat" | "renameat2" | "unlink" | "unlinkat" | "statx" | "newfstatat" => &[EACCES],
        "listen" | "getsockopt" | "setsockopt" | "shutdown" => &[ENOBUFS],
        "ioctl" | "ftruncate" | "getdents64" | "lseek" => &[EIO],
        // Asking for flags does not fail.
        "fcntl" if matches!(second, 1 | 3) => &[],
        "fcntl" => &[EINVAL],
        // Nor does giving oneself a name.
        "prctl" if first == 15 => &[],
        _ => &[EPERM],
    }
}
