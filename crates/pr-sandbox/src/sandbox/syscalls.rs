//! The system calls that each process may make.

use libc::c_int;
use pr_sys::{
    dm,
    sg_io::{SG_GET_VERSION_NUM, SG_IO},
};

pub use super::rule::Process;
use super::{
    arch,
    bpf::Test,
    rule::{ANY, Call, equals, lacks, under},
};

/// An ioctl of this number.
#[expect(clippy::cast_possible_truncation, reason = "the kernel looks at 32 bits of it")]
const fn ioctl(number: libc::Ioctl) -> Test {
    Test { argument: 1, mask: u32::MAX, value: number as u32 }
}

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

/// What a thread needs to start another one.
const THREAD: c_int = libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND;

/// What neither a thread nor a child may have: another namespace, or another parent.
const ELSEWHERE: c_int = libc::CLONE_PARENT
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// To start a thread, and no more than that: not another process.
const START_THREAD: Test = under(arch::CLONE_FLAGS, THREAD | ELSEWHERE, THREAD);

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
    // Worker threads. What clone3 is asked for cannot be seen from here, so it does not exist (see `apply`).
    (libc::SYS_clone, &[START_THREAD]),
    (libc::SYS_clone3, ANY),
    // The two signals that glibc keeps for itself, with the first thread; no other handler is ever changed.
    (libc::SYS_rt_sigaction, &[equals(0, 32), equals(0, 33)]),
    (libc::SYS_set_robust_list, ANY),
    (libc::SYS_rseq, ANY),
    (libc::SYS_sched_getaffinity, ANY),
    (libc::SYS_prctl, &[equals(0, libc::PR_SET_NAME), equals(0, libc::PR_SET_VMA)]),
    // What a descriptor is, without asking a server for it.
    (libc::SYS_statx, ANY),
    // The socket, the control socket and the pidfile go at the end; Landlock holds this to folders of their own.
    (libc::SYS_newfstatat, ANY),
    (libc::SYS_unlinkat, ANY),
    (libc::SYS_ftruncate, ANY),
    // A daemon lets go of its terminal when it is up.
    (libc::SYS_dup3, ANY),
];

/// Simulating disks, besides: where a descriptor stands, which names an initiator. To go there is not among it.
const SIMULATOR: &[Call] = &[(libc::SYS_lseek, &[equals(2, libc::SEEK_CUR)])];

/// Removing files.
const CLEANUP: &[Call] = &[(libc::SYS_newfstatat, ANY), (libc::SYS_unlinkat, ANY)];

/// Reading small files.
const RESOLVER: &[Call] = &[
    // For reading: neither of the other access modes, nothing made, nothing cut off.
    (libc::SYS_openat, &[lacks(2, libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC)]),
    (libc::SYS_readlinkat, ANY),
    (libc::SYS_statx, ANY),
    (libc::SYS_newfstatat, ANY),
    (libc::SYS_lseek, ANY),
    (libc::SYS_getdents64, ANY),
];

/// The broker: a guard, a keeper, and a worker with its threads for each map.
const BROKER: &[Call] = &[
    // Commands on the paths of a map; and what device-mapper does with the map.
    (
        libc::SYS_ioctl,
        &[
            ioctl(SG_IO),
            ioctl(dm::DM_TABLE_STATUS),
            ioctl(dm::DM_DEV_SUSPEND),
            ioctl(dm::DM_TARGET_MSG),
            ioctl(dm::DM_DEV_ARM_POLL),
        ],
    ),
    // multipathd, and the workers.
    (libc::SYS_socket, &[equals(0, libc::AF_UNIX)]),
    (libc::SYS_socketpair, &[equals(0, libc::AF_UNIX)]),
    (libc::SYS_connect, ANY),
    (libc::SYS_setsockopt, ANY),
    // Paths, what sysfs has of them, and a lock for each map. Landlock says where.
    (libc::SYS_openat, &[lacks(2, libc::O_TRUNC)]),
    (libc::SYS_mkdirat, ANY),
    (libc::SYS_flock, ANY),
    (libc::SYS_pread64, ANY),
    (libc::SYS_pwrite64, ANY),
    (libc::SYS_readlinkat, ANY),
    (libc::SYS_statx, ANY),
    (libc::SYS_newfstatat, ANY),
    (libc::SYS_getdents64, ANY),
    (libc::SYS_lseek, ANY),
    (libc::SYS_getcwd, ANY),
    // A worker for each map, its threads, and the end of either.
    (libc::SYS_clone, &[START_THREAD, lacks(arch::CLONE_FLAGS, ELSEWHERE)]),
    (libc::SYS_clone3, ANY),
    (libc::SYS_wait4, ANY),
    (libc::SYS_waitid, ANY),
    (libc::SYS_pidfd_open, ANY),
    (libc::SYS_kill, &[equals(1, libc::SIGKILL)]),
    (libc::SYS_tgkill, &[equals(2, libc::SIGUSR2)]),
    (libc::SYS_close_range, ANY),
    (libc::SYS_set_robust_list, ANY),
    (libc::SYS_rseq, ANY),
    (libc::SYS_sched_getaffinity, ANY),
    // Those that glibc keeps for itself, and the one that ends a call which takes too long.
    (libc::SYS_rt_sigaction, &[equals(0, 32), equals(0, 33), equals(0, libc::SIGUSR2)]),
    (
        libc::SYS_prctl,
        &[
            equals(0, libc::PR_SET_NAME),
            equals(0, libc::PR_SET_VMA),
            equals(0, libc::PR_SET_PDEATHSIG),
            equals(0, libc::PR_SET_CHILD_SUBREAPER),
        ],
    ),
    (libc::SYS_geteuid, ANY),
    (libc::SYS_getppid, ANY),
];

/// The system calls that a process may make.
pub fn calls(process: Process) -> impl Iterator<Item = Call> {
    const NO_MORE: &[Call] = &[];
    let (own, more) = match process {
        Process::Daemon => (DAEMON, NO_MORE),
        Process::Simulator => (DAEMON, SIMULATOR),
        Process::Resolver => (RESOLVER, NO_MORE),
        Process::Cleanup => (CLEANUP, NO_MORE),
        Process::Broker => (BROKER, NO_MORE),
    };
    // Of several forms of one call the last one counts.
    let here = arch::HERE.iter().flat_map(move |calls| calls.of(process));
    RUNTIME.iter().chain(own).chain(more).chain(here).copied()
}
