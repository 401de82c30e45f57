//! What each process may ask of the kernel.

use libc::{c_int, c_long};

use super::{arch, bpf::Test};
use crate::sys::sg_io::{SG_GET_VERSION_NUM, SG_IO};

/// Who is confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// The one that serves clients.
    Daemon,
    /// The one that looks names up.
    Names,
    /// The one that removes what the daemon may not.
    Cleanup,
    /// The one that carries out what multipath needs, and its children.
    Broker,
}

/// A system call and the forms of it that are allowed; all where there are none.
pub type Call = (c_long, &'static [Test]);

/// This value.
pub(super) const fn equals(argument: u8, value: c_int) -> Test {
    under(argument, -1, value)
}

/// All of these bits set.
const fn has(argument: u8, bits: c_int) -> Test {
    under(argument, bits, bits)
}

/// None of these bits set.
pub(super) const fn lacks(argument: u8, bits: c_int) -> Test {
    under(argument, bits, 0)
}

/// Under this mask, this value.
const fn under(argument: u8, mask: c_int, value: c_int) -> Test {
    Test { argument, mask: mask.cast_unsigned(), value: value.cast_unsigned() }
}

/// An ioctl of this number.
#[expect(clippy::cast_possible_truncation, reason = "the kernel looks at 32 bits of it")]
const fn ioctl(number: libc::Ioctl) -> Test {
    Test { argument: 1, mask: u32::MAX, value: number as u32 }
}

/// Every form.
pub(super) const ANY: &[Test] = &[];

/// What every Rust program with a heap does. No memory becomes code.
const RUNTIME: &[Call] = &[
    (libc::SYS_mmap, arch::MMAP),
    (libc::SYS_mprotect, &[lacks(2, libc::PROT_EXEC)]),
    (libc::SYS_mremap, ANY),
    (libc::SYS_munmap, ANY),
    (libc::SYS_madvise, ANY),
    (libc::SYS_brk, ANY),
    (libc::SYS_futex, ANY),
    (libc::SYS_getrandom, ANY),
    (libc::SYS_clock_gettime, ANY),
    (libc::SYS_clock_nanosleep, ANY),
    (libc::SYS_nanosleep, ANY),
    (libc::SYS_restart_syscall, ANY),
    (libc::SYS_rt_sigreturn, ANY),
    (libc::SYS_rt_sigprocmask, ANY),
    (libc::SYS_sigaltstack, ANY),
    (libc::SYS_sched_yield, ANY),
    (libc::SYS_gettid, ANY),
    (libc::SYS_getpid, ANY),
    (libc::SYS_exit, ANY),
    (libc::SYS_exit_group, ANY),
    // Descriptors that are there already.
    (libc::SYS_read, ANY),
    (libc::SYS_write, ANY),
    (libc::SYS_writev, ANY),
    (libc::SYS_close, ANY),
    (libc::SYS_fstat, ANY),
    (libc::SYS_ppoll, ANY),
    (libc::SYS_recvfrom, ANY),
    (libc::SYS_recvmsg, ANY),
    (libc::SYS_sendto, ANY),
    (libc::SYS_sendmsg, ANY),
    (libc::SYS_fcntl, ANY),
];

/// What a thread needs to start another one, and no more than that: not another process.
const THREAD: c_int = libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND;

/// Serving clients.
const DAEMON: &[Call] = &[
    // The one thing that it is for. The second asks a descriptor whether it is a SCSI device (--simulate).
    (libc::SYS_ioctl, &[ioctl(SG_IO), ioctl(SG_GET_VERSION_NUM)]),
    (libc::SYS_accept4, ANY),
    (libc::SYS_shutdown, ANY),
    (libc::SYS_getsockopt, ANY),
    (libc::SYS_setsockopt, ANY),
    (libc::SYS_pipe2, ANY),
    (libc::SYS_epoll_create1, ANY),
    (libc::SYS_epoll_ctl, ANY),
    (libc::SYS_epoll_pwait, ANY),
    (libc::SYS_eventfd2, ANY),
    (libc::SYS_signalfd4, ANY),
    (libc::SYS_getuid, ANY),
    // Threads of the crew. What clone3 is asked for cannot be seen from here, so it does not exist (see `apply`).
    (libc::SYS_clone, &[has(arch::CLONE_FLAGS, THREAD)]),
    (libc::SYS_clone3, ANY),
    // The two signals that glibc keeps for itself, with the first thread; no other handler is ever changed.
    (libc::SYS_rt_sigaction, &[equals(0, 32), equals(0, 33)]),
    (libc::SYS_set_robust_list, ANY),
    (libc::SYS_rseq, ANY),
    (libc::SYS_sched_getaffinity, ANY),
    (libc::SYS_prctl, &[equals(0, libc::PR_SET_NAME), equals(0, libc::PR_SET_VMA)]),
    // The socket, the control socket and the pidfile go at the end; Landlock holds this to their folders.
    (libc::SYS_statx, ANY),
    (libc::SYS_newfstatat, ANY),
    (libc::SYS_unlinkat, ANY),
    (libc::SYS_ftruncate, ANY),
    // A daemon lets go of its terminal when it is up.
    (libc::SYS_dup3, ANY),
];

/// Removing files.
const CLEANUP: &[Call] = &[(libc::SYS_statx, ANY), (libc::SYS_newfstatat, ANY), (libc::SYS_unlinkat, ANY)];

/// Reading small files.
const NAMES: &[Call] = &[
    // For reading: neither of the other access modes, nothing made, nothing cut off.
    (libc::SYS_openat, &[lacks(2, libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC)]),
    (libc::SYS_readlinkat, ANY),
    (libc::SYS_statx, ANY),
    (libc::SYS_newfstatat, ANY),
    (libc::SYS_lseek, ANY),
    (libc::SYS_getdents64, ANY),
];

/// What libmpathpersist and the libraries below it do, and what starting a child takes. It is a wide list. Every
/// release of the libraries may do a little more: what is not on it does not exist, as on an older kernel, so that the
/// library can do without. Only what is [`NEVER`] needed ends the child.
const BROKER: &[Call] = &[
    // Loading a library makes code out of files.
    (libc::SYS_mmap, ANY),
    (libc::SYS_mprotect, ANY),
    (libc::SYS_ioctl, &[ioctl(SG_IO), under(1, 0xff00, DEVICE_MAPPER), ioctl(BLKGETSIZE64)]),
    (libc::SYS_socket, &[equals(0, libc::AF_UNIX)]),
    (libc::SYS_connect, ANY),
    (libc::SYS_getsockopt, ANY),
    (libc::SYS_setsockopt, ANY),
    (libc::SYS_shutdown, ANY),
    (libc::SYS_openat, ANY),
    (libc::SYS_readlinkat, ANY),
    (libc::SYS_faccessat, ANY),
    (libc::SYS_faccessat2, ANY),
    (libc::SYS_statx, ANY),
    (libc::SYS_newfstatat, ANY),
    (libc::SYS_fstatfs, ANY),
    (libc::SYS_statfs, ANY),
    (libc::SYS_getdents64, ANY),
    (libc::SYS_lseek, ANY),
    (libc::SYS_pread64, ANY),
    (libc::SYS_fsync, ANY),
    (libc::SYS_ftruncate, ANY),
    (libc::SYS_flock, ANY),
    (libc::SYS_fchmod, ANY),
    (libc::SYS_mkdirat, ANY),
    (libc::SYS_unlinkat, ANY),
    (libc::SYS_renameat2, ANY),
    (libc::SYS_umask, ANY),
    (libc::SYS_getcwd, ANY),
    (libc::SYS_dup, ANY),
    (libc::SYS_dup3, ANY),
    (libc::SYS_pipe2, ANY),
    (libc::SYS_close_range, ANY),
    // A child for each command, threads of the library's, and the end of either.
    (libc::SYS_clone, &[has(arch::CLONE_FLAGS, THREAD), under(arch::CLONE_FLAGS, NAME_SPACES, 0)]),
    (libc::SYS_clone3, ANY),
    (libc::SYS_wait4, ANY),
    (libc::SYS_waitid, ANY),
    (libc::SYS_pidfd_open, ANY),
    (libc::SYS_kill, &[equals(1, libc::SIGKILL)]),
    (libc::SYS_tgkill, ANY),
    (libc::SYS_set_robust_list, ANY),
    (libc::SYS_set_tid_address, ANY),
    (libc::SYS_rseq, ANY),
    (libc::SYS_sched_getaffinity, ANY),
    (libc::SYS_rt_sigaction, ANY),
    (libc::SYS_prctl, ANY),
    (libc::SYS_prlimit64, ANY),
    (libc::SYS_getuid, ANY),
    (libc::SYS_geteuid, ANY),
    (libc::SYS_getgid, ANY),
    (libc::SYS_getegid, ANY),
    (libc::SYS_getppid, ANY),
    (libc::SYS_uname, ANY),
    (libc::SYS_sysinfo, ANY),
    // Path checkers read a sector without blocking, and wait for it.
    (libc::SYS_io_setup, ANY),
    (libc::SYS_io_submit, ANY),
    (libc::SYS_io_getevents, ANY),
    (libc::SYS_io_cancel, ANY),
    (libc::SYS_io_destroy, ANY),
    // Read-copy-update (liburcu), timers, waiting, and what asks about this process alone.
    (libc::SYS_membarrier, ANY),
    (libc::SYS_getcpu, ANY),
    (libc::SYS_capget, ANY),
    (libc::SYS_getrusage, ANY),
    (libc::SYS_gettimeofday, ANY),
    (libc::SYS_clock_getres, ANY),
    (libc::SYS_timer_create, ANY),
    (libc::SYS_timer_settime, ANY),
    (libc::SYS_timer_delete, ANY),
    (libc::SYS_timerfd_create, ANY),
    (libc::SYS_timerfd_settime, ANY),
    (libc::SYS_eventfd2, ANY),
    (libc::SYS_epoll_create1, ANY),
    (libc::SYS_epoll_ctl, ANY),
    (libc::SYS_epoll_pwait, ANY),
    (libc::SYS_pselect6, ANY),
    (libc::SYS_rt_sigtimedwait, ANY),
    (libc::SYS_rt_sigpending, ANY),
    (libc::SYS_mincore, ANY),
    (libc::SYS_pwrite64, ANY),
    (libc::SYS_readv, ANY),
    (libc::SYS_getxattr, ANY),
    (libc::SYS_lgetxattr, ANY),
    (libc::SYS_fgetxattr, ANY),
];

/// What somebody would do who has taken the broker over, and libraries do not. (Sockets but Unix ones and children in
/// other name spaces are no forms of [`BROKER`]'s calls: they fail.)
pub const NEVER: &[c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_by_handle_at,
    libc::SYS_mknodat,
    libc::SYS_fchmodat,
    libc::SYS_fchownat,
    libc::SYS_linkat,
    libc::SYS_memfd_create,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_setuid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_sethostname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_acct,
    libc::SYS_quotactl,
];

/// The type of device-mapper's ioctls (`<linux/dm-ioctl.h>`, `DM_IOCTL`).
const DEVICE_MAPPER: c_int = 0xfd00;

/// The size of a block device (`<linux/fs.h>`).
const BLKGETSIZE64: libc::Ioctl = libc::_IOR::<usize>(0x12, 114);

/// A child in another name space would be another world.
const NAME_SPACES: c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// The system calls that a process may make.
pub fn calls(process: Process) -> impl Iterator<Item = Call> {
    let own = match process {
        Process::Daemon => DAEMON,
        Process::Names => NAMES,
        Process::Cleanup => CLEANUP,
        Process::Broker => BROKER,
    };
    // Of several forms of one call the last one counts.
    let here = arch::HERE.iter().flat_map(move |calls| calls.of(process));
    RUNTIME.iter().chain(own).chain(here).copied()
}
